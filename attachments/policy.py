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
    """The host's rules about its messages. Uploaders and staff may see attachments without them."""

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
