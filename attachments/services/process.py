"""What is done to attachments outside requests: verify large files, read missing checksums.

The rows are the queue: each says by itself what there is to do. Every step may be repeated, done
twice at once, or killed anywhere; a later run finds what is left.
"""

from collections.abc import Iterator
from itertools import chain
from uuid import UUID

from attachments import storage
from attachments.errors import (
    NotFound,
    NotUploaded,
    RejectedUpload,
    StorageUnavailable,
    UploadExpired,
    UploadInProgress,
)
from attachments.models import Attachment, AttachmentQuerySet
from attachments.services.attempts import Attempt
from attachments.services.changes import keep_linkable_message
from attachments.services.pending import remove_soon
from attachments.services.verify import verify_upload

BATCH_SIZE = 100
MAX_FAILURES_IN_A_ROW = 3


def process_attachment(*, attachment_id: UUID) -> None:
    """Do what is left to do for this attachment, if nobody else does it at this moment.

    Raises ``StorageUnavailable``; then a later call does it.
    """
    attachment = Attachment.find(attachment_id)
    if attachment is None:
        return
    if attachment.in_background:
        _verify(attachment)
    if attachment.is_ready and not attachment.checksum_sha256:
        _add_checksum(attachment)


def process_waiting() -> int:
    """Process every attachment that waits; give how many.

    One that fails does not keep the others waiting. Raises ``StorageUnavailable`` at the end then,
    or when so many fail one after the other that the store is down.
    """
    count, failure, failures_in_a_row = 0, None, 0
    for attachment_id in chain.from_iterable(map(_iterate_ids, _find_waiting())):
        try:
            process_attachment(attachment_id=attachment_id)
        except StorageUnavailable as error:
            failure, failures_in_a_row = error, failures_in_a_row + 1
            if failures_in_a_row == MAX_FAILURES_IN_A_ROW:
                break
        else:
            count, failures_in_a_row = count + 1, 0
    if failure:
        raise failure
    return count


def count_waiting() -> int:
    """How many ``process_waiting`` would process now."""
    return sum(rows.count() for rows in _find_waiting())


def _find_waiting() -> list[AttachmentQuerySet]:
    return [Attachment.objects.waiting(), Attachment.objects.without_checksum()]


def _iterate_ids(rows: AttachmentQuerySet) -> Iterator[UUID]:
    """Each id once, although the rows change while they are worked on."""
    ids = rows.order_by("pk").values_list("pk", flat=True)
    batch = list(ids[:BATCH_SIZE])
    while batch:
        yield from batch
        batch = list(ids.filter(pk__gt=batch[-1])[:BATCH_SIZE])


def _verify(attachment: Attachment) -> None:
    try:
        attempt = Attempt.take(attachment)
        with attempt.hold():
            try:
                found = verify_upload(attempt, in_request=False)
                keep_message = keep_linkable_message(attachment, user=attachment.user)
                attempt.publish(**found, **keep_message)
            except (NotUploaded, UploadExpired):  # the original is gone: the client has to know
                attempt.release()
    except (NotFound, RejectedUpload, UploadInProgress):
        return  # the row says why, or is gone; or another one works on it, or will
    if attachment.is_ready:
        remove_soon(attachment.pending_key)


def _add_checksum(attachment: Attachment) -> None:
    try:
        found = storage.find_checksum(key=attachment.key)
    except storage.ObjectNotFound:
        return  # deleted meanwhile; if not, reconcile_storage reports it
    Attachment.objects.without_checksum().filter(
        pk=attachment.pk, storage_key=attachment.key
    ).update(checksum_sha256=found)
