"""The statements by which the database keeps one row of ``Usage`` per user.

On PostgreSQL each statement writes what it changed to a table that only its transaction sees, and
the commit adds that to the users' rows, in the order of the users. So every transaction locks rows
of usage after all others and in one order, and none waits for another in a circle. Statements that
locked them at once would: a cascade deletes a hundred rows at a time. SQLite has one writer.
"""
# ruff: noqa: S608 (no input in any of it)

_KEPT = "status IN ('ready', 'scanning')"
_UNCONFIRMED = "status IN ('pending', 'verifying')"
_REFUSED = "status IN ('rejected', 'infected')"
_COUNTS = {
    "files": f"CASE WHEN {_KEPT} THEN sign ELSE 0 END",
    "used_bytes": f"CASE WHEN {_KEPT} THEN sign * coalesce(size_bytes, 0) ELSE 0 END",
    "unconfirmed": f"CASE WHEN {_UNCONFIRMED} THEN sign ELSE 0 END",
    "unconfirmed_bytes": f"CASE WHEN {_UNCONFIRMED} THEN sign * coalesce(size_bytes, 0) ELSE 0 END",
    "refused": f"CASE WHEN {_REFUSED} THEN sign ELSE 0 END",
}
"""What a row counts in each column; ``sign`` is -1 for a row that is gone."""
_COLUMNS = ", ".join(_COUNTS)
_ROW_COUNT = "files + unconfirmed + refused"  # below zero if the row was emptied by other means


def _count(rows: str) -> str:
    """The query for what each of ``rows`` counts."""
    columns = ", ".join(f"{expression} AS {name}" for name, expression in _COUNTS.items())
    return f"SELECT user_id, {columns} FROM ({rows}) AS changed"


def _sum(counted: str) -> str:
    """The query for the sums of each user, without users whose sums are zero."""
    sums = ", ".join(f"sum({name})" for name in _COUNTS)
    has_changed = " OR ".join(f"sum({name}) <> 0" for name in _COUNTS)
    return (
        f"SELECT user_id, {sums} FROM ({counted}) AS counted "
        f"GROUP BY user_id HAVING {has_changed} ORDER BY user_id"
    )


def _add(sums: str) -> str:
    """The statement that adds these sums to the rows of usage."""
    added = ", ".join(f"{name} = attachments_usage.{name} + excluded.{name}" for name in _COUNTS)
    return (
        f"INSERT INTO attachments_usage (user_id, {_COLUMNS}) {sums} "
        f"ON CONFLICT (user_id) DO UPDATE SET {added}"
    )


def count_on_postgresql(**tables: int) -> str:
    """The body of a trigger that counts the rows of these transition tables, by their sign."""
    rows = " UNION ALL ".join(
        f"SELECT user_id, status, size_bytes, {sign} AS sign FROM {table}"
        for table, sign in tables.items()
    )
    return f"""
BEGIN
    INSERT INTO attachments_usage_changes (user_id, {_COLUMNS})
    {_sum(_count(rows))};
    RETURN NULL;
END"""


def count_on_sqlite(name: str, event: str, **rows: int) -> str:
    """The statement that makes a trigger, which counts ``OLD``, ``NEW`` or both by their sign."""
    values = " UNION ALL ".join(
        f"SELECT {row}.user_id AS user_id, {row}.status AS status, "
        f"{row}.size_bytes AS size_bytes, {sign} AS sign"
        for row, sign in rows.items()
    )
    drop = f"DELETE FROM attachments_usage WHERE user_id = OLD.user_id AND {_ROW_COUNT} <= 0;"
    return f"""
CREATE TRIGGER {name} AFTER {event} ON attachments FOR EACH ROW
BEGIN
    {_add(_sum(_count(values)))};
    {drop if "OLD" in rows else ""}
END"""


# The key serves both lookups below, however many dead rows there are. No row outlives its
# transaction: the table needs no log, and may be made anew with other columns.
CREATE_CHANGES = """
DROP TABLE IF EXISTS attachments_usage_changes;
CREATE UNLOGGED TABLE attachments_usage_changes (
    LIKE attachments_usage,
    xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (xact, id)
)"""

ADD_CHANGES = f"""
BEGIN
    -- The first event of a commit adds all that the transaction changed; the others find it gone.
    IF EXISTS (SELECT FROM attachments_usage_changes WHERE xact = NEW.xact AND id = NEW.id) THEN
        {_add(_sum("SELECT * FROM attachments_usage_changes WHERE xact = NEW.xact"))};
        DELETE FROM attachments_usage AS usage USING (
            SELECT DISTINCT user_id FROM attachments_usage_changes
            WHERE xact = NEW.xact AND {_ROW_COUNT} < 0
        ) AS lost
        WHERE usage.user_id = lost.user_id AND {_ROW_COUNT} <= 0;
        DELETE FROM attachments_usage_changes WHERE xact = NEW.xact;
    END IF;
    RETURN NULL;
END"""
"""The body of the trigger that adds what a transaction changed."""

SETTLE = (
    "SET CONSTRAINTS attachments_add_usage IMMEDIATE; "
    "SET CONSTRAINTS attachments_add_usage DEFERRED"
)

RECOUNT = _add(
    _sum(
        f"{_count('SELECT user_id, status, size_bytes, 1 AS sign FROM attachments')} "
        f"UNION ALL SELECT user_id, {', '.join(f'-{name}' for name in _COUNTS)} "
        "FROM attachments_usage"
    )
)
"""Adds to the users' rows what they lack in one snapshot of both tables.

It is right beside writers: what they commit meanwhile is not in the snapshot, and adds itself to
the same rows. Only two of these at once would both add what lacks.
"""
