"""Who may read the message that an attachment hangs on, who may hang one there, and how much.

The host decides: it subclasses ``AccessPolicy`` and names the class in
``ATTACHMENTS["ACCESS_POLICY"]``. Its rules about messages are querysets, so that one SQL filter
serves detail, list, download and delete alike, without a query per row.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from django.apps import apps
from django.db.models import Model, QuerySet
from django.utils.module_loading import import_string

from attachments.conf import conf
from attachments.rules.setting_values import explain_wrong_rate


class User(Protocol):
    """What this app needs of ``request.user``, whatever the host's user model is."""

    @property
    def pk(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one user may do. None is no limit."""

    presign_rate: str | None
    """How often they may ask for forms, as ``"10/minute"``."""
    confirm_rate: str | None
    max_size_bytes: int
    """The size of their largest file."""
    content_types: tuple[str, ...]
    quota_bytes: int | None
    """What their files may take together, and what unconfirmed uploads are allowed to."""
    max_unconfirmed: int | None
    """How many uploads may be under way."""

    def __post_init__(self) -> None:
        """Raises ``ValueError``: nonsense would be no limit, or fail where nothing tells why."""
        for name in ("presign_rate", "confirm_rate"):
            if wanted := explain_wrong_rate(getattr(self, name)):
                raise ValueError(f"{name} must be {wanted}.")
        for name in ("max_size_bytes", "quota_bytes", "max_unconfirmed"):
            value = getattr(self, name)
            is_unlimited = value is None and name != "max_size_bytes"
            if not is_unlimited and not (isinstance(value, int) and value >= 0):
                raise ValueError(f"{name} must be a whole number, 0 or more, not {value!r}.")
        if not isinstance(self.content_types, tuple | list):
            raise ValueError("content_types must be a tuple of strings.")

    @property
    def are_on_use(self) -> bool:
        """Whether it matters how much they have."""
        return self.quota_bytes is not None or self.max_unconfirmed is not None


class AccessPolicy:
    """The host's rules about its messages and users.

    Uploaders and staff may see attachments without them.

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

    def get_limits(self, user: User) -> Limits:
        """What ``user`` may do: by default what the settings say.

        Each request asks once or twice: what takes long belongs in a cache of the host. ``user`` is
        the one of the request. A host that throttles by itself gives no rates.
        """
        return Limits(
            presign_rate=conf.presign_rate,
            confirm_rate=conf.confirm_rate,
            max_size_bytes=conf.max_size_bytes,
            content_types=conf.allowed_content_types,
            quota_bytes=conf.quota_bytes,
            max_unconfirmed=conf.max_unconfirmed,
        )


class OwnerOnlyPolicy(AccessPolicy):
    """The safe default: only uploaders and staff see attachments, and nobody can link them."""

    def readable_messages(self, user: User) -> QuerySet[Any]:
        return get_message_model()._default_manager.none()

    def linkable_messages(self, user: User) -> QuerySet[Any]:
        return get_message_model()._default_manager.none()


def get_message_model() -> type[Model]:
    """The host's message model, which ``ATTACHMENTS["MESSAGE_MODEL"]`` names."""
    return apps.get_model(conf.message_model)


def get_limits(user: User) -> Limits:
    """What the host's policy lets this user do."""
    return get_access_policy().get_limits(user)


def get_access_policy() -> AccessPolicy:
    """An instance of the host's policy, which ``ATTACHMENTS["ACCESS_POLICY"]`` names."""
    policy: AccessPolicy = import_string(conf.access_policy)()
    return policy
