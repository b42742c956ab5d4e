"""Delete many rows and their objects, in batches that several runs share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat, takewhile
from uuid import UUID

from django.db import connection, transaction

from attachments.models import AttachmentQuerySet
from attachments.services.deletions import OwnNotes, carry_out_deletions
from attachments.services.protection import delete_unprotected, exclude_protected
from attachments.storage.threads import run_in_order

WORKERS = 3
# So many rows that were found to be protected only when they were tried are kept in mind.
MAX_PASSED = 10_000


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What became of the rows that one transaction took."""

    taken: int
    deleted: int
    size_bytes: int
    """Of the files of the deleted rows."""
    protected: int


def delete_in_batches(
    rows: AttachmentQuerySet, *, batch_size: int, limit: int | None
) -> Iterator[Batch]:
    """Delete ``rows`` in batches.

    A batch waits for the database, then for the store, so several at once keep both busy. After an
    empty batch no other begins.
    """
    is_over = False
    counts = takewhile(lambda _count: not is_over, _split(limit, batch_size))
    passed: set[UUID] = set()
    delete = partial(_delete_batch, exclude_protected(rows), passed)
    for batch in _run_batches(delete, counts):
        if batch.taken:
            yield batch
        is_over = not batch.taken or len(passed) > MAX_PASSED


def _run_batches(delete: Callable[[int], Batch], counts: Iterator[int]) -> Iterator[Batch]:
    """In threads, whose connections do not see what a host's ``TestCase`` has not committed."""
    if connection.in_atomic_block:
        return map(delete, counts)

    def delete_and_disconnect(count: int) -> Batch:
        try:
            return delete(count)
        finally:
            connection.close()  # this thread's own

    workers = WORKERS if connection.features.has_select_for_update_skip_locked else 1
    return run_in_order(delete_and_disconnect, counts, threads=workers, ahead=1)


def _split(limit: int | None, batch_size: int) -> Iterator[int]:
    """The sizes of batches that add up to ``limit``; without a limit, batches for ever."""
    if limit is None:
        yield from repeat(batch_size)
    else:
        yield from (min(batch_size, limit - start) for start in range(0, limit, batch_size))


def _delete_batch(rows: AttachmentQuerySet, passed: set[UUID], count: int) -> Batch:
    """Delete up to ``count`` rows that no other transaction has locked, then their objects.

    Those that turn out to be protected are added to ``passed``, and are not taken again.
    """
    is_in_test = connection.in_atomic_block  # its commit never comes
    with transaction.atomic():
        if not is_in_test:
            transaction.on_commit(OwnNotes(are_left=True))
        free = rows.exclude(pk__in=[*passed]) if passed else rows
        sizes = dict(
            free.select_for_update(skip_locked=True).values_list("pk", "size_bytes")[:count]
        )
        protected, deleted = delete_unprotected(list(sizes))
        # While the rows are locked, so that no other batch takes them. One that looked before
        # may take them after, and has nothing new to tell.
        found_before = protected & passed
        passed |= protected
    carry_out_deletions()  # no notes are left, unless the store failed after the commit
    return Batch(
        taken=len(sizes),
        deleted=deleted,
        size_bytes=sum(size or 0 for pk, size in sizes.items() if pk not in protected),
        protected=len(protected - found_before),
    )
