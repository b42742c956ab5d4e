"""What staff do to many attachments at once. The number of queries does not grow with them."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Now

from attachments.models import Attachment, ObjectDeletion
from attachments.services.deletions import (
    MAX_CALLS_AFTER_COMMIT,
    carry_out_after_commit,
    carry_out_deletions,
)


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
    found = rows.order_by().aggregate(
        rows=Count("pk"), objects=Count("pk", filter=kept), size=Sum("size_bytes", filter=kept)
    )
    return Extent(
        row_count=found["rows"], object_count=found["objects"], size_bytes=found["size"] or 0
    )


def delete_attachments(rows: QuerySet[Attachment]) -> int:
    """Delete all ``rows`` in one statement, without loading them; give their number.

    The database notes their objects. The first ten thousand of these are deleted right after the
    commit, the rest by the next purge.
    """
    doomed = Attachment.objects.filter(pk__in=rows.order_by().values("pk"))
    with transaction.atomic(using=doomed.db):
        transaction.on_commit(carry_out_after_commit, using=doomed.db)
        if Attachment._meta.related_objects:  # the host's own rows, with their own on_delete
            return doomed.delete()[1].get(Attachment._meta.label, 0)
        return doomed._raw_delete(doomed.db)


def retry_deletions(notes: QuerySet[ObjectDeletion]) -> int:
    """Carry out these notes now, even if they were put off; give the number of deleted objects.

    A note that was never tried keeps its time, because a confirm may own the object until then.
    Raises ``StorageUnavailable``.
    """
    ObjectDeletion.objects.filter(pk__in=notes.order_by().values("pk"), attempts__gt=0).update(
        due_at=Now()
    )
    return carry_out_deletions(max_calls=MAX_CALLS_AFTER_COMMIT)
