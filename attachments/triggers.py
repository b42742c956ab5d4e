"""The database notes each deleted row's objects, whoever deletes the row and however.

A signal would miss raw SQL and ``_raw_delete``; a trigger misses TRUNCATE alone. It runs in the
deleting transaction, so that row and note stand or fall together, and costs one statement however
many rows go.
"""

from typing import Any

from django.apps.registry import Apps
from django.db import NotSupportedError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# What a row may own: the object that it names and, until it is ready and its form is over, what its
# client put. A copy that is being made lands after this: its key is deleted again later.
_POSTGRESQL = """
CREATE FUNCTION attachments_note_deletions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attachments_deletions (key, upload_id, repeats)
    SELECT storage_key, copy_upload_id, CASE status WHEN 'verifying' THEN 3 ELSE 0 END FROM gone
    UNION
    SELECT 'pending/' || id, '', 0 FROM gone WHERE status <> 'ready' OR expires_at > now();
    RETURN NULL;
END $$;
CREATE TRIGGER attachments_note_deletions AFTER DELETE ON attachments
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION attachments_note_deletions();
"""

# SQLite rounds to milliseconds, which would be a moment yet to come.
_SQLITE = """
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
END;
"""

_CREATE = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}
_DROP = {
    "postgresql": "DROP FUNCTION attachments_note_deletions CASCADE;",
    "sqlite": "DROP TRIGGER attachments_note_deletions;",
}


def create_triggers(apps: Apps | None, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For migrations. SQLite drops triggers when it remakes a table: create them again then."""
    _run(_CREATE, schema_editor)


def drop_triggers(apps: Apps | None, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _run(_DROP, schema_editor)


def _run(statements: dict[str, str], schema_editor: Any) -> None:
    vendor = schema_editor.connection.vendor
    if vendor not in statements:
        raise NotSupportedError(f"attachments needs PostgreSQL or SQLite, not {vendor}.")
    schema_editor.execute(statements[vendor], params=None)
