"""Whether a worker lives, for any backend of tasks.

A worker gives a sign whenever it begins a task of ours. What was asked and not begun soon shows
that none runs, or that all are busy. A worker that gives signs of its own accord promises the next.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from attachments.models import WorkerSign

PATIENCE = timedelta(seconds=10)
"""How long a task may wait for a worker that is free."""
_ANSWERED = Q(asked_at=None) | Q(seen_at__gt=F("asked_at"))


def note_question() -> None:
    """Somebody asked for background work now.

    The first question without an answer is kept: later ones make its wait no shorter.
    """
    _write(WorkerSign.objects.filter(_ANSWERED), asked_at=timezone.now())


def note_sign(*, next_within: timedelta | None = None) -> None:
    """A worker lives now. With ``next_within`` it promises the next sign."""
    now = timezone.now()
    promise = {} if next_within is None else {"expected_by": now + next_within}
    _write(WorkerSign.objects.all(), seen_at=now, **promise)


def find_silence() -> WorkerSign | None:
    """The last sign, if by now there should have been another one."""
    sign = WorkerSign.objects.filter(pk=1).first()
    if sign is None:
        return None
    now = timezone.now()
    is_unanswered = _is_over(sign.asked_at, now - PATIENCE) and not _is_over(
        sign.asked_at, sign.seen_at
    )
    return sign if is_unanswered or _is_over(sign.expected_by, now) else None


def has_seen_worker() -> bool:
    """Whether one ever gave a sign."""
    return WorkerSign.objects.filter(pk=1, seen_at__isnull=False).exists()


def _is_over(moment: datetime | None, now: datetime | None) -> bool:
    return moment is not None and now is not None and moment < now


def _write(rows: QuerySet[WorkerSign], **fields: Any) -> None:
    if not rows.filter(pk=1).update(**fields):
        WorkerSign.objects.bulk_create([WorkerSign(**fields)], ignore_conflicts=True)
