"""Confirm: look at what the client put, freeze it, publish it.

The row changes by single statements, each conditional on what it was: a lease taken, then the row
published, rejected or released. No transaction is open while the store is asked. Whoever dies in
between leaves a lease that runs out, and the next confirm starts over.
"""

import logging
from datetime import timedelta
from typing import Any, NoReturn
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from attachments import storage
from attachments.conf import conf
from attachments.errors import (
    REJECTIONS,
    AlreadyLinked,
    ChecksumMismatch,
    ContentMismatch,
    NotFound,
    NotUploaded,
    RejectedUpload,
    SizeMismatch,
    StorageUnavailable,
    UploadExpired,
    UploadInProgress,
)
from attachments.models import Attachment, AttachmentQuerySet
from attachments.policy import User
from attachments.rules.content_types import matches_content_type
from attachments.rules.metadata import clean_metadata
from attachments.services.access import check_linkable
from attachments.services.deletions import carry_out_after_commit, note_deletions

logger = logging.getLogger(__name__)

# Longer than any confirm that still runs: 4 calls x 2 attempts x (2 s connect + 10 s read) = 96 s.
LEASE = timedelta(seconds=120)
_FINAL = [Attachment.Status.READY, Attachment.Status.REJECTED]


def confirm_upload(
    *,
    attachment_id: UUID,
    user: User,
    message_id: Any = None,
    metadata: dict[str, Any] | None = None,
) -> Attachment:
    """Verify what the client put in the store and publish it. Safe to repeat.

    A message hangs the attachment there; metadata is merged over what presign was given. Raises
    ``NotFound``, ``InvalidMetadata``, ``AlreadyLinked``, ``NotUploaded``, ``UploadInProgress``,
    ``UploadExpired``, a ``RejectedUpload`` (at each repetition the same), ``StorageUnavailable``
    (then nothing is lost: the same confirm works later).
    """
    attachment = Attachment.objects.find(attachment_id)
    if attachment is None or attachment.user_id != user.pk:
        raise NotFound
    if attachment.error is not None:
        raise REJECTIONS[attachment.error["code"]](**attachment.error["params"])
    changes = _plan_changes(attachment, user=user, message_id=message_id, metadata=metadata)
    if attachment.is_ready:
        return _change_ready(attachment, changes)
    if not _take_lease(attachment):
        if Attachment.objects.filter(pk=attachment.pk, status__in=_FINAL).exists():
            # Another confirm finished since the row was read: give what it found.
            return confirm_upload(
                attachment_id=attachment_id, user=user, message_id=message_id, metadata=metadata
            )
        raise UploadInProgress
    try:
        _verify_and_publish(attachment, changes)
    except RejectedUpload as error:
        _reject(attachment, error)
        raise
    finally:
        _release_lease(attachment)
    _remove_pending(attachment)
    return attachment


def _plan_changes(
    attachment: Attachment,
    *,
    user: User,
    message_id: Any,
    metadata: dict[str, Any] | None,
) -> dict[str, Any]:
    """The fields that this confirm's input sets, checked before anything is done."""
    changes: dict[str, Any] = {}
    if metadata is not None:
        merged = {**attachment.metadata, **clean_metadata(metadata)}
        changes["metadata"] = clean_metadata(merged)
    if message_id is not None and message_id != attachment.message_id:
        check_linkable(message_id=message_id, user=user)
        if attachment.message_id is not None:
            raise AlreadyLinked(attr="message_id")
        changes["message_id"] = message_id
    return changes


def _change_ready(attachment: Attachment, changes: dict[str, Any]) -> Attachment:
    """A later confirm of a ready attachment may still hang it on its message."""
    if not changes:
        return attachment
    row = Attachment.objects.filter(pk=attachment.pk)
    if "message_id" in changes:
        # Another confirm may hang it there at this moment, of the same request perhaps.
        row = row.filter(Q(message=None) | Q(message=changes["message_id"]))
    if not _update(row, attachment, changes):
        raise AlreadyLinked(attr="message_id")
    return attachment


