"""The tests' own database: its address, and ways to empty and to lose it."""

import os
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection

# What `migrate` fills. To make it anew takes longer than most tests.
_KEPT = {"auth_permission", "django_content_type"}


def get_database_url() -> str:
    """The address for other processes. ``DATABASE_URL`` itself names a database without tables."""
    url = urlsplit(os.environ["DATABASE_URL"])
    return url._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


def empty_tables(test_case: object) -> None:
    """What ``TransactionTestCase`` does when a test is over, in a twentieth of the time.

    On PostgreSQL, to truncate a table is to make its files anew. Here the rows go in any order and
    without triggers, which takes a superuser, once whoever still writes is done.
    """
    found = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = sorted(set(found) - _KEPT)
    statements = connection.ops.sql_flush(no_style(), tables)
    if connection.vendor == "postgresql" and _is_superuser():
        statements = [
            "SET LOCAL session_replication_role = replica",
            f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE",
            "; ".join(f"DELETE FROM {table}" for table in tables),
        ]
    connection.ops.execute_sql_flush(statements)


def _is_superuser() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SHOW is_superuser")
        return cursor.fetchone() == ("on",)


def wait_until_blocked(count: int, *, unless: Callable[[], bool] = lambda: False) -> None:
    """Wait until so many other transactions wait for a lock, unless that can no longer be."""
    deadline = time.monotonic() + 30
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(
                "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE NOT granted AND datname = current_database()"
            )
            if cursor.fetchone()[0] >= count or unless():
                return
            time.sleep(0.02)
    raise AssertionError(f"{count} transactions never waited at once")


def lose_database() -> None:
    """Empty the database. What ``migrate`` makes gets other ids."""
    call_command("flush", interactive=False, verbosity=0)
    ContentType.objects.all().delete()
    ContentType.objects.clear_cache()
    call_command("migrate", verbosity=0)
