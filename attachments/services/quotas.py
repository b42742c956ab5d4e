"""How much a user has and has begun, and whether more fits into their quota."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from attachments import quota_sql
from attachments.errors import AttachmentError, QuotaExceeded, TooManyUnconfirmed
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
    pk, now = _name_user_and_moment(user)
    with connection.cursor() as cursor:
        cursor.execute(quota_sql.MEASURE_USE[connection.vendor], {"user": pk, "now": now})
        files, used_bytes, unconfirmed, unconfirmed_bytes = cursor.fetchone()
    return Use(
        files=files,
        used_bytes=used_bytes,
        unconfirmed=unconfirmed,
        unconfirmed_bytes=unconfirmed_bytes,
    )


def insert_what_fits(
    *,
    user: User,
    limits: Limits,
    attachments: Sequence[Attachment],
    renewed: Sequence[Attachment] = (),
) -> None:
    """Insert new rows, all or none; ``renewed`` are there, and count from now on.

    Raises ``QuotaExceeded``, ``TooManyUnconfirmed``.
    """
    if limits.are_on_use and not renewed and _insert_at_once(user, limits, attachments):
        return
    # Without limits there is nothing to lock: a transaction would be two statements for nothing.
    with transaction.atomic() if limits.are_on_use else nullcontext():
        reserve_space(user=user, limits=limits, new=attachments, kept=renewed)
        if attachments:
            Attachment.insert(attachments)


def _insert_at_once(user: User, limits: Limits, attachments: Sequence[Attachment]) -> bool:
    """Insert one row in one statement instead of five, if it fits; give whether it did."""
    if connection.vendor != "postgresql" or len(attachments) != 1:
        return False
    (row,) = attachments
    pk, now = _name_user_and_moment(user)
    asked = [pk, now, row.size_range[1], 1, limits.quota_bytes, limits.max_unconfirmed]
    return Attachment.insert_if(quota_sql.FITS, asked, row)


def reserve_space(
    *,
    user: User,
    limits: Limits,
    new: Sequence[Attachment] = (),
    kept: Sequence[Attachment] = (),
) -> None:
    """Check that ``new`` uploads fit, and those of ``kept`` whose time is over: they do not count.

    Call it in the transaction that makes all of them count: until it ends, others of the same user
    wait, so that several at once never pass the limits, and none of ``kept`` ceases to count
    meanwhile. Raises ``QuotaExceeded``, ``TooManyUnconfirmed``.
    """
    if not limits.are_on_use:
        return
    _lock_use(user)
    lapsed = Attachment.objects.lapsed().filter(pk__in=[row.pk for row in kept]) if kept else ()
    needed = [*new, *lapsed]
    if not needed:
        return
    use = measure_use(user)
    needed_bytes = sum(attachment.size_range[1] for attachment in needed)
    _check_fit(QuotaExceeded, limits.quota_bytes, used=use.taken_bytes, needed=needed_bytes)
    _check_fit(TooManyUnconfirmed, limits.max_unconfirmed, used=use.unconfirmed, needed=len(needed))


def _check_fit(error: type[AttachmentError], quota: int | None, *, used: int, needed: int) -> None:
    if quota is not None and used + needed > quota:
        raise error(used=used, quota=quota, free=max(quota - used, 0), needed=needed)


def _name_user_and_moment(user: User) -> tuple[Any, Any]:
    """As the database takes them."""
    pk = Attachment._meta.get_field("user").get_db_prep_value(user.pk, connection)
    return pk, connection.ops.adapt_datetimefield_value(timezone.now())


def _lock_use(user: User) -> None:
    """Not the row of usage: transactions lock those last (``usage_sql``), and some have none."""
    with connection.cursor() as cursor:
        cursor.execute(quota_sql.LOCK_USE[connection.vendor], [str(user.pk)])
