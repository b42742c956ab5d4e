"""Purge: rows that nothing needs any more, then objects that no row needs.

Rows are deleted first, in batches that several runs share. The database notes their objects, and
the notes are carried out after each commit. So a run may be killed anywhere: the next one does the
rest.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import chain, islice
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q, Sum
from django.utils import timezone

from attachments import events, storage
from attachments.conf import conf
from attachments.errors import StorageUnavailable
from attachments.models import Attachment, AttachmentQuerySet, IdempotencyKey, ObjectDeletion
from attachments.rules.keys import PROBE_MARK, QUARANTINE
from attachments.services.batches import delete_in_batches
from attachments.services.deletions import carry_out_deletions, log_refusals
from attachments.services.process import count_waiting, process_waiting
from attachments.services.protection import exclude_protected, only_protected

BATCH_SIZE = 1000
MAX_BATCH_SIZE = 10_000  # PostgreSQL takes 65535 parameters in a statement
# A client that lost our answer may still confirm for a day, and an Idempotency-Key is kept as long.
STALE_GRACE = timedelta(days=1)
# A POST that began in the last second of its form may take long to arrive.
LATE_GRACE = timedelta(hours=1)
# No copy takes so long.
COPY_GRACE = timedelta(days=1)
_SWEPT = (
    "pending/",
    *(f"{prefix}/{PROBE_MARK}" for prefix in ("quarantine", "attachments", "thumbnails")),
)


@dataclass(kw_only=True)
class PurgeReport:
    """What a purge removed, or would remove."""

    expired: int = 0
    """Attachments older than ``RETENTION_DAYS``."""
    orphans: int = 0
    """Ready attachments on no message."""
    stale: int = 0
    """Uploads that were never confirmed."""
    refused: int = 0
    """Rejected and infected uploads."""
    size_bytes: int = 0
    """The bytes of all these, as far as they are known."""
    processed: int = 0
    """Attachments that waited for a worker."""
    swept: int = 0
    """Objects under pending/ that no upload needs."""
    waiting: int = 0
    """Notes of objects that are not deleted yet."""
    failing: int = 0
    """How many of these the store refused, or could not take, when it was last asked."""
    protected: int = 0
    """Attachments that stay, because a row of the host protects them."""

    @property
    def row_count(self) -> int:
        return self.expired + self.orphans + self.stale + self.refused

    def add(self, kind: str, *, count: int, size_bytes: int) -> None:
        setattr(self, kind, getattr(self, kind) + count)
        self.size_bytes += size_bytes


def count_purgeable(*, older_than: timedelta | None = None) -> PurgeReport:
    """The rows that ``purge_attachments`` would remove now, counted in the database."""
    report = PurgeReport()
    for kind, rows in _find_purgeable(older_than).items():
        found = exclude_protected(rows.order_by()).aggregate(
            count=Count("pk"), size_bytes=Sum("size_bytes")
        )
        report.add(kind, count=found["count"], size_bytes=found["size_bytes"] or 0)
        report.protected += only_protected(rows).count()
    _count_notes(report)
    return report


def preview_purge(*, older_than: timedelta | None = None) -> PurgeReport:
    """What ``purge_attachments`` would remove now, in rows and in objects under pending/."""
    report = count_purgeable(older_than=older_than)
    report.processed = count_waiting()
    report.swept = sum(len(keys) for keys in _find_unneeded_objects())
    return report


def purge_attachments(
    *,
    older_than: timedelta | None = None,
    batch_size: int = BATCH_SIZE,
    limit: int | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> PurgeReport:
    """Remove what nothing needs, do what waits for a worker, and carry out every note that is due.

    Orphans and refused uploads are kept for ``older_than``, by default ``ORPHAN_DAYS``; the age of
    a ready file counts from its confirm. ``limit`` is the largest number of rows to remove. A
    batch has at most ``MAX_BATCH_SIZE`` rows; after each, ``on_progress`` is called with their
    number. What is being linked or confirmed at this moment is left alone, and so is what a row of
    the host protects. Raises ``StorageUnavailable``: then a later run does the rest. Within a
    transaction, other than that of a ``TestCase``, it raises ``RuntimeError``.
    """
    with transaction.atomic(durable=True):
        pass  # in a transaction that may be rolled back, rows would come back without objects
    storage.ping_bucket()
    carry_out_deletions()
    report = PurgeReport()
    batch_size = min(batch_size, MAX_BATCH_SIZE)
    for kind, rows in _find_purgeable(older_than).items():
        budget = None if limit is None else limit - report.row_count
        report.protected += only_protected(rows).count()
        for batch in delete_in_batches(rows, batch_size=batch_size, limit=budget):
            report.add(kind, count=batch.deleted, size_bytes=batch.size_bytes)
            report.protected += batch.protected
            on_progress(batch.deleted)
    for keys in _find_unneeded_objects():
        refused = storage.delete_objects(keys)
        log_refusals(refused)
        report.swept += len(keys) - len(refused)
    forget_idempotency_keys()
    _abort_forgotten_copies()
    report.processed = _process()
    _count_notes(report)
    facts = asdict(report)
    events.purged.tell(**{name: facts[name] for name in events.purged.facts})
    return report


def _process() -> int:
    """Do what waits for a worker, but the scanner may be away. Raises ``StorageUnavailable``."""
    done = process_waiting()
    if isinstance(done.outage, StorageUnavailable):
        raise done.outage
    return done.processed


def _count_notes(report: PurgeReport) -> None:
    found = ObjectDeletion.objects.waiting().aggregate(
        waiting=Count("pk"), failing=Count("pk", filter=~Q(last_error=""))
    )
    report.waiting, report.failing = found["waiting"], found["failing"]


def _find_purgeable(older_than: timedelta | None) -> dict[str, AttachmentQuerySet]:
    """The rows of each kind, in the order of the index that serves it. No row is of two kinds."""
    now = timezone.now()
    kept_from = now - (conf.orphan_age if older_than is None else older_than)
    rows = Attachment.objects.unleased()
    found = {}
    if conf.retention is not None:
        expired_before = now - conf.retention
        found["expired"] = rows.expired(expired_before).order_by("created_at")
        rows = rows.unexpired(expired_before)
    return found | {
        "orphans": rows.orphans(confirmed_before=kept_from).order_by("confirmed_at"),
        "stale": rows.stale(expired_before=now - STALE_GRACE).order_by("expires_at"),
        "refused": rows.refused(created_before=kept_from).order_by("created_at"),
    }


def _abort_forgotten_copies() -> None:
    """Abort what was begun by a process that died before the row named it."""
    cutoff = timezone.now() - COPY_GRACE
    refused = {}
    for copy in chain.from_iterable(map(storage.list_copies, ("attachments/", QUARANTINE))):
        if copy.begun_at < cutoff:
            refused[copy.key] = storage.abort_copy(target=copy.key, upload_id=copy.upload_id)
    log_refusals({key: reason for key, reason in refused.items() if reason})


def forget_idempotency_keys() -> None:
    """Delete those whose time is over, but for those that a request uses at this moment."""
    expired = IdempotencyKey.objects.filter(expires_at__lt=timezone.now()).order_by("expires_at")
    found = expired.select_for_update(skip_locked=True).values_list("pk", flat=True)
    is_over = False
    while not is_over:
        with transaction.atomic():
            batch = list(found[:BATCH_SIZE])
            IdempotencyKey.objects.filter(pk__in=batch).delete()
        is_over = not batch


def _find_unneeded_objects() -> Iterator[set[str]]:
    """Keys under pending/ whose form expired long ago and whose upload cannot be confirmed.

    Keys of probes too: a check of the store that was killed left them.
    """
    cutoff = timezone.now() - conf.upload_expires_in - LATE_GRACE
    items = chain.from_iterable(map(storage.list_objects, _SWEPT))
    late = (item.key for item in items if item.modified_at < cutoff)
    while keys := set(islice(late, storage.MAX_DELETE)):
        if unneeded := keys - _find_needed(keys):
            yield unneeded


def _find_needed(keys: Iterable[str]) -> set[str]:
    """The keys of uploads that may still be confirmed."""
    ids = {pk for key in keys if (pk := _parse_id(key))}
    unconfirmed = Attachment.objects.unconfirmed().filter(pk__in=ids)
    return {f"pending/{pk}" for pk in unconfirmed.values_list("pk", flat=True)}


def _parse_id(key: str) -> UUID | None:
    try:
        return UUID(key.removeprefix("pending/"))
    except ValueError:
        return None
