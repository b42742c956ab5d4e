"""How much a user has and has begun, and whether more fits into their quota."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from django.utils import timezone

from attachments import usage_sql
from attachments.errors import QuotaExceeded, TooManyUnconfirmed
from attachments.models import Attachment
from attachments.policy import Limits, User


@dataclass(frozen=True, kw_only=True)
class Use:
    """What one user has, and what they have begun."""

    files: int
    """Confirmed: ready, or still verified or scanned."""
    used_bytes: int
    """Of these; of what is still verified, as much as its form allowed."""
    unconfirmed: int
    """Uploads whose forms still work, and which were not confirmed."""
    unconfirmed_bytes: int
    """As much as their forms allow."""

    @property
    def taken_bytes(self) -> int:
        return self.used_bytes + self.unconfirmed_bytes


def measure_use(user: User) -> Use:
    """In one query, of a few rows however many files there are."""
    to_column = Attachment._meta.get_field("user").get_db_prep_value
    pk = to_column(user.pk, connection)
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    statement = usage_sql.MEASURE_USE[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(statement, {"user": pk, "now": now})
        files, used_bytes, unconfirmed, unconfirmed_bytes = cursor.fetchone()
    return Use(
        files=files,
        used_bytes=used_bytes,
        unconfirmed=unconfirmed,
        unconfirmed_bytes=unconfirmed_bytes,
    )


def reserve_space(*, user: User, limits: Limits, attachments: Sequence[Attachment]) -> None:
    """See that uploads fit that do not count yet.

    In the transaction that makes them count: until it ends, others of the same user wait, so that
    several at once never pass the limits. Raises ``QuotaExceeded``, ``TooManyUnconfirmed``.
    """
    if not (limits.are_on_use and attachments):
        return
    _lock_use(user)
    use = measure_use(user)
    needed_bytes = sum(attachment.size_range[1] for attachment in attachments)
    quota_bytes, max_unconfirmed = limits.quota_bytes, limits.max_unconfirmed
    if quota_bytes is not None and use.taken_bytes + needed_bytes > quota_bytes:
        raise QuotaExceeded(
            used=use.taken_bytes,
            quota=quota_bytes,
            free=max(quota_bytes - use.taken_bytes, 0),
            needed=needed_bytes,
        )
    if max_unconfirmed is not None and use.unconfirmed + len(attachments) > max_unconfirmed:
        raise TooManyUnconfirmed(
            used=use.unconfirmed,
            quota=max_unconfirmed,
            free=max(max_unconfirmed - use.unconfirmed, 0),
            needed=len(attachments),
        )


def _lock_use(user: User) -> None:
    """Not the row of usage: transactions lock those last (``usage_sql``), and some have none."""
    with connection.cursor() as cursor:
        cursor.execute(usage_sql.LOCK_USE[connection.vendor], [str(user.pk)])
