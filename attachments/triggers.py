"""The database notes each deleted row's objects and counts usage, whoever changes rows and however.

A signal would miss raw SQL and ``_raw_delete``; a trigger misses TRUNCATE alone. It runs in the
changing transaction, so that row and note stand or fall together, and costs one statement however
many rows change.
"""

from dataclasses import dataclass
from typing import Any

from django.db import NotSupportedError, connections, transaction

from attachments import quota_sql, usage_sql


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """What the database does by itself when rows of the table ``attachments`` change."""

    name: str
    postgresql_event: str
    """When, and what the rows are called in the body: what follows CREATE TRIGGER and its name."""
    postgresql_body: str
    """Of a function in PL/pgSQL, run once a statement."""
    sqlite: str | None
    """The whole statement, if SQLite needs any."""
    is_deferred: bool = False
    """On PostgreSQL: run as the transaction commits, once a row."""

    @property
    def table(self) -> str:
        """On PostgreSQL, the table that has it."""
        return self.postgresql_event.split()[3]


# What a row may own: the object that it names, and its thumbnail; the copy that is made of the
# object, which may land after this, so that its key is deleted again later; and, until it is ready
# and its form is over, what its client put.
# SQLite rounds to milliseconds, which would be a moment yet to come.
NOTE_DELETIONS = Trigger(
    name="attachments_note_deletions",
    postgresql_event="AFTER DELETE ON attachments REFERENCING OLD TABLE AS gone",
    postgresql_body="""
BEGIN
    INSERT INTO attachments_deletions (key, upload_id, repeats)
    SELECT storage_key, '', 0 FROM gone
    UNION
    SELECT thumbnail_key, '', 0 FROM gone WHERE thumbnail_key <> ''
    UNION
    SELECT copy_key, copy_upload_id, 3 FROM gone WHERE copy_key <> ''
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
        SELECT OLD.storage_key AS key, '' AS upload_id, 0 AS repeats
        UNION
        SELECT OLD.thumbnail_key, '', 0 WHERE OLD.thumbnail_key <> ''
        UNION
        SELECT OLD.copy_key, OLD.copy_upload_id, 3 WHERE OLD.copy_key <> ''
        UNION
        SELECT 'pending/' || substr(OLD.id, 1, 8) || '-' || substr(OLD.id, 9, 4) || '-'
            || substr(OLD.id, 13, 4) || '-' || substr(OLD.id, 17, 4) || '-' || substr(OLD.id, 21),
            '', 0
        WHERE OLD.status <> 'ready' OR OLD.expires_at > strftime('%Y-%m-%d %H:%M:%f', 'now')
    );
END""",
)
COUNT_INSERT = Trigger(
    name="attachments_count_insert",
    postgresql_event="AFTER INSERT ON attachments REFERENCING NEW TABLE AS new_rows",
    postgresql_body=usage_sql.count_on_postgresql(new_rows=1),
    sqlite=usage_sql.count_on_sqlite("attachments_count_insert", "INSERT", NEW=1),
)
COUNT_UPDATE = Trigger(
    name="attachments_count_update",
    postgresql_event=(
        "AFTER UPDATE ON attachments REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"
    ),
    postgresql_body=usage_sql.count_on_postgresql(old_rows=-1, new_rows=1),
    sqlite=usage_sql.count_on_sqlite(
        "attachments_count_update", "UPDATE OF user_id, status, size_bytes", OLD=-1, NEW=1
    ),
)
COUNT_DELETE = Trigger(
    name="attachments_count_delete",
    postgresql_event="AFTER DELETE ON attachments REFERENCING OLD TABLE AS old_rows",
    postgresql_body=usage_sql.count_on_postgresql(old_rows=-1),
    sqlite=usage_sql.count_on_sqlite("attachments_count_delete", "DELETE", OLD=-1),
)
ADD_USAGE = Trigger(
    name="attachments_add_usage",
    postgresql_event="AFTER INSERT ON attachments_usage_changes",
    postgresql_body=usage_sql.ADD_CHANGES,
    sqlite=None,
    is_deferred=True,
)
USAGE_TRIGGERS = [COUNT_INSERT, COUNT_UPDATE, COUNT_DELETE, ADD_USAGE]
TRIGGERS = [NOTE_DELETIONS, *USAGE_TRIGGERS]


def ensure_triggers(using: str, **kwargs: Any) -> None:
    """After each migrate: make every trigger, and the function of quotas, what they should be.

    SQLite drops them when it remakes the table. What is right already is not touched, as that
    would lock the table under running servers. Usage that was not counted is counted now.
    """
    connection = connections[using]
    if connection.vendor not in _ENSURE:
        raise NotSupportedError(f"attachments needs PostgreSQL or SQLite, not {connection.vendor}.")
    is_right, make = _ENSURE[connection.vendor]
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        if not {"attachments", "attachments_usage"}.issubset(tables):
            return
        if connection.vendor == "postgresql":
            quota_sql.ensure_function(cursor)
        wrong = [trigger for trigger in TRIGGERS if not is_right(cursor, trigger)]
        if not wrong:
            return
        with transaction.atomic(using):
            for trigger in wrong:
                make(cursor, trigger)
            if any(trigger in USAGE_TRIGGERS for trigger in wrong):
                cursor.execute(usage_sql.RECOUNT)


def _is_right_on_postgresql(cursor: Any, trigger: Trigger) -> bool:
    cursor.execute(
        "SELECT prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid "
        "WHERE tgname = %s AND tgrelid = to_regclass(%s)",
        [trigger.name, trigger.table],
    )
    return bool(cursor.fetchone() == (trigger.postgresql_body,))


def _make_on_postgresql(cursor: Any, trigger: Trigger) -> None:
    setting = ""
    kind, when = "TRIGGER", "FOR EACH STATEMENT"
    if trigger.is_deferred:
        cursor.execute(usage_sql.CREATE_CHANGES)
        kind, when = "CONSTRAINT TRIGGER", "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        setting = quota_sql.NO_SEQSCAN
    cursor.execute(
        f"CREATE OR REPLACE FUNCTION {trigger.name}() RETURNS trigger LANGUAGE plpgsql {setting} "
        f"AS $${trigger.postgresql_body}$$"
    )
    cursor.execute(
        "SELECT FROM pg_trigger WHERE tgname = %s AND tgrelid = to_regclass(%s)",
        [trigger.name, trigger.table],
    )
    if cursor.fetchone() is None:
        cursor.execute(
            f"CREATE {kind} {trigger.name} {trigger.postgresql_event} {when} "
            f"EXECUTE FUNCTION {trigger.name}()"
        )


def _is_right_on_sqlite(cursor: Any, trigger: Trigger) -> bool:
    if trigger.sqlite is None:
        return True
    cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [trigger.name])
    return bool(cursor.fetchone() == (trigger.sqlite.strip(),))


def _make_on_sqlite(cursor: Any, trigger: Trigger) -> None:
    cursor.execute(f"DROP TRIGGER IF EXISTS {trigger.name}")
    cursor.execute(trigger.sqlite)


_ENSURE = {
    "postgresql": (_is_right_on_postgresql, _make_on_postgresql),
    "sqlite": (_is_right_on_sqlite, _make_on_sqlite),
}
