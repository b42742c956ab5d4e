"""Purge: rows that nothing needs any more, then objects that no row needs.

Rows are deleted first, in batches that several runs share. The database notes their objects, and
the notes are carried out after each commit. So a run may be killed anywhere: the next one does the
rest.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from itertools import chain

from django.db import transaction
from django.utils import timezone

from attachments import events, storage
from attachments.errors import StorageUnavailable
from attachments.models import IdempotencyKey
from attachments.rules.keys import QUARANTINE
from attachments.services.batches import delete_in_batches
from attachments.services.deletions import carry_out_deletions, log_refusals
from attachments.services.process import process_waiting
from attachments.services.protection import only_protected
from attachments.services.purgeable import (
    PurgeReport,
    count_notes,
    find_purgeable,
    find_unneeded_objects,
)

BATCH_SIZE = 1000
MAX_BATCH_SIZE = 10_000  # PostgreSQL takes 65535 parameters in a statement
# No copy takes so long.
COPY_GRACE = timedelta(days=1)


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
    for kind, rows in find_purgeable(older_than).items():
        budget = None if limit is None else limit - report.row_count
        report.protected += only_protected(rows).count()
        for batch in delete_in_batches(rows, batch_size=batch_size, limit=budget):
            report.add(kind, count=batch.deleted, size_bytes=batch.size_bytes)
            report.protected += batch.protected
            on_progress(batch.deleted)
    for keys in find_unneeded_objects():
        refused = storage.delete_objects(keys)
        log_refusals(refused)
        report.swept += len(keys) - len(refused)
    forget_idempotency_keys()
    _abort_forgotten_copies()
    report.processed = process_stuck()
    count_notes(report)
    facts = asdict(report)
    events.purged.tell(**{name: facts[name] for name in events.purged.facts})
    return report


def process_stuck() -> int:
    """Do what waits for a worker, but the scanner may be away. Raises ``StorageUnavailable``."""
    done = process_waiting()
    if isinstance(done.outage, StorageUnavailable):
        raise done.outage
    return done.processed


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
