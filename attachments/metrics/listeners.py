"""The metrics listen: each event moves its counters."""

from typing import Any

from django.dispatch import receiver

from attachments import events
from attachments.metrics import series


def listen() -> None:
    """Importing this module connected them; a function, because the caller should say so."""


@receiver(events.published)
def count_published(size_bytes: int | None, **facts: Any) -> None:
    series.uploads.inc()
    series.upload_size.observe(size_bytes or 0)


@receiver(events.presigned)
def count_presigned(**facts: Any) -> None:
    series.presigned.inc()


@receiver(events.batch_presigned)
def count_batch_presigned(count: int, **facts: Any) -> None:
    series.presigned.inc(count)


@receiver([events.presign_refused, events.refused])
def count_refused(code: str, **facts: Any) -> None:
    series.refused.labels(code).inc()


@receiver(events.throttled)
def count_throttled(scope: str, **facts: Any) -> None:
    series.throttled.labels(scope).inc()


@receiver(events.confirmed)
def count_confirmed(result: str, seconds: float, **facts: Any) -> None:
    series.confirmed.labels(result).inc()
    series.confirm_seconds.observe(seconds)


@receiver(events.scanned)
def count_scanned(outcome: str, seconds: float, **facts: Any) -> None:
    series.scanned.labels(outcome).inc()
    series.scan_seconds.observe(seconds)


@receiver(events.processed)
def count_processed(step: str, seconds: float, **facts: Any) -> None:
    series.step_seconds.labels(step).observe(seconds)


@receiver(events.lease_taken_over)
def count_lease_takeover(**facts: Any) -> None:
    series.lease_takeovers.inc()


@receiver(events.linked)
def count_linked(count: int, **facts: Any) -> None:
    series.linked.inc(count)


@receiver(events.deleted)
def count_deleted(count: int, **facts: Any) -> None:
    series.deleted.inc(count)


@receiver(events.objects_deleted)
def count_objects_deleted(count: int, refused_count: int, **facts: Any) -> None:
    series.objects_deleted.labels("ok").inc(count)
    series.objects_deleted.labels("refused").inc(refused_count)


@receiver(events.purged)
def count_purged(size_bytes: int, **facts: Any) -> None:
    for kind in ("expired", "orphans", "stale", "refused", "swept"):
        series.purged.labels(kind).inc(facts[kind])
    series.purged_bytes.inc(size_bytes)


@receiver(events.job_ended)
def count_job(job: str, is_done: bool, **facts: Any) -> None:
    series.jobs.labels(job, "done" if is_done else "undone").inc()


@receiver(events.store_called)
def count_store_call(operation: str, outcome: str, seconds: float, **facts: Any) -> None:
    series.store_calls.labels(operation, outcome).inc()
    series.store_seconds.labels(operation).observe(seconds)


@receiver(events.store_busy)
def count_store_busy(**facts: Any) -> None:
    series.store_busy.inc()
