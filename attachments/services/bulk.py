"""What staff do to many attachments at once. The number of queries does not grow with them."""

from dataclasses import dataclass
from functools import partial

from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Now

from attachments import events, storage
from attachments.models import Attachment, AttachmentQuerySet, ObjectDeletion
from attachments.services.deletions import (
    MAX_OWN_ROWS,
    OwnNotes,
    carry_out_notes,
)
from attachments.services.news import tell_all_deleted
from attachments.services.protection import (
    delete_unprotected,
    exclude_protected,
    has_host_rows,
    only_protected,
)

BATCH_SIZE = 1000


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How many attachments there are, and how much space they take."""

    row_count: int
    object_count: int
    """Verified objects in the store."""
    size_bytes: int
    """The bytes of these objects."""


def measure_attachments(rows: QuerySet[Attachment]) -> Extent:
    """Let the database count rows, objects and bytes."""
    kept = Q(status__in=[Attachment.Status.READY, Attachment.Status.SCANNING])
    found = rows.aggregate(
        rows=Count("pk"), objects=Count("pk", filter=kept), size=Sum("size_bytes", filter=kept)
    )
    return Extent(
        row_count=found["rows"], object_count=found["objects"], size_bytes=found["size"] or 0
    )


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What was deleted, and what was not."""

    deleted: int
    protected: int
    """Attachments that stay, because a row of the host protects them."""


def delete_attachments(rows: QuerySet[Attachment]) -> Deletion:
    """Delete ``rows`` in one statement, without loading them.

    Where rows of the host hang on attachments, Django has to look at these, in batches; what they
    protect stays. The objects of the first thousand rows are deleted right after the commit, the
    rest by a task or the next purge.
    """
    doomed = Attachment.objects.filter(pk__in=rows.values("pk"))
    with transaction.atomic(using=doomed.db):
        if has_host_rows():
            return _delete_with_host_rows(doomed)
        named = doomed.only("storage_key", "copy_key", "thumbnail_key").order_by()
        keys = [key for row in named[: MAX_OWN_ROWS + 1] for key in row.owned_keys]
        own = OwnNotes(keys)
        transaction.on_commit(own, using=doomed.db)
        tell_all_deleted(doomed)
        own.row_count = doomed._raw_delete(doomed.db)
        return Deletion(deleted=own.row_count, protected=0)


def _delete_with_host_rows(doomed: AttachmentQuerySet) -> Deletion:
    """In batches by id, so that nothing is looked at twice."""
    protected = only_protected(doomed).count()
    ids = exclude_protected(doomed).order_by("pk").values_list("pk", flat=True)
    deleted = 0
    batch = list(ids[:BATCH_SIZE])
    while batch:
        stayed, count = delete_unprotected(batch)
        deleted, protected = deleted + count, protected + len(stayed)
        batch = list(ids.filter(pk__gt=batch[-1])[:BATCH_SIZE])
    return Deletion(deleted=deleted, protected=protected)


def retry_deletions(notes: QuerySet[ObjectDeletion]) -> int:
    """Carry out these notes now, even if they were put off; give the number of deleted objects.

    A note that was not tried in vain keeps its time: its object is gone, and is looked for again.
    Raises ``StorageUnavailable``.
    """
    tried = ObjectDeletion.objects.filter(pk__in=notes.values("pk"), attempts__gt=0)
    ids = list(tried.values_list("pk", flat=True)[: storage.MAX_DELETE])
    if tried.update(due_at=Now()) > len(ids):
        transaction.on_commit(partial(events.deletions_left.send, sender=ObjectDeletion))
    return carry_out_notes(ObjectDeletion.objects.filter(pk__in=ids))
