"""How much space the files take, by day, type and owner, and what waits to be deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Count, Min, Q, Sum, Window
from django.db.models.functions import TruncDate
from django.utils import timezone

from attachments.conf import conf
from attachments.models import Attachment, ObjectDeletion

TOP = 10
_FILES = Count("pk")
_BYTES = Sum("size_bytes", default=0)


@dataclass(frozen=True, kw_only=True)
class Amount:
    """A number of files, and their bytes."""

    files: int = 0
    size_bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(files=self.files + other.files, size_bytes=self.size_bytes + other.size_bytes)

    def without(self, other: "Amount") -> "Amount":
        """The difference, but not below zero: the two may have been counted a moment apart."""
        return Amount(
            files=max(self.files - other.files, 0),
            size_bytes=max(self.size_bytes - other.size_bytes, 0),
        )


@dataclass(frozen=True, kw_only=True)
class Owners:
    top: Sequence[tuple[AbstractBaseUser, Amount]]
    """The owners whose ready files take the most bytes, in that order."""
    others: int
    """How many more users own a ready file."""
    of_others: Amount


@dataclass(frozen=True, kw_only=True)
class Orphans:
    """Ready files that hang on no message."""

    amount: Amount
    overdue: Amount
    """Those older than ``ORPHAN_DAYS``, which the next purge removes."""


@dataclass(frozen=True, kw_only=True)
class WaitingDeletions:
    """Objects that no row needs any more, and that the store still has."""

    objects: int
    attempted: int
    """Those that a run has tried to delete, or is deleting now."""
    oldest_at: datetime | None
    last_error: str


@dataclass(frozen=True, kw_only=True)
class Usage:
    """All figures. Except for ``by_status``, they count ready files, which the store serves."""

    ready: Amount
    by_status: dict[str, Amount]
    """For files that are not ready, the declared bytes."""
    by_type: dict[str, Amount]
    """By content type, the most bytes first."""
    by_day: dict[date, Amount]
    """By day, in the current time zone. Days without files are in it too."""
    owners: Owners
    orphans: Orphans
    largest: list[Attachment]
    deletions: WaitingDeletions


def measure_usage(*, days: int) -> Usage:
    """Count everything. ``by_day`` has the last ``days`` days, today included.

    This takes eight queries at any size. Three of them read the whole table: by status and type, by
    owner, and for the largest.
    """
    by_status, by_type = _count_by_status_and_type()
    ready = by_status.get(Attachment.Status.READY, Amount())
    return Usage(
        ready=ready,
        by_status=by_status,
        by_type=by_type,
        by_day=_count_by_day(days=days),
        owners=_count_by_owner(ready=ready),
        orphans=_count_orphans(),
        largest=_list_largest(),
        deletions=_count_deletions(),
    )


def _count_by_status_and_type() -> tuple[dict[str, Amount], dict[str, Amount]]:
    """Both in one pass: there are few types, because they come from an allow-list."""
    rows = (
        Attachment.objects.order_by()
        .values("status", "content_type")
        .annotate(files=_FILES, total_bytes=_BYTES)
    )
    by_status: dict[str, Amount] = {}
    by_type: dict[str, Amount] = {}
    for row in rows:
        status, content_type, amount = row["status"], row["content_type"], _read_amount(row)
        by_status[status] = by_status.get(status, Amount()) + amount
        if status == Attachment.Status.READY:
            by_type[content_type] = amount
    by_size = sorted(by_type.items(), key=lambda item: item[1].size_bytes, reverse=True)
    return by_status, dict(by_size)


def _count_by_day(*, days: int) -> dict[date, Amount]:
    today = timezone.localdate()
    first = today - timedelta(days=days - 1)
    since = timezone.make_aware(datetime.combine(first, datetime.min.time()))
    rows = (
        Attachment.objects.ready()
        .filter(created_at__gte=since)
        .order_by()
        .values(day=TruncDate("created_at"))
        .annotate(files=_FILES, total_bytes=_BYTES)
    )
    counted = {row["day"]: _read_amount(row) for row in rows}
    period = (first + timedelta(days=offset) for offset in range(days))
    return {day: counted.get(day, Amount()) for day in period}


def _count_by_owner(*, ready: Amount) -> Owners:
    rows = list(
        Attachment.objects.ready()
        .values("user")
        .annotate(files=_FILES, total_bytes=_BYTES, owners=Window(Count("*")))
        .order_by("-total_bytes", "user")[:TOP]
    )
    users = get_user_model()._base_manager.in_bulk([row["user"] for row in rows])
    top = [(users[row["user"]], _read_amount(row)) for row in rows if row["user"] in users]
    return Owners(
        top=top,
        others=rows[0]["owners"] - len(rows) if rows else 0,
        of_others=ready.without(sum((amount for _user, amount in top), Amount())),
    )


def _count_orphans() -> Orphans:
    overdue = Q(created_at__lt=timezone.now() - conf.orphan_age)
    row = (
        Attachment.objects.ready()
        .filter(message=None)
        .aggregate(
            files=_FILES,
            total_bytes=_BYTES,
            overdue_files=Count("pk", filter=overdue),
            overdue_bytes=Sum("size_bytes", filter=overdue, default=0),
        )
    )
    return Orphans(
        amount=_read_amount(row),
        overdue=Amount(files=row["overdue_files"], size_bytes=row["overdue_bytes"]),
    )


def _list_largest() -> list[Attachment]:
    largest = Attachment.objects.ready().select_related("user").order_by("-size_bytes", "pk")
    return list(largest[:TOP])


def _count_deletions() -> WaitingDeletions:
    counted = ObjectDeletion.objects.aggregate(
        objects=Count("pk"),
        attempted=Count("pk", filter=Q(attempts__gt=0)),
        oldest_at=Min("created_at"),
    )
    failed = ObjectDeletion.objects.exclude(last_error="").order_by("-due_at")
    last_error = failed.values_list("last_error", flat=True).first()
    return WaitingDeletions(**counted, last_error=last_error or "")


def _read_amount(row: Mapping[str, Any]) -> Amount:
    return Amount(files=row["files"], size_bytes=row["total_bytes"])
