import re
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from attachments.models import Attachment


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", "--check", "--dry-run")


def test_the_migration_names_no_secret_and_no_host(settings):
    initial = import_module("attachments.migrations.0001_initial")
    source = Path(initial.__file__).read_text()

    assert settings.S3_SECRET_KEY not in source
    assert "messaging" not in source
    assert "conf.message_model" in source


@pytest.mark.django_db
def test_the_table_has_the_contracts_columns():
    with connection.cursor() as cursor:
        columns = {
            item.name
            for item in connection.introspection.get_table_description(cursor, "attachments")
        }

    assert columns >= {
        "id",
        "user_id",
        "message_id",
        "filename",
        "content_type",
        "size_bytes",
        "storage_key",
        "metadata",
        "created_at",
        "status",
        "confirmed_at",
        "expires_at",
        "checksum_sha256",
        "error",
    }


@pytest.mark.django_db
def test_keys(user):
    row = Attachment(user=user, filename="Cat photo.jpeg", content_type="image/jpeg")

    assert row.pending_key == f"pending/{row.pk}"
    assert re.fullmatch(rf"attachments/{row.pk}/[0-9a-f]{{32}}/Cat-photo\.jpeg", row.make_key())
    assert row.make_key() != row.make_key()
    assert str(row) == "Cat photo.jpeg"


@pytest.mark.django_db
@pytest.mark.postgres
@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("message_id IS NULL AND status = 'ready' AND created_at < now()", "attachments_orphans"),
        ("status IN ('pending', 'verifying') AND expires_at < now()", "attachments_stale"),
        ("message_id = 1", "attachments_linked"),
        ("user_id = 1 ORDER BY created_at DESC", "attachments_user_created"),
    ],
)
def test_each_filter_has_its_index(where, index):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN SELECT id FROM attachments WHERE {where}")
        plan = " ".join(line for (line,) in cursor.fetchall())

    assert index in plan
