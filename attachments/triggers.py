"""The database notes each deleted row's objects, whoever deletes the row and however.

A signal would miss raw SQL and ``_raw_delete``; a trigger misses TRUNCATE alone. It runs in the
deleting transaction, so that row and note stand or fall together, and costs one statement however
many rows go.
"""

from dataclasses import dataclass
from typing import Any

from django.db import NotSupportedError, connections


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """What the database does by itself when rows of the table ``attachments`` change."""

    name: str
    postgresql_event: str
    """When, and what the rows are called in the body: what follows CREATE TRIGGER and its name."""
    postgresql_body: str
    """Of a function in PL/pgSQL, run once a statement."""
    sqlite: str
    """The whole statement."""


# What a row may own: the object that it names and, until it is ready and its form is over, what its
# client put. A copy that is being made lands after this: its key is deleted again later.
# SQLite rounds to milliseconds, which would be a moment yet to come.
NOTE_DELETIONS = Trigger(
    name="attachments_note_deletions",
    postgresql_event="AFTER DELETE ON attachments REFERENCING OLD TABLE AS gone",
    postgresql_body="""
BEGIN
    INSERT INTO attachments_deletions (key, upload_id, repeats)
    SELECT storage_key, copy_upload_id, CASE status WHEN 'verifying' THEN 3 ELSE 0 END FROM gone
    UNION
    SELECT 'pending/' || id, '', 0 FROM gone WHERE status <> 'ready' OR expires_at > now();
    RETURN NULL;
END""",
    sqlite="""
CREATE TRIGGER attachments_note_deletions AFTER DELETE ON attachments FOR EACH ROW
BEGIN
    INSERT INTO attachments_deletions (key, upload_id, repeats, due_at)
    SELECT key, upload_id, repeats, strftime('%Y-%m-%d %H:%M:%f', 'now', '-0.001 seconds')
    FROM (
        SELECT OLD.storage_key AS key, OLD.copy_upload_id AS upload_id,
            CASE OLD.status WHEN 'verifying' THEN 3 ELSE 0 END AS repeats
        UNION
        SELECT 'pending/' || substr(OLD.id, 1, 8) || '-' || substr(OLD.id, 9, 4) || '-'
            || substr(OLD.id, 13, 4) || '-' || substr(OLD.id, 17, 4) || '-' || substr(OLD.id, 21),
            '', 0
        WHERE OLD.status <> 'ready' OR OLD.expires_at > strftime('%Y-%m-%d %H:%M:%f', 'now')
    );
END""",
)
TRIGGERS = [NOTE_DELETIONS]


def ensure_triggers(using: str, **kwargs: Any) -> None:
    """After each migrate: make every trigger what this release wants it to be.

    SQLite drops them when it remakes the table. What is right already is not touched, as that
    would lock the table under running servers.
    """
    connection = connections[using]
    if connection.vendor not in _ENSURE:
        raise NotSupportedError(f"attachments needs PostgreSQL or SQLite, not {connection.vendor}.")
    with connection.cursor() as cursor:
        if "attachments" in connection.introspection.table_names(cursor):
            for trigger in TRIGGERS:
                _ENSURE[connection.vendor](cursor, trigger)


def _ensure_on_postgresql(cursor: Any, trigger: Trigger) -> None:
    cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = %s", [trigger.name])
    if cursor.fetchone() != (trigger.postgresql_body,):
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION {trigger.name}() RETURNS trigger LANGUAGE plpgsql "
            f"AS $${trigger.postgresql_body}$$"
        )
    cursor.execute(
        "SELECT FROM pg_trigger WHERE tgname = %s AND tgrelid = 'attachments'::regclass",
        [trigger.name],
    )
    if cursor.fetchone() is None:
        cursor.execute(
            f"CREATE TRIGGER {trigger.name} {trigger.postgresql_event} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {trigger.name}()"
        )


def _ensure_on_sqlite(cursor: Any, trigger: Trigger) -> None:
    cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [trigger.name])
    if cursor.fetchone() != (trigger.sqlite.strip(),):
        cursor.execute(f"DROP TRIGGER IF EXISTS {trigger.name}")
        cursor.execute(trigger.sqlite)


_ENSURE = {"postgresql": _ensure_on_postgresql, "sqlite": _ensure_on_sqlite}
