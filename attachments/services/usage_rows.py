"""The rows of usage, one per user. The database keeps them itself: see ``usage_sql``."""

from django.db import connection, transaction

from attachments import usage_sql
from attachments.models import Usage


def settle_usage() -> None:
    """Let a transaction find its own changes in the rows of usage, which else wait for its commit.

    It then holds the rows of the users whose files it changed.
    """
    if connection.vendor == "postgresql" and connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute(usage_sql.SETTLE)


def recount_usage() -> None:
    """Make every row what the attachments say, also after TRUNCATE or a raw restore.

    One statement, beside running servers. It changes the rows that are wrong.
    """
    with transaction.atomic():
        settle_usage()
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":  # one recount at a time; writers go on
                cursor.execute("LOCK TABLE attachments_usage IN SHARE UPDATE EXCLUSIVE MODE")
            cursor.execute(usage_sql.RECOUNT)
        _drop_empty_rows()


def _drop_empty_rows() -> None:
    """Without waiting for rows that others hold: they would wait for ours."""
    empty = Usage.objects.filter(files=0, unconfirmed=0, refused=0)
    held = empty.select_for_update(skip_locked=True).values_list("pk", flat=True)
    empty.filter(pk__in=list(held)).delete()
