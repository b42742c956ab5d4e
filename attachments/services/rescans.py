"""Scan what is served already: with newer signatures, or because a scanner came later."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from attachments import storage
from attachments.errors import OUTAGES, Infected, StorageUnavailable, WorkUnavailable
from attachments.models import Attachment, AttachmentQuerySet
from attachments.scanning import Outcome
from attachments.services.deletions import carry_out_notes_of, note_deletions
from attachments.services.inspect import forget_thumbnails
from attachments.services.isolation import run_isolated
from attachments.services.news import tell_refused
from attachments.services.scanned import Scan, scan_object
from attachments.storage.threads import run_in_order

BATCH_SIZE = 100
SCANS_AT_ONCE = 4
# So many that get no verdict one after the other: the scanner or the store is down.
MAX_OUTAGES_IN_A_ROW = 10


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
    failed: int = 0
    """These got no verdict. After many in a row, no more are tried."""
    outage: StorageUnavailable | WorkUnavailable | None = None
    """What did not answer, if anything."""

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
    not keep the others waiting, unless so many get none that the scanner or the store is down.
    """
    report, outages_in_a_row = ScanReport(), 0
    for attachment, scan in run_in_order(_scan, _iterate(rows), threads=SCANS_AT_ONCE, ahead=2):
        outcome = _conclude(attachment, scan)
        report.add(outcome)
        if outcome == Outcome.INFECTED:
            on_infected(attachment)
        on_progress(1)
        if not isinstance(scan, OUTAGES):
            outages_in_a_row = 0
            continue
        report.outage, outages_in_a_row = scan, outages_in_a_row + 1
        if outages_in_a_row == MAX_OUTAGES_IN_A_ROW:
            break
    return report


def _conclude(attachment: Attachment, scan: Scan | Exception | None) -> str:
    """Keep what was found; give it as a field of the report."""
    if isinstance(scan, Exception):
        return "failed"
    return scan.verdict.outcome.value if scan and _keep(attachment, scan) else "skipped"


def _iterate(rows: AttachmentQuerySet) -> Iterator[Attachment]:
    """Each row once, although they change while they are worked on."""
    rows = rows.order_by("pk")
    batch = list(rows[:BATCH_SIZE])
    while batch:
        yield from batch
        batch = list(rows.filter(pk__gt=batch[-1].pk)[:BATCH_SIZE])


def _scan(attachment: Attachment) -> tuple[Attachment, Scan | Exception | None]:
    def scan() -> Scan | None:
        try:
            return scan_object(attachment)
        except storage.ObjectNotFound:  # deleted meanwhile; if not, reconcile_storage reports it
            return None

    return attachment, run_isolated(scan, name=f"scan of {attachment.pk}")


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
