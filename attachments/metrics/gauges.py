"""Gauges of what the database says, asked at most once in some seconds."""

from collections.abc import Iterator
from datetime import datetime

from django.db import Error
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from attachments import services
from attachments.probes import Probe, Unanswered

FRESH_SECONDS = 5
PATIENCE_SECONDS = 2

_PREFIX = "attachments_"
_backlogs = Probe(
    services.measure_backlogs, patience_seconds=PATIENCE_SECONDS, fresh_seconds=FRESH_SECONDS
)


class BacklogCollector(Collector):
    """If the database does not answer, ``attachments_database_up`` is 0, and no other is told."""

    def collect(self) -> Iterator[Metric]:
        try:
            found = _backlogs.get()
        except (Error, Unanswered):
            yield _make("database_up", "Whether the database answered the last scrape.", 0)
            return
        yield _make("database_up", "Whether the database answered the last scrape.", 1)
        yield from _make_piles(found.piles)
        seen_at, due_at = found.worker_seen_at, found.schedule_due_at
        yield _make("worker_seen_timestamp_seconds", "The last sign of a worker; 0: none.", seen_at)
        yield _make("worker_silent", "Whether a sign is missing by now.", found.is_worker_silent)
        yield _make("schedule_due_timestamp_seconds", "When the next job is due; 0: none.", due_at)


def _make_piles(piles: dict[str, services.Pile]) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        f"{_PREFIX}waiting", "How many wait, 10000 at most.", labels=["kind"]
    )
    since = GaugeMetricFamily(
        f"{_PREFIX}waiting_since_timestamp_seconds",
        "Since when the oldest of them waits; 0: none waits.",
        labels=["kind"],
    )
    for kind, pile in piles.items():
        waiting.add_metric([kind], pile.count)
        since.add_metric([kind], _spell(pile.since))
    yield waiting
    yield since


def _make(name: str, documentation: str, value: float | datetime | None) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}{name}", documentation, value=_spell(value))


def _spell(value: float | datetime | None) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value or 0)
