"""Scan what is served already: with newer signatures, or because a scanner came later."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from attachments import storage
from attachments.errors import OUTAGES, Infected, ScannerUnavailable, StorageUnavailable
from attachments.models import Attachment, AttachmentQuerySet
from attachments.scanning import Outcome
from attachments.services.deletions import carry_out_notes_of, note_deletions
from attachments.services.inspect import forget_thumbnails
from attachments.services.news import tell_refused
from attachments.services.scanned import Scan, scan_object
from attachments.storage.threads import run_in_order

BATCH_SIZE = 100
SCANS_AT_ONCE = 4
# So many that get no verdict one after the other: the scanner or the store is down.
MAX_FAILURES_IN_A_ROW = 10


@dataclass(kw_only=True)
class ScanReport:
    """How many files were scanned, and what was found."""

    clean: int = 0
    infected: int = 0
    """These were taken down."""
    unscannable: int = 0
    """These are still served."""
    skipped: int = 0
    """Their objects are gone, or were replaced meanwhile."""

    def add(self, outcome: str) -> None:
        setattr(self, outcome, getattr(self, outcome) + 1)


def find_unscanned(
    *, before: datetime | None = None, signatures_before: int | None = None
) -> AttachmentQuerySet:
    """What is served and was never scanned, or last before this moment or by older signatures."""
    is_due = Q(scanned_at=None)
    if before is not None:
        is_due |= Q(scanned_at__lt=before)
    if signatures_before is not None:
        is_due |= Q(signatures_version=None) | Q(signatures_version__lt=signatures_before)
    return Attachment.objects.ready().filter(is_due)


def scan_published(
    rows: AttachmentQuerySet,
    *,
    on_infected: Callable[[Attachment], None] = lambda attachment: None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> ScanReport:
    """Scan these ready files, some at once, and take down what is infected.

    Safe to kill and to repeat: each row says when it was scanned. A file that gets no verdict does
    not keep the others waiting. Raises ``ScannerUnavailable``, ``StorageUnavailable`` at the end,
    or after many of them: what was scanned until then stays scanned.
    """
    report, failure, failures_in_a_row = ScanReport(), None, 0
    for attachment, scan in run_in_order(_scan, _iterate(rows), threads=SCANS_AT_ONCE, ahead=2):
        if isinstance(scan, OUTAGES):
            failure, failures_in_a_row = scan, failures_in_a_row + 1
            if failures_in_a_row == MAX_FAILURES_IN_A_ROW:
                break
            on_progress(1)
            continue
        outcome, failures_in_a_row = "skipped", 0
        if scan and _keep(attachment, scan):
            outcome = scan.verdict.outcome.value
        report.add(outcome)
        if outcome == Outcome.INFECTED:
            on_infected(attachment)
        on_progress(1)
    if failure:
        raise failure
    return report


def _iterate(rows: AttachmentQuerySet) -> Iterator[Attachment]:
    """Each row once, although they change while they are worked on."""
    rows = rows.order_by("pk")
    batch = list(rows[:BATCH_SIZE])
    while batch:
        yield from batch
        batch = list(rows.filter(pk__gt=batch[-1].pk)[:BATCH_SIZE])


def _scan(
    attachment: Attachment,
) -> tuple[Attachment, Scan | ScannerUnavailable | StorageUnavailable | None]:
    try:
        return attachment, scan_object(attachment)
    except storage.ObjectNotFound:  # deleted meanwhile; if not, reconcile_storage reports it
        return attachment, None
    except OUTAGES as error:
        return attachment, error


def _keep(attachment: Attachment, scan: Scan) -> bool:
    """Write what was found to the row, unless that is another one by now."""
    where = {"status": Attachment.Status.READY, "storage_key": attachment.key}
    if scan.verdict.outcome != Outcome.INFECTED:
        return attachment.change(where=where, **scan.fields)
    error = Infected(signature=scan.verdict.reason)
    key = attachment.key
    with transaction.atomic():
        forget_thumbnails(Attachment.objects.filter(pk=attachment.pk))
        is_taken_down = attachment.change(
            where=where,
            status=Attachment.Status.INFECTED,
            error={"code": error.code, "params": error.params},
            storage_key=attachment.pending_key,
            **scan.fields,
        )
        if is_taken_down:
            note_deletions([key])
    if is_taken_down:
        tell_refused(attachment)
        carry_out_notes_of(attachment.pk)
    return is_taken_down
