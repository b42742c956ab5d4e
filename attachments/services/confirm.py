"""Confirm: take the upload, have it verified, publish it; or say what became of it."""

from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.db.models import Q

from attachments import events
from attachments.errors import REJECTIONS, AlreadyLinked, NotFound, UploadInProgress
from attachments.models import Attachment
from attachments.policy import User
from attachments.rules.metadata import clean_metadata
from attachments.services.access import check_linkable
from attachments.services.attempts import Attempt
from attachments.services.pending import remove_soon
from attachments.services.verify import TakesTooLong, verify_upload


def confirm_upload(
    *,
    attachment_id: UUID,
    user: User,
    message_id: Any = None,
    metadata: dict[str, Any] | None = None,
) -> Attachment:
    """Verify what the client put in the store and publish it. Safe to repeat.

    The attachment is ready then, or a worker verifies it: its status says so. A message hangs the
    attachment there; metadata is merged over what presign was given. Raises ``NotFound``,
    ``InvalidMetadata``, ``AlreadyLinked``, ``NotUploaded``, ``UploadInProgress``,
    ``UploadExpired``, a ``RejectedUpload`` (at each repetition the same), ``StorageUnavailable``
    (then nothing is lost: the same confirm works later).
    """
    attachment = Attachment.objects.find(attachment_id)
    if attachment is None or attachment.user_id != user.pk:
        raise NotFound
    if attachment.error is not None:
        raise REJECTIONS[attachment.error["code"]](**attachment.error["params"])
    changes = _plan_changes(attachment, user=user, message_id=message_id, metadata=metadata)
    if attachment.is_ready or attachment.in_background:
        _change(attachment, changes)
    else:
        try:
            attempt = Attempt.take(attachment)
        except UploadInProgress:
            if _is_settled(attachment):  # since it was read: give what the other confirm found
                return confirm_upload(
                    attachment_id=attachment_id, user=user, message_id=message_id, metadata=metadata
                )
            raise
        _verify(attempt, changes)
    if attachment.in_background or not attachment.checksum_sha256:
        events.work_left.send_robust(Attachment, attachment_id=attachment.pk)
    return attachment


def _verify(attempt: Attempt, changes: dict[str, Any]) -> None:
    with attempt.hold():
        try:
            found = verify_upload(attempt, in_request=True)
        except TakesTooLong:
            attempt.hand_over(**changes)
        else:
            attempt.publish(**found, **changes)
            remove_soon(attempt.attachment.pending_key)


def _is_settled(attachment: Attachment) -> bool:
    settled = Q(status__in=[Attachment.Status.READY, Attachment.Status.REJECTED])
    return Attachment.objects.filter(settled | Q(in_background=True), pk=attachment.pk).exists()


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


def _change(attachment: Attachment, changes: dict[str, Any]) -> None:
    """A later confirm may still hang the attachment on its message, or add metadata."""
    if not changes:
        return
    row = Attachment.objects.filter(pk=attachment.pk)
    if "message_id" in changes:
        # Another confirm may hang it there at this moment, of the same request perhaps.
        row = row.filter(Q(message=None) | Q(message=changes["message_id"]))
    try:
        is_changed = row.update(**changes)
    except IntegrityError as error:  # the message went since it was looked at
        raise NotFound(attr="message_id") from error
    if not is_changed:
        raise AlreadyLinked(attr="message_id")
    for name, value in changes.items():
        setattr(attachment, name, value)
