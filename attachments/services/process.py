"""What is done to attachments outside requests, in the order of a file's life.

The rows are the queue: each says by itself what there is to do. Every step may be repeated, done
twice at once, or killed anywhere; a later run finds what is left.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from uuid import UUID

from django.db.models import Count, Min, Q
from django.utils import timezone

from attachments import events
from attachments.conf import conf
from attachments.errors import OUTAGES, StorageUnavailable, WorkUnavailable
from attachments.models import Attachment, AttachmentQuerySet
from attachments.services.checksums import add_checksum
from attachments.services.confirm import verify_in_background
from attachments.services.inspect import inspect_attachment
from attachments.services.isolation import run_isolated
from attachments.services.leases import NOW, RETRY_AFTER, put_off
from attachments.services.scan import release_unscanned, scan_quarantined

BATCH_SIZE = 100
MAX_OUTAGES_IN_A_ROW = 3
# People are told of what has waited longer.
PATIENCE = timedelta(minutes=1)
MAX_COUNTED = 1000


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that a worker does for an attachment."""

    name: str
    find: Callable[[], AttachmentQuerySet]
    """The rows that need it, put off or not. Done, the row is not among them."""
    do: Callable[[Attachment], None]
    """Safe to repeat, and to do twice at once. Raises one of ``OUTAGES``: a later try may do it."""

    def find_due(self) -> AttachmentQuerySet:
        return self.find().unleased()


STEPS = (
    # Before it is served. The attempt takes the row, and puts it off if that fails.
    Step(
        name="verify",
        find=lambda: Attachment.objects.in_background().filter(status=Attachment.Status.VERIFYING),
        do=verify_in_background,
    ),
    Step(name="scan", find=Attachment.objects.quarantined, do=scan_quarantined),
    # Once it is ready, in any order: ``Attachment.has_work_left`` names them too
    Step(name="checksum", find=Attachment.objects.without_checksum, do=add_checksum),
    Step(name="inspect", find=Attachment.objects.uninspected, do=inspect_attachment),
)

STEP_NAMES = tuple(step.name for step in STEPS)


def process_attachment(*, attachment_id: UUID) -> None:
    """Do what is left to do for this attachment, if nobody else does it at this moment.

    Raises one of ``OUTAGES``; then a later call does it.
    """
    for step in STEPS:
        rows = step.find_due().filter(pk=attachment_id)
        attachment = rows.first()
        if attachment is None:
            continue
        # Before the try, so that the row stays put off if the worker dies or changes nothing.
        if attachment.is_ready and not rows.update(**put_off(attachment)):
            continue  # another worker was faster
        started = monotonic()
        step.do(attachment)
        seconds = round(monotonic() - started, 4)
        events.processed.tell(attachment_id=attachment_id, step=step.name, seconds=seconds)


def find_retry_time(attachment_id: UUID) -> datetime:
    """When to process an attachment again that could not be processed."""
    attachment = Attachment.find(attachment_id)
    if attachment and attachment.has_work_left and attachment.lease_expires_at:
        return attachment.lease_expires_at
    return timezone.now() + RETRY_AFTER[0]


@dataclass(kw_only=True)
class ProcessReport:
    """What a run over all that waits did."""

    processed: int = 0
    failed: int = 0
    """How many were tried in vain. After some in a row, no more of their kind are tried."""
    waiting: int = 0
    """How many wait now, those that are put off among them."""
    without_scanner: int = 0
    """How many of these wait for a virus scanner, while none is set up."""
    outage: StorageUnavailable | WorkUnavailable | None = None
    """What did not answer, if anything: the store before all else."""


