"""The participants of a conversation may read its attachments, and hang their own on messages."""

from django.db.models import QuerySet

from attachments.policy import AccessPolicy, User
from nodus.messaging.models import Message


class ParticipantsPolicy(AccessPolicy):
    def readable_messages(self, user: User) -> QuerySet[Message]:
        return Message.objects.filter(conversation__participants=user.pk)

    def linkable_messages(self, user: User) -> QuerySet[Message]:
        return self.readable_messages(user)
