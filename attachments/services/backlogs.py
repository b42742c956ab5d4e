"""How much waits, and since when: for those who watch, and cheap at any number of rows.

Each question reads the first rows of an index that holds what waits alone, ``MAX_COUNTED`` at most.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from attachments.models import Attachment, ObjectDeletion, PeriodicJob, WorkerSign
from attachments.services.process import PATIENCE
from attachments.services.workers import find_silence

MAX_COUNTED = 10_000


@dataclass(frozen=True, kw_only=True)
class Pile:
    """Things of one kind that wait."""

    count: int
    """At most ``MAX_COUNTED``."""
    since: datetime | None
    """Since when the first of them waits."""


@dataclass(frozen=True, kw_only=True)
class Backlogs:
    piles: dict[str, Pile]
    worker_seen_at: datetime | None
    """When a worker last gave a sign of life."""
    is_worker_silent: bool
    schedule_due_at: datetime | None
    """When the next periodic job is due: long ago, if nobody runs the schedule."""


def measure_backlogs() -> Backlogs:
    sign = WorkerSign.objects.filter(pk=1).first()
    return Backlogs(
        piles=_measure_unconfirmed() | _measure_in_background() | _measure_deletions(),
        worker_seen_at=sign.seen_at if sign else None,
        is_worker_silent=find_silence() is not None,
        schedule_due_at=PeriodicJob.objects.aggregate(due_at=Min("due_at"))["due_at"],
    )


def _measure_unconfirmed() -> dict[str, Pile]:
    rows = Attachment.objects.unconfirmed().order_by("expires_at")
    return _count(rows, "created_at", pending=Q(status=Attachment.Status.PENDING))


def _measure_in_background() -> dict[str, Pile]:
    """``stuck`` is what a worker should have done by now."""
    return _count(
        Attachment.objects.in_background().order_by("pk"),
        "waiting_since",
        verifying=Q(status=Attachment.Status.VERIFYING),
        scanning=Q(status=Attachment.Status.SCANNING),
        stuck=Q(waiting_since__lt=timezone.now() - PATIENCE),
    )


def _measure_deletions() -> dict[str, Pile]:
    """``failing`` is what the store refused when it was last asked."""
    return _count(
        ObjectDeletion.objects.order_by("due_at"),
        "created_at",
        deletions=Q(due_at__lte=Now()) | Q(attempts__gt=0),
        failing_deletions=~Q(last_error=""),
    )


def _count(rows: QuerySet[Any], since: str, **kinds: Q) -> dict[str, Pile]:
    """The kinds among the first of these rows, in the order of the index that serves it."""
    asked: dict[str, Any] = {}
    for name, kind in kinds.items():
        asked |= {name: Count("pk", filter=kind), f"{name}_since": Min(since, filter=kind)}
    found = rows[:MAX_COUNTED].aggregate(**asked)
    return {name: Pile(count=found[name], since=found[f"{name}_since"]) for name in kinds}
