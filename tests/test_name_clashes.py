"""A table of others that has the name of ours is told before anything is changed."""

import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from attachments.name_clashes import check_names, find_clashes
from tests.documents import ROOT

GUIDE = """CREATE TABLE attachments (
    id VARCHAR(36) PRIMARY KEY, user_id INTEGER NOT NULL, filename VARCHAR(255) NOT NULL,
    storage_key VARCHAR(512) NOT NULL, created_at TIMESTAMP
)"""
OF_OTHERS = {
    "the guide's table": (GUIDE, ["table attachments"]),
    "with columns of ours": (
        "CREATE TABLE attachments (id INTEGER, user_id INTEGER, status TEXT, copy_key TEXT)",
        ["table attachments"],
    ),
    "another table of ours": (
        "CREATE TABLE attachments_deletions (id INTEGER, key TEXT)",
        ["table attachments_deletions"],
    ),
    "a table that triggers make": (
        "CREATE TABLE attachments_usage_changes (id INTEGER)",
        ["table attachments_usage_changes"],
    ),
    "a view": ("CREATE VIEW attachments_usage AS SELECT 1 AS id", ["view attachments_usage"]),
    "an index": (
        "CREATE TABLE old (at INTEGER); CREATE INDEX attachments_created ON old (at)",
        ["index attachments_created"],
    ),
    "an index that a migration makes": (
        "CREATE TABLE old (name TEXT); CREATE INDEX attachments_filename ON old (name)",
        ["index attachments_filename"],
    ),
    "a table that was renamed": (
        f"{GUIDE}; ALTER TABLE attachments RENAME TO attachments_fastapi",
        [],
    ),
    "something else": ("CREATE TABLE attached (id INTEGER)", []),
}


@pytest.fixture
def empty(django_db_blocker, django_db_setup, tmp_path, request):
    """An alias of an empty database: SQLite, or a schema of PostgreSQL."""
    vendor = request.param
    default = connections["default"]
    if vendor != default.vendor and vendor == "postgresql":
        pytest.skip("PostgreSQL is not there")
    settings = dict(default.settings_dict)
    with django_db_blocker.unblock():
        if vendor == "sqlite":
            settings |= {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": tmp_path / "db.sqlite3",
                "OPTIONS": {},
            }
        else:
            with default.cursor() as cursor:
                cursor.execute("DROP SCHEMA IF EXISTS clash CASCADE; CREATE SCHEMA clash")
            options = {"pool": None, "options": "-c search_path=clash"}
            settings["OPTIONS"] = settings["OPTIONS"] | options
        connections.settings["empty"] = settings
        yield "empty"
        connections["empty"].close()
        del connections["empty"], connections.settings["empty"]
        if vendor != "sqlite":
            with default.cursor() as cursor:
                cursor.execute("DROP SCHEMA clash CASCADE")
            default.close()


both = pytest.mark.parametrize("empty", ["postgresql", "sqlite"], indirect=True)


def execute(alias, sql):
    with connections[alias].cursor() as cursor:
        for statement in sql.split("; "):
            cursor.execute(statement)


def list_tables(alias):
    connection = connections[alias]
    with connection.cursor() as cursor:
        return sorted(connection.introspection.table_names(cursor))


@both
@pytest.mark.parametrize("case", OF_OTHERS)
def test_what_has_our_name_is_told(empty, case):
    sql, expected = OF_OTHERS[case]
    execute(empty, sql)

    assert [f"{item.kind} {item.name}" for item in find_clashes(empty)] == expected


@both
def test_check_and_migrate_tell_and_change_nothing(empty):
    execute(empty, GUIDE)
    before = list_tables(empty)
    text = r"The table 'attachments' is there already, and is not of this app"
    advice = (
        r"ALTER TABLE attachments RENAME TO attachments_fastapi.*"
        r"adopt_attachments --table attachments_fastapi"
    )

    (error,) = check_names(None, databases=[empty])
    assert error.id == "attachments.E010"
    for skip_checks in (True, False):
        with pytest.raises(CommandError, match=text):  # SystemCheckError is one
            call_command("migrate", database=empty, verbosity=0, skip_checks=skip_checks)
    assert re.search(advice, error.hint)
    assert list_tables(empty) == before


@both
def test_once_renamed_ours_are_made_and_are_no_clash(empty):
    text = (ROOT / "docs/taking-over.md").read_text()
    rename = re.search(r"^```sql\n(.*?);\n```$", text, re.M)[1]
    execute(empty, f"{GUIDE}; {rename}")

    call_command("migrate", database=empty, verbosity=0)

    assert {"attachments", "attachments_fastapi"} <= set(list_tables(empty))
    assert check_names(None, databases=[empty]) == []
    MigrationRecorder(connections[empty]).flush()  # as if they had been brought by a dump
    assert check_names(None, databases=[empty]) == []
