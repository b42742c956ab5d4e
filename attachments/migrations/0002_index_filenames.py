from contextlib import suppress
from typing import Any

from django.apps.registry import Apps
from django.db import Error, migrations, transaction

# Serves ``filename__istartswith``, which Django spells UPPER(filename) LIKE 'TERM%'. The operator
# class lets LIKE use it whatever the collation; SQLite has none, and does without the index.
CREATE = "CREATE INDEX attachments_filename ON attachments (UPPER(filename) text_pattern_ops)"

# Serves ``filename__icontains`` of what is ready: no presign writes to it.
CREATE_TRIGRAMS = (
    "CREATE INDEX attachments_filename_trigrams ON attachments "
    "USING gin (UPPER(filename) gin_trgm_ops) WHERE status = 'ready'"
)


def create_indexes(apps: Apps, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    schema_editor.execute(CREATE)
    # The server may not ship pg_trgm, or not let us have it.
    with suppress(Error), transaction.atomic(schema_editor.connection.alias):
        schema_editor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        schema_editor.execute(CREATE_TRIGRAMS)


def drop_indexes(apps: Apps, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX attachments_filename")
        schema_editor.execute("DROP INDEX IF EXISTS attachments_filename_trigrams")


class Migration(migrations.Migration):
    dependencies = [
        ("attachments", "0001_initial"),
    ]

    operations = [migrations.RunPython(create_indexes, drop_indexes)]
