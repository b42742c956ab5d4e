"""What is done to attachments outside requests, in the order of a file's life.

The rows are the queue: each says by itself what there is to do. Every step may be repeated, done
twice at once, or killed anywhere; a later run finds what is left.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.db.models import Count, Min
from django.db.models.functions import Now
from django.utils import timezone

from attachments.errors import OUTAGES, StorageUnavailable
from attachments.models import Attachment, AttachmentQuerySet
from attachments.services.checksums import add_checksum
from attachments.services.confirm import verify_in_background
from attachments.services.inspect import inspect_attachment
from attachments.services.leases import RETRY_AFTER
from attachments.services.scan import scan_quarantined

logger = logging.getLogger(__name__)

BATCH_SIZE = 100
MAX_FAILURES_IN_A_ROW = 3
# What has waited for so long is told to people.
PATIENCE = timedelta(minutes=1)
MAX_COUNTED = 1000


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that a worker does for an attachment."""

    find: Callable[[], AttachmentQuerySet]
    """The rows that need it, and that nobody works on. Done, the row is not among them."""
    do: Callable[[Attachment], None]
    """Safe to repeat, and to do twice at once. Raises one of ``OUTAGES``: a later try may do it."""


STEPS = (
    # Before it is served
    Step(
        find=lambda: Attachment.objects.waiting(Attachment.Status.VERIFYING),
        do=verify_in_background,
    ),
    Step(
        find=lambda: Attachment.objects.waiting(Attachment.Status.SCANNING),
        do=scan_quarantined,
    ),
    # Once it is ready, in any order: ``Attachment.has_work_left`` names them too
    Step(find=Attachment.objects.without_checksum, do=add_checksum),
    Step(find=Attachment.objects.uninspected, do=inspect_attachment),
)


def process_attachment(*, attachment_id: UUID) -> None:
    """Do what is left to do for this attachment, if nobody else does it at this moment.

    Raises ``StorageUnavailable``, ``ScannerUnavailable``; then a later call does it.
    """
    for step in STEPS:
        if attachment := step.find().filter(pk=attachment_id).first():
            step.do(attachment)


def find_retry_time(attachment_id: UUID) -> datetime:
    """When to process an attachment again that could not be processed."""
    attachment = Attachment.find(attachment_id)
    if attachment and attachment.in_background and attachment.lease_expires_at:
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


def process_waiting(
    *,
    with_put_off: bool = False,
    on_progress: Callable[[int], None] = lambda count: None,
) -> ProcessReport:
    """Process every attachment that waits; ``with_put_off`` also those that were tried in vain.

    One that fails does not keep the others waiting, unless so many fail one after the other that
    what they need is down. Raises ``StorageUnavailable`` at the end, if that was it.
    """
    if with_put_off:
        Attachment.objects.put_off().update(lease_expires_at=Now())
    report, failure = ProcessReport(), None
    for step in STEPS:
        failures_in_a_row = 0
        for attachment_id in iterate_ids(step.find()):
            if error := try_to_process(attachment_id):
                failure = error if isinstance(error, StorageUnavailable) else failure
                report.failed, failures_in_a_row = report.failed + 1, failures_in_a_row + 1
                if failures_in_a_row == MAX_FAILURES_IN_A_ROW:
                    break
            else:
                report.processed, failures_in_a_row = report.processed + 1, 0
            on_progress(1)
    if failure:
        raise failure
    report.waiting = count_waiting(with_put_off=True)
    return report


def try_to_process(attachment_id: UUID) -> Exception | None:
    """Process it, and give what it failed with, if it did. That the database is down is raised."""
    try:
        process_attachment(attachment_id=attachment_id)
    except OUTAGES as error:
        return error
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # of the host's own scanner, perhaps: the others have to go on
        logger.exception("The attachment %s could not be processed.", attachment_id)
        return error
    return None


def count_waiting(*, with_put_off: bool = False) -> int:
    """How many ``process_waiting`` would process now."""
    put_off = Attachment.objects.put_off().count() if with_put_off else 0
    return sum(step.find().count() for step in STEPS) + put_off


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What waits to be served: for a worker, or for the scanner."""

    files: int
    """At most ``MAX_COUNTED``."""
    since: datetime
    """Since when the first of them waits."""


def find_backlog() -> Backlog | None:
    """What has waited for longer than a worker should need, if anything has. Quick at any size."""
    rows = Attachment.objects.in_background().order_by("pk")[:MAX_COUNTED]
    found = rows.aggregate(files=Count("pk"), since=Min("waiting_since"))
    if not found["files"] or found["since"] > timezone.now() - PATIENCE:
        return None
    return Backlog(**found)


def iterate_ids(rows: AttachmentQuerySet) -> Iterator[UUID]:
    """Each id once, although the rows change while they are worked on."""
    ids = rows.order_by("pk").values_list("pk", flat=True)
    batch = list(ids[:BATCH_SIZE])
    while batch:
        yield from batch
        batch = list(ids.filter(pk__gt=batch[-1])[:BATCH_SIZE])
