"""How much space the files take, by day, type and owner, and what waits to be deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Count, F, Min, Q, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from attachments.conf import conf
from attachments.models import Attachment, ObjectDeletion
from attachments.models import Usage as UsageRow
from attachments.services.usage_rows import settle_usage

TOP = 10
DAYS = 90
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
    """Who owns how much, of files that are ready or wait for a scanner."""

    stored: Amount
    """What all owners have."""
    top: Sequence[tuple[AbstractBaseUser, Amount]]
    """The owners whose files take the most bytes, in that order."""
    others: int
    """How many more users own such a file."""
    rows: int
    """How many attachments there are, whatever their status."""

    @property
    def of_others(self) -> Amount:
        return self.stored.without(sum((amount for _user, amount in self.top), Amount()))


@dataclass(frozen=True, kw_only=True)
class Orphans:
    """Ready files that hang on no message."""

    amount: Amount
    overdue: Amount
    """Those confirmed more than ``ORPHAN_DAYS`` ago, which the next purge removes."""


@dataclass(frozen=True, kw_only=True)
class WaitingDeletions:
    """Objects that no row needs any more, and that the store still has."""

    objects: int
    attempted: int
    """Those that a run has tried to delete, or is deleting now."""
    oldest_at: datetime | None
    last_error: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What takes long to count. All but ``by_status`` count ready files, which the store serves."""

    computed_at: datetime
    time_zone: str
    """In which days are counted."""
    by_status: dict[str, Amount]
    """For files that are not ready, the declared bytes."""
    by_type: dict[str, Amount]
    """By content type, the most bytes first."""
    by_day: dict[date, Amount]
    """By day, the last ``DAYS``. Days without files are in it too."""
    orphans: Orphans
    largest: list[UUID]
    """The ids of the largest files."""
    deletions: WaitingDeletions

    @property
    def ready(self) -> Amount:
        return self.by_status.get(Attachment.Status.READY, Amount())


def measure_owners() -> Owners:
    """From the rows of usage, in three queries: as quick however many files there are."""
    settle_usage()
    total = UsageRow.objects.aggregate(
        owners=Count("pk", filter=Q(files__gt=0)),
        rows=Sum(F("files") + F("unconfirmed") + F("refused"), default=0),
        total_bytes=Sum("used_bytes", default=0),
        files=Sum("files", default=0),  # the last: it hides the column
    )
    rows = list(
        UsageRow.objects.filter(files__gt=0)
        .order_by("-used_bytes", "user")
        .values("user", "files", total_bytes=F("used_bytes"))[:TOP]
    )
    users = get_user_model()._base_manager.in_bulk([row["user"] for row in rows])
    return Owners(
        stored=_read_amount(total),
        top=[(users[row["user"]], _read_amount(row)) for row in rows if row["user"] in users],
        others=total["owners"] - len(rows),
        rows=total["rows"],
    )


def measure_figures() -> Figures:
    """Count the rest, in the current time zone.

    This takes six queries at any size. Two of them read the whole table: by status and type, and
    for the largest.
    """
    by_status, by_type = _count_by_status_and_type()
    return Figures(
        computed_at=timezone.now(),
        time_zone=timezone.get_current_timezone_name(),
        by_status=by_status,
        by_type=by_type,
        by_day=_count_by_day(),
        orphans=_count_orphans(),
        largest=_list_largest(),
        deletions=_count_deletions(),
    )


def _count_by_status_and_type() -> tuple[dict[str, Amount], dict[str, Amount]]:
    """Both in one pass: there are few types, because they come from an allow-list."""
    rows = Attachment.objects.values("status", "content_type").annotate(
        files=_FILES, total_bytes=_BYTES
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


def _count_by_day() -> dict[date, Amount]:
    first = timezone.localdate() - timedelta(days=DAYS - 1)
    since = timezone.make_aware(datetime.combine(first, datetime.min.time()))
    rows = (
        Attachment.objects.ready()
        .filter(created_at__gte=since)
        .values(day=TruncDate("created_at"))
        .annotate(files=_FILES, total_bytes=_BYTES)
    )
    counted = {row["day"]: _read_amount(row) for row in rows}
    period = (first + timedelta(days=offset) for offset in range(DAYS))
    return {day: counted.get(day, Amount()) for day in period}


def _count_orphans() -> Orphans:
    overdue = Q(confirmed_at__lt=timezone.now() - conf.orphan_age)
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


def _list_largest() -> list[UUID]:
    largest = Attachment.objects.ready().order_by("-size_bytes", "-pk")
    return list(largest.values_list("pk", flat=True)[:TOP])


def _count_deletions() -> WaitingDeletions:
    counted = ObjectDeletion.objects.waiting().aggregate(
        objects=Count("pk"),
        attempted=Count("pk", filter=Q(attempts__gt=0)),
        oldest_at=Min("created_at"),
    )
    failed = ObjectDeletion.objects.exclude(last_error="").order_by("-due_at")
    last_error = failed.values_list("last_error", flat=True).first()
    return WaitingDeletions(**counted, last_error=last_error or "")


def _read_amount(row: Mapping[str, Any]) -> Amount:
    return Amount(files=row["files"], size_bytes=row["total_bytes"])
