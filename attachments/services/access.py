"""What users do with existing attachments: see, link, download, delete."""

from collections.abc import Collection
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.db.models import Model

from attachments import storage
from attachments.conf import conf
from attachments.errors import (
    AlreadyLinked,
    AttachmentNotReady,
    NotFound,
    NotYours,
)
from attachments.models import Attachment
from attachments.policy import User, get_access_policy


def get_attachment(*, attachment_id: UUID, user: User) -> Attachment:
    """An attachment that ``user`` may see; raises ``NotFound``."""
    # Try the usual case first: the SQL of the host's policy costs more than the rest of a request.
    attachment = Attachment.objects.find(attachment_id)
    if attachment is not None and attachment.user_id == user.pk:
        return attachment
    visible = Attachment.objects.visible_to(user).filter(pk=attachment_id).first()
    if visible is None:
        raise NotFound
    return visible


def get_download_url(attachment: Attachment) -> str | None:
    """A link that works now, or None until the attachment is ready. Does not call the store."""
    if not attachment.is_ready:
        return None
    if conf.cdn_url:
        return f"{conf.cdn_url}/{quote(attachment.key)}"
    if conf.public_read:
        return storage.get_public_url(attachment.key)
    return storage.sign_download(key=attachment.key, expires_in=conf.download_expires_in)


def check_linkable(*, message_id: Any, user: User) -> None:
    """Raise ``NotFound`` unless ``user`` may hang their attachments on this message."""
    if not get_access_policy().linkable_messages(user).filter(pk=message_id).exists():
        raise NotFound(attr="message_id")


def link_attachments(*, attachment_ids: Collection[UUID], message: Model, user: User) -> None:
    """Hang ready attachments of ``user`` on ``message``.

    The host calls this in the transaction that makes the message, and has checked that the user may
    write it. An attachment that was linked stays with its message. If one of them cannot be linked,
    raises ``NotFound``, ``AttachmentNotReady`` or ``AlreadyLinked``, and the caller's transaction
    rolls back.
    """
    ids = set(attachment_ids)
    mine = Attachment.objects.filter(pk__in=ids, user_id=user.pk)
    linked = mine.ready().filter(message=None).update(message=message)
    if linked == len(ids):
        return
    found = mine.in_bulk()
    for attachment_id in ids:
        attachment = found.get(attachment_id)
        if attachment is None:
            raise NotFound(attr="attachment_ids")
        if not attachment.is_ready:
            raise AttachmentNotReady(attr="attachment_ids", status=attachment.get_status_display())
        if attachment.message_id != message.pk:
            raise AlreadyLinked(attr="attachment_ids")


def delete_attachment(*, attachment_id: UUID, user: User) -> None:
    """Delete the row, and its objects after the commit. Raises ``NotFound``, ``NotYours``."""
    attachment = get_attachment(attachment_id=attachment_id, user=user)
    if attachment.user_id != user.pk and not getattr(user, "is_staff", False):
        raise NotYours
    attachment.delete()
