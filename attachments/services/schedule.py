"""Periodic work: each job runs one at a time, however many machines run the schedule.

A row says when a job is due. Whoever takes it puts that off, and goes on putting it off while the
job runs. So the job of a run that was killed is due again soon.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread
from time import monotonic
from uuid import UUID, uuid4

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Min
from django.db.models.functions import Now

from attachments import events
from attachments.models import PeriodicJob
from attachments.services.isolation import run_isolated
from attachments.services.kept_usage import refresh_usage
from attachments.services.purge import (
    forget_idempotency_keys,
    process_stuck,
    purge_attachments,
)

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)
# When a job that failed is due again, unless it is due sooner anyway.
RETRY_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Job:
    name: str
    every: timedelta
    run: Callable[[], object]
    """Safe to kill anywhere, and to run twice at once."""


JOBS = (
    Job(name="process", every=timedelta(minutes=1), run=process_stuck),
    Job(name="idempotency_keys", every=timedelta(hours=1), run=forget_idempotency_keys),
    Job(name="usage", every=timedelta(hours=1), run=refresh_usage),
    Job(name="purge", every=timedelta(days=1), run=purge_attachments),
)

JOB_NAMES = tuple(job.name for job in JOBS)


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """One run of a job, and what it failed with, if it did."""

    job: str
    seconds: float
    error: Exception | None

    @property
    def is_done(self) -> bool:
        return self.error is None


def run_due_jobs(*, on_run: Callable[[JobRun], None] = lambda run: None) -> list[str]:
    """Run what is due and nobody else runs; give the names of what ran to its end.

    ``on_run`` is called after each. A job that fails, with whatever error, is logged and keeps no
    other from running. Raises ``OperationalError`` or ``InterfaceError`` if the database does not
    answer.
    """
    names = [job.name for job in JOBS]
    PeriodicJob.objects.bulk_create(
        [PeriodicJob(name=name, due_at=Now()) for name in names], ignore_conflicts=True
    )
    done = []
    for job in JOBS:
        if run_id := _take(job):
            run = _run(job, run_id)
            on_run(run)
            done += [job.name] if run.is_done else []
    return done


def find_next_due() -> datetime | None:
    """When the next job is due, by the clock of the database."""
    due_at: datetime | None = PeriodicJob.objects.aggregate(due_at=Min("due_at"))["due_at"]
    return due_at


def _take(job: Job) -> UUID | None:
    run_id = uuid4()
    due = PeriodicJob.objects.filter(name=job.name, due_at__lte=Now())
    return run_id if due.update(due_at=Now() + LEASE, run_id=run_id) else None


def _run(job: Job, run_id: UUID) -> JobRun:
    pause = timedelta()  # if it is interrupted, another run takes it over at once
    started = monotonic()
    try:
        with _keep_lease(run_id):
            result = run_isolated(job.run, name=f"job {job.name}")
        error = result if isinstance(result, Exception) else None
        pause = min(job.every, RETRY_AFTER) if error else job.every
    finally:
        PeriodicJob.objects.filter(run_id=run_id).update(due_at=Now() + pause, run_id=None)
    run = JobRun(job=job.name, seconds=round(monotonic() - started, 3), error=error)
    events.job_ended.tell(job=run.job, is_done=run.is_done, seconds=run.seconds)
    return run


@contextmanager
def _keep_lease(run_id: UUID) -> Iterator[None]:
    """Renew the lease from a thread until the job is done."""
    is_over = Event()

    def renew() -> None:
        while not is_over.wait(LEASE.total_seconds() / 4):
            try:
                PeriodicJob.objects.filter(run_id=run_id).update(due_at=Now() + LEASE)
            except (OperationalError, InterfaceError):
                logger.warning("The lease of a periodic job could not be renewed.")
            finally:
                connection.close()  # this thread's own

    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
