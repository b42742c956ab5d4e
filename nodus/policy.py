"""The participants of a conversation may read its attachments, and hang their own on messages."""

from django.db.models import QuerySet

from attachments.policy import AccessPolicy, User
from nodus.messaging.models import Conversation, Message


class ParticipantsPolicy(AccessPolicy):
    def readable_messages(self, user: User) -> QuerySet[Message]:
        # From participants to messages, without the table of conversations between them.
        participations = Conversation.participants.through.objects.filter(user=user.pk)
        return Message.objects.filter(conversation__in=participations.values("conversation"))

    def linkable_messages(self, user: User) -> QuerySet[Message]:
        return self.readable_messages(user)
