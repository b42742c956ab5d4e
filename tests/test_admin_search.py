"""Search where the database has pg_trgm: the embedded PostgreSQL does not ship it."""

import tempfile
from pathlib import Path

import environ
import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from attachments.admin.search import search_attachments
from attachments.models import Attachment
from tests.debian_postgres import find_programs, run_postgres

ALIAS = "trigrams"


@pytest.fixture(scope="module")
def trigrams(django_db_setup, django_db_blocker):
    """A migrated database with pg_trgm, and rows of a user in it."""
    programs = find_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL with pg_trgm (Debian: postgresql)")
    # A socket's path is short.
    with (
        tempfile.TemporaryDirectory() as directory,
        run_postgres(programs, Path(directory)) as url,
        django_db_blocker.unblock(),
    ):
        connections.databases[ALIAS] = {
            **connections.databases["default"],
            "OPTIONS": {},
            **environ.Env.db_url_config(url),
        }
        # Not those of django_tasks_db: one writes to the default database, whatever it is told.
        for app in ("auth", "attachments"):
            call_command("migrate", app, database=ALIAS, verbosity=0)
        user = get_user_model().objects.db_manager(ALIAS).create_user("alice")
        now = timezone.now()
        Attachment.objects.using(ALIAS).bulk_create(
            Attachment(
                user=user,
                filename=filename,
                content_type="image/png",
                size_bytes=1,
                status=status,
                storage_key="attachments/a",
                expires_at=now,
            )
            for filename, status in [
                ("Годовой отчёт 2026.pdf", "ready"),
                ("черновик отчёта.pdf", "pending"),
                *[(f"IMG_{number:05}.png", "ready") for number in range(1000)],
            ]
        )
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("ANALYZE attachments")
        yield Attachment.objects.using(ALIAS)
        connections[ALIAS].close()
        del connections.databases[ALIAS], connections[ALIAS]


@pytest.mark.parametrize(
    ("term", "names"),
    [
        ("отчёт", {"Годовой отчёт 2026.pdf"}),  # what is not ready is found by its beginning
        ("ОТЧЁТ 20", {"Годовой отчёт 2026.pdf"}),
        ("черн", {"черновик отчёта.pdf"}),
        ("00999", {"IMG_00999.png"}),
        ("от", set()),  # too short for trigrams
        ("100%", set()),
    ],
)
def test_a_part_of_a_name_is_found(trigrams, term, names):
    found = search_attachments(trigrams.all(), term)

    assert set(found.values_list("filename", flat=True)) == names


def test_the_index_serves_it(trigrams):
    with connections[ALIAS].cursor() as cursor:
        # So few rows are read as fast in other ways.
        cursor.execute("SET enable_seqscan = off; DROP INDEX attachments_largest")

    plan = search_attachments(trigrams.all(), "отчёт").order_by().explain()

    assert "attachments_filename_trigrams" in plan