def _verify_and_publish(attachment: Attachment, changes: dict[str, Any]) -> None:
    try:
        facts = storage.inspect_object(attachment.pending_key)
        _judge(attachment, facts)
        checksum_sha256 = storage.copy_object(
            source=attachment.pending_key,
            target=attachment.published_key,
            etag=facts.etag,
            content_type=attachment.content_type,
            disposition=attachment.disposition,
            is_public=conf.public_read,
        )
    except storage.ObjectNotFound:
        if attachment.expires_at < timezone.now():
            raise UploadExpired from None
        raise NotUploaded from None
    except storage.ObjectChanged:
        raise UploadInProgress from None
    published = {
        "status": Attachment.Status.READY,
        "size_bytes": facts.size_bytes,
        "checksum_sha256": attachment.checksum_sha256 or checksum_sha256,
        "confirmed_at": timezone.now(),
        "lease_expires_at": None,
    }
    if not _update(_get_held(attachment), attachment, {**published, **changes}):
        _give_way(attachment)


def _remove_pending(attachment: Attachment) -> None:
    """Not needed any more; a purge sweeps what is left, so failing to is no error."""
    try:
        storage.delete_objects([attachment.pending_key])
    except StorageUnavailable:
        logger.warning("Left for the next purge_orphans: %s", attachment.pending_key)


def _judge(attachment: Attachment, facts: storage.ObjectFacts) -> None:
    """Raise the ``RejectedUpload`` that says how the bytes differ from what was declared."""
    smallest, largest = attachment.size_range
    if not smallest <= facts.size_bytes <= largest:
        expected = str(smallest) if smallest == largest else f"{smallest}–{largest}"
        raise SizeMismatch(found=facts.size_bytes, expected=expected)
    if not matches_content_type(facts.head, attachment.content_type):
        raise ContentMismatch(declared=attachment.content_type)
    if attachment.checksum_sha256:
        found = storage.read_checksum(key=attachment.pending_key, etag=facts.etag)
        if found != attachment.checksum_sha256:
            raise ChecksumMismatch


def _reject(attachment: Attachment, error: RejectedUpload) -> None:
    """Keep the reason on the row and remove the objects."""
    rejected = {
        "status": Attachment.Status.REJECTED,
        "error": {"code": error.code, "params": error.params},
        "lease_expires_at": None,
    }
    with transaction.atomic():
        is_rejected = _update(_get_held(attachment), attachment, rejected)
        if is_rejected:
            _note_objects(attachment)
    if not is_rejected:
        _give_way(attachment)
    carry_out_after_commit()


def _note_objects(attachment: Attachment) -> None:
    """The published one too: a confirm that died before this one may have made it."""
    note_deletions([attachment.pending_key, attachment.published_key])


def _take_lease(attachment: Attachment) -> bool:
    """Own the row until the lease expires; False if another confirm does, or is done."""
    now = timezone.now()
    free = Q(status=Attachment.Status.PENDING) | Q(
        status=Attachment.Status.VERIFYING, lease_expires_at__lt=now
    )
    lease = {
        "status": Attachment.Status.VERIFYING,
        "lease_expires_at": now + LEASE,
        # Named before it is made, so that a row deleted meanwhile leaves a note of it.
        "storage_key": attachment.published_key,
    }
    return _update(Attachment.objects.filter(free, pk=attachment.pk), attachment, lease)


def _release_lease(attachment: Attachment) -> None:
    """Let the next confirm have the row at once, if this one neither published nor rejected it."""
    if attachment.status == Attachment.Status.VERIFYING:
        pending = {"status": Attachment.Status.PENDING, "lease_expires_at": None}
        _update(_get_held(attachment), attachment, pending)


def _get_held(attachment: Attachment) -> AttachmentQuerySet:
    """The row, as long as this confirm holds its lease: no two leases expire at one moment."""
    return Attachment.objects.filter(
        pk=attachment.pk,
        status=Attachment.Status.VERIFYING,
        lease_expires_at=attachment.lease_expires_at,
    )


def _give_way(attachment: Attachment) -> NoReturn:
    """This confirm was so slow that its lease ran out, or the row was deleted under it."""
    row = Attachment.objects.filter(pk=attachment.pk).first()
    if row is None or row.status == Attachment.Status.REJECTED:
        _note_objects(attachment)
        carry_out_after_commit()
    raise NotFound if row is None else UploadInProgress


def _update(rows: AttachmentQuerySet, attachment: Attachment, fields: dict[str, Any]) -> bool:
    """Change the row if it is among ``rows``, and then the instance alike."""
    try:
        is_changed = bool(rows.update(**fields))
    except IntegrityError as error:  # the message went since it was looked at
        raise NotFound(attr="message_id") from error
    if not is_changed:
        return False
    for name, value in fields.items():
        setattr(attachment, name, value)
    return True
