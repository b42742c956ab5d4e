"""What participants do: start a conversation, write a message, read the messages."""

from collections.abc import Collection
from uuid import UUID

from django.db import transaction
from django.db.models import Prefetch, QuerySet, prefetch_related_objects

from attachments.errors import NotFound
from attachments.models import Attachment
from attachments.policy import User
from attachments.services import link_attachments
from nodus.messaging.models import Conversation, Message


@transaction.atomic
def start_conversation(*, participant_ids: Collection[int]) -> Conversation:
    conversation = Conversation.objects.create()
    conversation.participants.set(participant_ids)
    return conversation


@transaction.atomic
def post_message(
    *,
    conversation_id: int,
    author: User,
    text: str,
    attachment_ids: Collection[UUID] = (),
) -> Message:
    """Write a message together with ready attachments of the author, or nothing at all.

    Raises ``NotFound`` if the author takes no part in the conversation, and the errors of
    ``link_attachments``.
    """
    conversation = _get_conversation(conversation_id, author)
    message = Message.objects.create(conversation=conversation, author_id=author.pk, text=text)
    if attachment_ids:
        link_attachments(attachment_ids=attachment_ids, message=message, user=author)
    prefetch_related_objects([message], _READY_ATTACHMENTS)
    return message


def list_messages(*, conversation_id: int, reader: User) -> QuerySet[Message]:
    """The messages with their attachments. Raises ``NotFound`` if the reader takes no part."""
    conversation = _get_conversation(conversation_id, reader)
    return conversation.messages.prefetch_related(_READY_ATTACHMENTS)


_READY_ATTACHMENTS = Prefetch(
    "attachments",
    queryset=Attachment.objects.ready().order_by("created_at", "pk"),
    to_attr="ready_attachments",
)


def _get_conversation(conversation_id: int, user: User) -> Conversation:
    conversation = Conversation.objects.filter(pk=conversation_id, participants=user.pk).first()
    if conversation is None:
        raise NotFound
    return conversation
