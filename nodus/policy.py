"""Who may read a message's attachments, and who may hang his own there: the participants."""

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import QuerySet

from attachments.policy import AccessPolicy
from nodus.messaging.models import Message


class ParticipantsPolicy(AccessPolicy):
    def readable_messages(self, user: AbstractBaseUser) -> QuerySet[Message]:
        return Message.objects.filter(conversation__participants=user.pk)

    def linkable_messages(self, user: AbstractBaseUser) -> QuerySet[Message]:
        return self.readable_messages(user)
