from django.db.models import Q

from attachments.policy import AccessPolicy
from chat.models import Post


class ReadersPolicy(AccessPolicy):
    def readable_messages(self, user):
        return Post.objects.filter(Q(author=user.pk) | Q(readers=user.pk))

    def linkable_messages(self, user):
        return Post.objects.filter(author=user.pk)
