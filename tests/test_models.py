import re
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from attachments.models import Attachment, ObjectDeletion
from attachments.triggers import ensure_triggers
from tests.benchmarks.population import make_rows


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", "--check", "--dry-run")


def test_the_migration_names_no_secret_and_no_host(settings):
    initial = import_module("attachments.migrations.0001_initial")
    source = Path(initial.__file__).read_text()

    assert settings.S3_SECRET_KEY not in source
    assert "messaging" not in source
    assert '("auth",' not in source
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
    assert re.fullmatch(rf"quarantine/{row.pk}/[0-9a-f]{{32}}", row.make_quarantine_key())
    assert row.make_quarantine_key() != row.make_quarantine_key()
    assert str(row) == "Cat photo.jpeg"


@pytest.mark.django_db
@pytest.mark.postgres
def test_each_filter_has_its_index():
    """Where there are rows that it does not want: in an empty table all indexes cost the same."""
    make_rows(2000)
    found = {}
    with connection.cursor() as cursor:
        for index, where in {
            "attachments_orphans": "message_id IS NULL AND status = 'ready' AND confirmed_at < now() - interval '9 years'",
            "attachments_stale": "status IN ('pending', 'verifying') AND expires_at < now()",
            "attachments_waiting": "waiting_since IS NOT NULL ORDER BY id LIMIT 1000",
            "attachments_unhashed": "status = 'ready' AND checksum_sha256 = ''",
            "attachments_linked": "message_id = -1",
            "attachments_user_created": "user_id = -1 ORDER BY created_at DESC",
        }.items():  # fmt: skip
            cursor.execute(f"EXPLAIN SELECT id FROM attachments WHERE {where}")
            plan = " ".join(line for (line,) in cursor.fetchall())
            found[index] = index in plan or plan

    assert set(found.values()) == {True}, found


# What a newer release does to the table, or writes into it


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_column_that_is_added_under_a_running_server_breaks_nothing(user, attachment_of, api):
    """PostgreSQL refuses a prepared ``SELECT *`` whose columns are others now."""
    client = api(user)
    attachments = [attachment_of(user) for _ in range(8)]
    base = "/api/v1/attachments"

    def use(attachment):
        assert client.get(f"{base}/{attachment.pk}").status_code == 200
        assert client.get(base).status_code == 200
        body = {"attachment_id": str(attachment.pk)}
        assert client.post(f"{base}/confirm", body, format="json").status_code == 200
        assert client.delete(f"{base}/{attachment.pk}").status_code == 204

    for attachment in attachments[:6]:  # psycopg prepares what it sent five times
        use(attachment)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement ~ 'attachments'"
        )
        assert cursor.fetchone()[0] > 0
        cursor.execute("ALTER TABLE attachments ADD COLUMN of_a_newer_release text")
        cursor.execute("ALTER TABLE attachments_deletions ADD COLUMN of_a_newer_release text")
    try:
        for attachment in attachments[6:]:
            use(attachment)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE attachments DROP COLUMN of_a_newer_release")
            cursor.execute("ALTER TABLE attachments_deletions DROP COLUMN of_a_newer_release")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "values",
    [
        {"status": "ready", "size_bytes": None},
        {"status": "ready", "size_bytes": 1, "storage_key": ""},
        {"status": "verifying", "lease_expires_at": None},
        {"status": "scanning", "waiting_since": None},
    ],
)
def test_the_database_refuses_what_the_code_never_writes(user, upload, values):
    upload(user)

    with pytest.raises(IntegrityError):
        Attachment.objects.update(**values)


@pytest.mark.django_db
@pytest.mark.parametrize("error", [{"code": "of_a_newer_release", "params": {"a": 1}}])
def test_an_error_code_of_a_newer_release_is_shown(user, upload, error):
    ticket = upload(user)
    Attachment.objects.update(status="rejected", error=error)
    client = APIClient()  # not that of `api`, which knows the documented codes alone
    client.force_authenticate(user)

    shown = client.get(f"/api/v1/attachments/{ticket.attachment_id}").json()
    body = {"attachment_id": str(ticket.attachment_id)}
    confirmed = client.post("/api/v1/attachments/confirm", body, format="json")

    assert shown["error"] == {"code": error["code"], "detail": "The file was refused."}
    assert (confirmed.status_code, confirmed.json()["errors"][0]["code"]) == (422, error["code"])


@pytest.mark.django_db
def test_an_error_with_other_params_is_shown(user, upload):
    upload(user)
    Attachment.objects.update(status="rejected", error={"code": "size_mismatch", "params": {}})

    assert Attachment.objects.get().error_info["detail"] == "The file has ? bytes; expected ?."


# Triggers


@pytest.mark.django_db(transaction=True)
def test_migrate_makes_the_triggers_anew(user, upload):
    """SQLite drops them when it remakes the table."""
    with connection.cursor() as cursor:
        on_table = " ON attachments" if connection.vendor == "postgresql" else ""
        cursor.execute(f"DROP TRIGGER attachments_note_deletions{on_table}")

    call_command("migrate", verbosity=0)

    upload(user)
    Attachment.objects.all()._raw_delete(using="default")
    assert ObjectDeletion.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_migrate_leaves_triggers_alone_that_are_right():
    with CaptureQueriesContext(connection) as queries:
        ensure_triggers("default")

    assert not [query for query in queries if not query["sql"].lstrip().startswith("SELECT")]
