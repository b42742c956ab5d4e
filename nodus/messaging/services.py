"""What participants do: start a conversation, write a message, read the messages."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import (
    Exists,
    F,
    OuterRef,
    Prefetch,
    QuerySet,
    Subquery,
    prefetch_related_objects,
)

from attachments.errors import NotFound
from attachments.models import Attachment
from attachments.policy import User
from attachments.services import link_attachments
from nodus.messaging.models import Conversation, Message

MAX_LISTED = 100
"""Conversations: the list has those with the newest messages."""
MAX_NAMES = 4
"""Other participants whom the list names."""


@transaction.atomic
def start_conversation(*, participant_ids: Collection[int]) -> Conversation:
    conversation = Conversation.objects.create()
    conversation.participants.set(participant_ids)
    return conversation


@transaction.atomic
def open_conversation(*, user: User, other: User) -> Conversation:
    """Find the newest conversation of these two alone, or start one."""
    pair = {user.pk, other.pk}
    participations = Conversation.participants.through.objects
    strangers = participations.filter(conversation=OuterRef("pk")).exclude(user__in=pair)
    theirs = Conversation.objects.filter(participants=user.pk).filter(participants=other.pk)
    found = theirs.filter(~Exists(strangers)).order_by("-pk").first()
    return found or start_conversation(participant_ids=pair)


def list_conversations(*, reader: User) -> QuerySet[Any]:
    """Those with the newest messages first; ``latest_id`` is the newest one's, or null."""
    newest = Message.objects.filter(conversation=OuterRef("pk")).values("pk")[:1]
    conversations = Conversation.objects.filter(participants=reader.pk)
    listed = conversations.annotate(latest_id=Subquery(newest))
    return listed.order_by(F("latest_id").desc(nulls_first=True), "-pk")[:MAX_LISTED]


def describe_conversations(*, reader: User) -> list[Any]:
    """``list_conversations``, each with its ``latest`` message and some of the ``others``."""
    users = get_user_model()._default_manager.exclude(pk=reader.pk).order_by("pk")
    others = Prefetch("participants", queryset=users[:MAX_NAMES], to_attr="others")
    conversations = list(list_conversations(reader=reader).prefetch_related(others))
    messages = Message.objects.in_bulk([found.latest_id for found in conversations])
    for conversation in conversations:
        conversation.latest = messages.get(conversation.latest_id)
    return conversations


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
    conversation = get_conversation(conversation_id, author)
    message = Message.objects.create(conversation=conversation, author_id=author.pk, text=text)
    if attachment_ids:
        link_attachments(attachment_ids=attachment_ids, message=message, user=author)
    prefetch_related_objects([message], _READY_ATTACHMENTS)
    return message


def list_messages(*, conversation_id: int, reader: User) -> QuerySet[Message]:
    """The messages with their attachments. Raises ``NotFound`` if the reader takes no part."""
    conversation = get_conversation(conversation_id, reader)
    return conversation.messages.prefetch_related(_READY_ATTACHMENTS)


_READY_ATTACHMENTS = Prefetch(
    "attachments",
    queryset=Attachment.objects.ready().order_by("created_at", "pk"),
    to_attr="ready_attachments",
)


def get_conversation(conversation_id: int, user: User) -> Conversation:
    """Raises ``NotFound`` if the user takes no part in it."""
    conversation = Conversation.objects.filter(pk=conversation_id, participants=user.pk).first()
    if conversation is None:
        raise NotFound
    return conversation
