"""Confirm: take the upload, have it verified, publish it; or say what became of it."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from attachments import storage
from attachments.errors import (
    AlreadyLinked,
    NotFound,
    NotUploaded,
    RejectedUpload,
    UploadExpired,
    UploadInProgress,
    make_rejection,
)
from attachments.models import Attachment
from attachments.policy import User, get_limits
from attachments.services.attempts import Attempt
from attachments.services.changes import Changes, keep_linkable_message, plan_changes
from attachments.services.nudges import nudge, nudge_soon
from attachments.services.pending import remove_soon
from attachments.services.quotas import reserve_space
from attachments.services.telling import tell_confirmed
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
    ``UploadExpired``, ``QuotaExceeded``, a ``RejectedUpload`` (at each repetition the same),
    ``StorageUnavailable`` (then nothing is lost: the same confirm works later).
    """
    with tell_confirmed(attachment_id=attachment_id, user=user) as tell:
        attachment = _confirm(attachment_id, user, message_id, metadata)
        tell(attachment)
        return attachment


def _confirm(
    attachment_id: UUID, user: User, message_id: Any, metadata: dict[str, Any] | None
) -> Attachment:
    attachment = Attachment.find(attachment_id)
    if attachment is None or attachment.user_id != user.pk:
        raise NotFound
    if attachment.error is not None:
        raise make_rejection(**attachment.error)
    changes = plan_changes(attachment, user=user, message_id=message_id, metadata=metadata)
    if attachment.is_ready or attachment.in_background:
        _change(attachment, changes)
        if attachment.has_work_left and not attachment.is_leased:
            _nudge(attachment)
    else:
        try:
            attempt = _take(attachment, user)
        except UploadInProgress:
            if _is_settled(attachment):  # since it was read: tell what became of it
                return _confirm(attachment_id, user, message_id, metadata)
            raise
        _verify(attempt, changes, user)
        if attachment.has_work_left:
            _nudge(attachment)
    return attachment


def verify_in_background(attachment: Attachment) -> None:
    """Do what a request could not, unless somebody else does it at this moment.

    Raises ``StorageUnavailable``; then it waits for a later call.
    """
    try:
        attempt = Attempt.take(attachment)
        with attempt.hold():
            try:
                found = verify_upload(attempt, in_request=False)
                _settle(attempt, found, Changes(), attachment.user)
            except (NotUploaded, UploadExpired):  # the original is gone: the client has to know
                attempt.release()
    except (NotFound, RejectedUpload, UploadInProgress):
        return  # the row says why, or is gone; or another one works on it, or will


def _take(attachment: Attachment, user: User) -> Attempt:
    """Take the row. An upload whose time is over counts no more, so it has to fit again.

    Raises ``UploadInProgress``; for a late upload also ``UploadExpired``, ``QuotaExceeded``.
    """
    limits = get_limits(user) if attachment.status == Attachment.Status.PENDING else None
    if limits is None or limits.quota_bytes is None:
        return Attempt.take(attachment)
    if attachment.has_lapsed:
        try:
            storage.inspect_object(attachment.key)
        except storage.ObjectNotFound:
            raise UploadExpired from None
    with transaction.atomic():
        of_bytes = replace(limits, max_unconfirmed=None)
        reserve_space(user=user, limits=of_bytes, kept=[attachment])
        return Attempt.take(attachment)


def _verify(attempt: Attempt, changes: Changes, user: User) -> None:
    with attempt.hold(), storage.hold_place():
        try:
            found = verify_upload(attempt, in_request=True)
        except TakesTooLong:
            with changes.apply_to(attempt.attachment) as fields:
                attempt.hand_over(**fields)
        else:
            _settle(attempt, found, changes, user)


def _settle(attempt: Attempt, found: dict[str, Any], changes: Changes, user: User) -> None:
    attachment = attempt.attachment
    keep_message = keep_linkable_message(attachment, user=user)
    with changes.apply_to(attachment) as fields:
        attempt.settle(**{**found, **keep_message, **fields})
    remove_soon(attachment.pending_key)


def _nudge(attachment: Attachment) -> None:
    tell = nudge_soon if attachment.is_ready else nudge
    tell(attachment.pk)


def _is_settled(attachment: Attachment) -> bool:
    """Published, refused, handed over or deleted: whatever ends a confirm."""
    row = Attachment.find(attachment.pk)
    open_states = (Attachment.Status.PENDING, Attachment.Status.VERIFYING)
    return row is None or row.in_background or row.status not in open_states


def _change(attachment: Attachment, changes: Changes) -> None:
    """A later confirm may still hang the attachment on its message, or add metadata."""
    with changes.apply_to(attachment) as fields:
        if not fields:
            return
        row = Attachment.objects.filter(pk=attachment.pk)
        if "message_id" in fields:
            # Another confirm may hang it there at this moment, of the same request perhaps.
            row = row.filter(Q(message=None) | Q(message=fields["message_id"]))
        if not row.update(**fields):
            if Attachment.find(attachment.pk) is None:
                raise NotFound
            raise AlreadyLinked(attr="message_id")
    for name, value in fields.items():
        setattr(attachment, name, value)
