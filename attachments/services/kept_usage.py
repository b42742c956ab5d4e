"""Figures of usage that are kept, because counting them takes seconds on a million rows."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from attachments.models import UsageFigures
from attachments.services.usage import (
    Amount,
    Figures,
    Orphans,
    WaitingDeletions,
    measure_figures,
)
from attachments.services.usage_rows import recount_usage

# Up to so many rows, figures are counted whenever they are looked at: it takes milliseconds.
MAX_COUNTED_AT_ONCE = 10_000
# A worker is asked no more often.
REQUEST_EVERY = timedelta(minutes=10)
_FORMAT = 1
"""Of the JSON. What another release wrote in another one is not read."""


def refresh_usage() -> None:
    """Count everything anew, the rows of usage too, and keep it. Safe to repeat, and at once.

    It takes seconds on a million rows. Days are those of the settings' time zone, whoever asks.
    """
    recount_usage()
    with timezone.override(timezone.get_default_timezone()):
        figures = measure_figures()
    UsageFigures.objects.update_or_create(
        pk=1,
        defaults={"figures": _dump(figures), "computed_at": figures.computed_at},
    )


def find_figures(*, rows: int) -> Figures | None:
    """The figures of now if there are few rows, else those that are kept; None if there are none.

    ``rows`` is how many attachments there are.
    """
    if rows <= MAX_COUNTED_AT_ONCE:
        return measure_figures()
    kept = UsageFigures.objects.values_list("figures", flat=True).filter(pk=1).first()
    return _load(kept) if kept and kept["format"] == _FORMAT else None


def request_refresh() -> tuple[datetime, bool]:
    """When a worker was last asked for figures, and whether the caller has to ask now.

    However many look at the page, one of them asks, and again after ``REQUEST_EVERY``.
    """
    now = timezone.now()
    UsageFigures.objects.get_or_create(pk=1)
    rows = UsageFigures.objects.filter(pk=1)
    is_due = Q(requested_at=None) | Q(requested_at__lt=now - REQUEST_EVERY)
    if rows.filter(is_due).update(requested_at=now):
        return now, True
    return rows.values_list("requested_at", flat=True).get() or now, False


def _dump(figures: Figures) -> dict[str, Any]:
    """Lists of pairs where the order counts: PostgreSQL sorts the keys of objects."""
    deletions = figures.deletions
    return {
        "format": _FORMAT,
        "computed_at": figures.computed_at.isoformat(),
        "time_zone": figures.time_zone,
        "by_status": _dump_amounts(figures.by_status),
        "by_type": _dump_amounts(figures.by_type),
        "by_day": _dump_amounts(figures.by_day),
        "orphans": _dump_amounts({"all": figures.orphans.amount, "due": figures.orphans.overdue}),
        "largest": [str(pk) for pk in figures.largest],
        "deletions": {
            "objects": deletions.objects,
            "attempted": deletions.attempted,
            "oldest_at": deletions.oldest_at and deletions.oldest_at.isoformat(),
            "last_error": deletions.last_error,
        },
    }


def _load(kept: dict[str, Any]) -> Figures:
    orphans = _load_amounts(kept["orphans"])
    oldest_at = kept["deletions"]["oldest_at"]
    return Figures(
        computed_at=datetime.fromisoformat(kept["computed_at"]),
        time_zone=kept["time_zone"],
        by_status=_load_amounts(kept["by_status"]),
        by_type=_load_amounts(kept["by_type"]),
        by_day={
            date.fromisoformat(day): amount for day, amount in _load_amounts(kept["by_day"]).items()
        },
        orphans=Orphans(amount=orphans["all"], overdue=orphans["due"]),
        largest=[UUID(pk) for pk in kept["largest"]],
        deletions=WaitingDeletions(
            **{
                **kept["deletions"],
                "oldest_at": oldest_at and datetime.fromisoformat(oldest_at),
            }
        ),
    )


def _dump_amounts(amounts: Mapping[Any, Amount]) -> list[tuple[str, int, int]]:
    return [(str(name), amount.files, amount.size_bytes) for name, amount in amounts.items()]


def _load_amounts(kept: list[tuple[str, int, int]]) -> dict[str, Amount]:
    return {name: Amount(files=files, size_bytes=size) for name, files, size in kept}
