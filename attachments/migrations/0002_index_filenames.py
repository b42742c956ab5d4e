from typing import Any

from django.apps.registry import Apps
from django.db import migrations

# Serves ``filename__istartswith``, which Django spells UPPER(filename) LIKE 'TERM%'. The operator
# class lets LIKE use it whatever the collation; SQLite has none, and does without the index.
CREATE = "CREATE INDEX attachments_filename ON attachments (UPPER(filename) text_pattern_ops)"
DROP = "DROP INDEX attachments_filename"


def create_index(apps: Apps, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CREATE)


def drop_index(apps: Apps, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(DROP)


class Migration(migrations.Migration):
    dependencies = [
        ("attachments", "0001_initial"),
    ]

    operations = [migrations.RunPython(create_index, drop_index)]
