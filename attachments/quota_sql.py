"""The statements that hold quotas: how much a user has and has begun, locked and judged.

What is confirmed comes from the user's row of ``Usage`` (``usage_sql``), what was begun from their
rows of attachments.
"""
# ruff: noqa: S608 (no input in any of it)

from typing import Any

# A plan that was made when its tables were empty is run when they are large.
NO_SEQSCAN = "SET enable_seqscan = off"

_OF_USER = "SELECT files, used_bytes FROM attachments_usage WHERE user_id = {user}"
_OWN_CHANGES = (
    "SELECT files, used_bytes FROM attachments_usage_changes "
    "WHERE xact = pg_current_xact_id_if_assigned() AND user_id = {user}"
)


def _measure_use(kept: str, *, user: str, now: str) -> str:
    """The query for what a user has and has begun; ``kept`` gives what is confirmed."""
    allowed = "coalesce(size_bytes, max_size_bytes)"
    # A confirm that runs in a request may fail, and then its upload is pending again.
    is_begun = "(status = 'pending' OR waiting_since IS NULL AND expires_at > {now})"
    return f"""
SELECT kept.files + begun.verifying, kept.used_bytes + begun.verifying_bytes,
    begun.unconfirmed, begun.unconfirmed_bytes
FROM (
    SELECT CAST(coalesce(sum(files), 0) AS bigint) AS files,
        CAST(coalesce(sum(used_bytes), 0) AS bigint) AS used_bytes
    FROM ({kept}) AS rows_of_usage
) AS kept, (
    SELECT count(CASE WHEN NOT {is_begun} THEN 1 END) AS verifying,
        CAST(coalesce(sum(CASE WHEN NOT {is_begun} THEN {allowed} END), 0) AS bigint)
            AS verifying_bytes,
        count(CASE WHEN {is_begun} THEN 1 END) AS unconfirmed,
        CAST(coalesce(sum(CASE WHEN {is_begun} THEN {allowed} END), 0) AS bigint)
            AS unconfirmed_bytes
    FROM attachments
    WHERE user_id = {user} AND status = 'verifying'
        OR user_id = {user} AND status = 'pending' AND expires_at > {now}
) AS begun""".format(user=user, now=now)


MEASURE_USE = {
    "postgresql": _measure_use(
        f"{_OF_USER} UNION ALL {_OWN_CHANGES}", user="%(user)s", now="%(now)s"
    ),
    "sqlite": _measure_use(_OF_USER, user="%(user)s", now="%(now)s"),
}
"""What a user has, the transaction's own changes included, and has begun, in one snapshot."""

_LOCK_USE = "pg_advisory_xact_lock(1635017060, hashtext({user}))"  # "attd" in ASCII
LOCK_USE = {
    "postgresql": f"SELECT {_LOCK_USE.format(user='%s')}",
    # It matches no row: beginning to write is what keeps other writers out.
    "sqlite": "UPDATE attachments_usage SET files = files WHERE user_id <> user_id AND %s <> ''",
}
"""Keeps others who lock the same user's use waiting until the transaction ends."""

FUNCTION = "attachments_fit"
"""On PostgreSQL, it locks, measures and judges: an INSERT asks it on its way."""
FITS = f"{FUNCTION}(%s, %s, %s, %s, %s, %s)"
_ARGUMENTS = (
    "of_user attachments.user_id%TYPE, at_moment timestamptz, needed_bytes bigint, "
    "uploads bigint, quota_bytes bigint, max_unconfirmed bigint"
)
_BODY = f"""
DECLARE
    has_files bigint; has_bytes bigint; has_begun bigint; has_begun_bytes bigint;
BEGIN
    PERFORM {_LOCK_USE.format(user="of_user::text")};
    -- Another snapshot than that of the statement, which began before the lock was there.
    {_measure_use(f"{_OF_USER} UNION ALL {_OWN_CHANGES}", user="of_user", now="at_moment")}
    INTO has_files, has_bytes, has_begun, has_begun_bytes;
    RETURN (quota_bytes IS NULL OR has_bytes + has_begun_bytes + needed_bytes <= quota_bytes)
        AND (max_unconfirmed IS NULL OR has_begun + uploads <= max_unconfirmed);
END"""


def ensure_function(cursor: Any) -> None:
    """Make ``FUNCTION`` what this release wants it to be. What is right already is not touched."""
    cursor.execute("SELECT prosrc FROM pg_proc WHERE oid = to_regproc(%s)", [FUNCTION])
    if cursor.fetchone() != (_BODY,):
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION {FUNCTION}({_ARGUMENTS}) "
            f"RETURNS boolean LANGUAGE plpgsql {NO_SEQSCAN} AS $${_BODY}$$"
        )
