"""Who may read the message that an attachment hangs on, and who may hang one there.

The host decides: it subclasses ``AccessPolicy`` and names the class in
``ATTACHMENTS["ACCESS_POLICY"]``. Both rules are querysets, so that one SQL filter serves detail,
list, download and delete alike, without a query per row.
"""

from typing import Any, Protocol

from django.apps import apps
from django.db.models import Model, QuerySet
from django.utils.module_loading import import_string

from attachments.conf import conf


class User(Protocol):
    """What this app needs of ``request.user``, whatever the host's user model is."""

    @property
    def pk(self) -> Any: ...


class AccessPolicy:
    """The host's rules about its messages. Uploaders and staff may see attachments without them.

    The querysets are filtered further, joined and counted: do not slice or combine them. Lists stay
    quick on a million rows if the database can answer two questions by indexes alone:

    - Is this one message among them? Every row that is shown is asked for by its message's key.
    - Which are the first few thousand of them? This is asked without an order.

    A plain join does both: messages of conversations that the user takes part in, with an index on
    the user in the table of participants and one on the conversation in the table of messages. An
    OR over two joins reads all messages for either. Join each by itself, and unite the keys::

        mine = Post.objects.filter(author=user.pk).order_by().values("pk")
        shared = Post.objects.filter(readers=user.pk).order_by().values("pk")
        return Post.objects.filter(pk__in=mine.union(shared))
    """

    def readable_messages(self, user: User) -> QuerySet[Any]:
        """The messages whose attachments ``user`` may see."""
        raise NotImplementedError

    def linkable_messages(self, user: User) -> QuerySet[Any]:
        """The messages that ``user`` may hang their own attachments on."""
        raise NotImplementedError


class OwnerOnlyPolicy(AccessPolicy):
    """The safe default: only uploaders and staff see attachments, and nobody can link them."""

    def readable_messages(self, user: User) -> QuerySet[Any]:
        return get_message_model()._default_manager.none()

    def linkable_messages(self, user: User) -> QuerySet[Any]:
        return get_message_model()._default_manager.none()


def get_message_model() -> type[Model]:
    """The host's message model, which ``ATTACHMENTS["MESSAGE_MODEL"]`` names."""
    return apps.get_model(conf.message_model)


def get_access_policy() -> AccessPolicy:
    """An instance of the host's policy, which ``ATTACHMENTS["ACCESS_POLICY"]`` names."""
    policy: AccessPolicy = import_string(conf.access_policy)()
    return policy