def process_waiting(
    *,
    with_put_off: bool = False,
    on_progress: Callable[[int], None] = lambda count: None,
) -> ProcessReport:
    """Process every attachment that waits; ``with_put_off`` also those that were tried in vain.

    One that fails does not keep the others waiting, unless so many meet an outage one after the
    other that what they need is down.
    """
    report = ProcessReport()
    for step in STEPS:
        if with_put_off:
            let_be_due(step.find())
        for _attachment_id, error in try_each(step.find_due()):
            report.processed += error is None
            report.failed += error is not None
            if isinstance(error, OUTAGES) and not isinstance(report.outage, StorageUnavailable):
                report.outage = error
            on_progress(1)
    report.waiting = count_waiting(with_put_off=True)
    report.without_scanner = 0 if conf.scanner else Attachment.objects.quarantined().count()
    return report


def try_to_process(attachment_id: UUID) -> Exception | None:
    """Process it, and give what it failed with, if it did. Raises as ``run_isolated``."""
    work = partial(process_attachment, attachment_id=attachment_id)
    return run_isolated(work, name=f"attachment {attachment_id}")


def try_each(
    rows: AttachmentQuerySet, try_one: Callable[[UUID], Exception | None] = try_to_process
) -> Iterator[tuple[UUID, Exception | None]]:
    """Try each of these; give its id, and what it failed with. Ends early at an outage."""
    outages_in_a_row = 0
    for attachment_id in _iterate_ids(rows):
        error = try_one(attachment_id)
        yield attachment_id, error
        outages_in_a_row = outages_in_a_row + 1 if isinstance(error, OUTAGES) else 0
        if outages_in_a_row == MAX_OUTAGES_IN_A_ROW:
            return


def publish_unscanned() -> int:
    """Publish what waits for a scanner, without a scan; give how many were.

    Each row says that it was not scanned, and ``scan_published`` finds it once there is a scanner.
    """
    rows = Attachment.objects.quarantined()
    let_be_due(rows)
    return sum(error is None for _id, error in try_each(rows.unleased(), _try_to_release))


def _try_to_release(attachment_id: UUID) -> Exception | None:
    def release() -> None:
        rows = Attachment.objects.quarantined().unleased()
        if attachment := rows.filter(pk=attachment_id).first():
            release_unscanned(attachment)
        process_attachment(attachment_id=attachment_id)

    return run_isolated(release, name=f"attachment {attachment_id}")


def let_be_due(rows: AttachmentQuerySet) -> None:
    """Those of them that are put off may be tried at once."""
    rows.put_off().update(lease_expires_at=NOW)


def count_waiting(*, with_put_off: bool = False) -> int:
    """How many ``process_waiting`` would process now."""
    due = sum(step.find_due().count() for step in STEPS)
    return due + (sum(step.find().put_off().count() for step in STEPS) if with_put_off else 0)


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What waits to be served: for a worker, or for the scanner."""

    files: int
    """At most ``MAX_COUNTED``."""
    without_scanner: int
    """How many of these wait for a virus scanner, while none is set up: nothing publishes them."""
    since: datetime
    """Since when the first of them waits."""


def find_backlog() -> Backlog | None:
    """What has waited for longer than a worker should need, if anything has. Quick at any size."""
    rows = Attachment.objects.in_background().order_by("pk")[:MAX_COUNTED]
    found = rows.aggregate(
        files=Count("pk"),
        without_scanner=Count("pk", filter=Q(status=Attachment.Status.SCANNING)),
        since=Min("waiting_since"),
    )
    if not found["files"] or found["since"] > timezone.now() - PATIENCE:
        return None
    if conf.scanner:
        found["without_scanner"] = 0
    return Backlog(**found)


def _iterate_ids(rows: AttachmentQuerySet) -> Iterator[UUID]:
    """Each id once, although the rows change while they are worked on.

    Those that were tried least come first, so that those that fail again and again hold up none.
    """
    fresh = rows.filter(tries=0).order_by("pk").values_list("pk", flat=True)
    batch = list(fresh[:BATCH_SIZE])
    while batch:
        yield from batch
        batch = list(fresh.filter(pk__gt=batch[-1])[:BATCH_SIZE])
    tried = rows.filter(tries__gt=0).order_by("tries", "pk")
    yield from list(tried.values_list("pk", flat=True))
