"""Look into a ready file: keep what was found on the row, and make its thumbnail."""

from io import BytesIO

from django.db import transaction

from attachments import storage
from attachments.conf import conf
from attachments.media import MAX_FILE_BYTES, Inspection, inspect_file
from attachments.models import Attachment, AttachmentQuerySet
from attachments.rules.checksums import compute_checksum
from attachments.services.deletions import drop_made, keep_made, note_deletions, note_made
from attachments.services.fetching import fetch_object
from attachments.services.leases import DONE


class RowChanged(Exception):
    """The row is gone, or another worker was faster."""


def inspect_attachment(attachment: Attachment) -> None:
    """Raises ``StorageUnavailable``, ``DecodingUnavailable``; then a later call does it.

    A file that nobody can read is looked into once, and has no facts.
    """
    try:
        found = _look_into(attachment)
    except storage.ObjectNotFound:
        return  # deleted meanwhile; if not, reconcile_storage reports it
    key = attachment.make_thumbnail_key() if found.thumbnail else ""
    if key:
        # Noted before it is there: until the row names it, nothing else would tell of it.
        note_made(key)
        _put_thumbnail(attachment, key, found.thumbnail)
    try:
        _keep(attachment, found, key)
    except RowChanged:
        if key:
            drop_made(key)


def forget_thumbnails(rows: AttachmentQuerySet) -> None:
    """Note the thumbnails of these rows, which then name none; in the caller's transaction."""
    # Those without one are locked too, so that no worker names one before the caller's commit.
    locked = rows.ready().select_for_update()
    note_deletions([key for key in locked.values_list("thumbnail_key", flat=True) if key])
    rows.with_thumbnail().update(thumbnail_key="")


def _look_into(attachment: Attachment) -> Inspection:
    if not attachment.is_inspectable or (attachment.size_bytes or 0) > MAX_FILE_BYTES:
        return Inspection()
    with fetch_object(attachment.key, max_bytes=MAX_FILE_BYTES) as fetched:
        return inspect_file(
            fetched.file, content_type=attachment.content_type, thumbnail_px=conf.thumbnail_px
        )


def _put_thumbnail(attachment: Attachment, key: str, content: bytes) -> None:
    storage.put_object(
        key=key,
        content=BytesIO(content),
        checksum_sha256=compute_checksum(content),
        headers=attachment.thumbnail_headers,
    )


def _keep(attachment: Attachment, found: Inspection, key: str) -> None:
    """Raises ``RowChanged``, also if the thumbnail took so long that its note was carried out."""
    old_key = attachment.thumbnail_key
    with transaction.atomic():
        is_kept = attachment.change(
            where={
                "status": Attachment.Status.READY,
                "storage_key": attachment.key,
                "is_inspected": False,
                "thumbnail_key": old_key,
            },
            is_inspected=True,
            media=found.media,
            thumbnail_key=key,
            **DONE,
        )
        if not is_kept or (key and not keep_made(key)):
            raise RowChanged
        if old_key:
            note_deletions([old_key])
