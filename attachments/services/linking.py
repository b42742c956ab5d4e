"""Hanging attachments on messages: who may, how many, and once for all."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Model

from attachments import events
from attachments.conf import conf
from attachments.errors import (
    AlreadyLinked,
    AttachmentNotReady,
    NotFound,
    TooManyAttachments,
)
from attachments.models import Attachment
from attachments.policy import User, get_access_policy, get_message_model


def check_linkable(*, message_id: Any, user: User) -> None:
    """Raise ``NotFound`` unless ``user`` may hang their attachments on this message."""
    if not is_linkable(message_id=message_id, user=user):
        raise NotFound(attr="message_id")


def is_linkable(*, message_id: Any, user: User) -> bool:
    return get_access_policy().linkable_messages(user).filter(pk=message_id).exists()


def reserve_room(*, message_id: Any, count: int, attr: str = "message_id") -> None:
    """See that so many more attachments may hang on the message.

    In the transaction that hangs them: the message is locked until then, so that several at once
    never pass the limit. Raises ``NotFound`` if the message is gone, ``TooManyAttachments``.
    """
    messages = get_message_model()._base_manager.select_for_update(of=("self",))
    if not messages.filter(pk=message_id).values_list("pk").first():
        raise NotFound(attr=attr)
    if count > count_room(message_id=message_id):
        raise TooManyAttachments(attr=attr, max_count=conf.max_attachments_per_message)


def count_room(*, message_id: Any) -> int:
    """How many more attachments may hang on the message; below 0 if the setting was lowered."""
    refused = [Attachment.Status.REJECTED, Attachment.Status.INFECTED]
    taken = Attachment.objects.filter(message_id=message_id).exclude(status__in=refused).count()
    return conf.max_attachments_per_message - taken


def link_attachments(*, attachment_ids: Collection[UUID], message: Model, user: User) -> None:
    """Hang ready attachments of ``user`` on ``message``.

    The host calls this in the transaction that makes the message, and has checked that the user may
    write it. An attachment that was linked stays with its message. If one of them cannot be linked,
    raises ``NotFound``, ``AttachmentNotReady``, ``AlreadyLinked`` or ``TooManyAttachments``, and
    the caller's transaction rolls back.
    """
    ids = set(attachment_ids)
    mine = Attachment.objects.filter(pk__in=ids, user_id=user.pk)
    with transaction.atomic():
        unlinked = mine.ready().filter(message=None)
        reserve_room(message_id=message.pk, count=unlinked.count(), attr="attachment_ids")
        if unlinked.update(message=message) == len(ids):
            facts = {"message_id": message.pk, "user_id": user.pk, "count": len(ids)}
            transaction.on_commit(lambda: events.linked.tell(**facts))
            return
        found = mine.in_bulk()
        for attachment_id in ids:
            attachment = found.get(attachment_id)
            if attachment is None:
                raise NotFound(attr="attachment_ids")
            if not attachment.is_ready:
                status = attachment.get_status_display()
                raise AttachmentNotReady(attr="attachment_ids", status=status)
            if attachment.message_id != message.pk:
                raise AlreadyLinked(attr="attachment_ids")
