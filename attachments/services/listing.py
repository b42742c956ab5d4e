"""The list of what a user may see, one page at a time, without reading the rest.

``visible_to`` is right but slow here: below an ORDER BY, its OR makes the database walk the whole
table for whoever sees little. So two narrow statements find the ids, the user's own and those on
messages, and ``visible_to`` reads only these. docs/decisions/0013-lists.md tells more.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Coalesce

from attachments.models import Attachment
from attachments.paging import Window
from attachments.policy import User, get_access_policy

# They bound the two quick ways. _ask_messages alone grows with what the user may read.
FEW_MESSAGES = 1_000
"""Up to so many readable messages are named to the database, which knows then how few they are."""
MAX_WALKED = 4_000
"""For who may read more, so many attachments are walked first, newest first."""


@dataclass(frozen=True, kw_only=True)
class VisibleAttachments:
    """A ``paging.Source``: what ``user`` may see, also only of one message or of one status."""

    user: User
    message_id: Any = None
    status: str | None = None

    model = Attachment

    def read(self, window: Window) -> tuple[list[Attachment], bool]:
        visible = Attachment.objects.visible_to(self.user)
        if self.message_id is not None:  # few rows, and an index has them in order
            return window.read(self._filter(visible.filter(message=self.message_id)))
        if getattr(self.user, "is_staff", False):
            return window.read(self._filter(visible))
        if self.user.pk is None:
            return [], False
        places = window.merge([*self._find_owned(window), *self._find_shared(window)])
        ids = [pk for *_, pk in places[: window.size]]
        # Others may delete rows in between: what follows is told by the places, not by the rows.
        rows, _ = window.read(visible.filter(pk__in=ids)) if ids else ([], False)
        return rows, len(places) > window.size

    def _filter(self, queryset: QuerySet[Attachment]) -> QuerySet[Attachment]:
        return queryset.filter(status=self.status) if self.status else queryset

    def _find_owned(self, window: Window) -> list[tuple[Any, ...]]:
        owned = self._filter(Attachment.objects.filter(user_id=self.user.pk))
        return _read_places(window.arrange(owned), window)

    def _find_shared(self, window: Window) -> list[tuple[Any, ...]]:
        if self.status not in (None, Attachment.Status.READY):
            return []
        readable = get_access_policy().readable_messages(self.user).order_by()
        ids = list(readable.values_list("pk", flat=True)[: FEW_MESSAGES + 1])
        if not ids:
            return []
        if len(ids) <= FEW_MESSAGES:
            rows = Attachment.objects.shared().filter(message__in=set(ids))
            return _sort_all(rows.filter(window.is_beyond(Attachment)), window)
        found = _walk_shared(readable, window)
        return _ask_messages(readable, window) if found is None else found


def _walk_shared(readable: QuerySet[Any], window: Window) -> list[tuple[Any, ...]] | None:
    """Look through the newest; None if so many of them do not fill the page."""
    ahead = window.arrange(Attachment.objects.shared())
    last = ahead.values_list(*window.names)[MAX_WALKED - 1 : MAX_WALKED].first()
    rows = ahead.filter(Exists(readable.filter(pk=OuterRef("message"))))
    if last is not None:
        rows = rows.filter(window.is_before(last, Attachment))
    found = _read_places(rows, window)
    return None if last is not None and len(found) < window.limit else found


def _ask_messages(readable: QuerySet[Any], window: Window) -> list[tuple[Any, ...]]:
    """Look at all that hangs on any of these messages."""
    prefix = "attachments__"
    of_messages = readable.filter(
        window.is_beyond(Attachment, prefix=prefix), attachments__status=Attachment.Status.READY
    )
    return _sort_all(of_messages, window, prefix=prefix)


def _sort_all(rows: QuerySet[Any], window: Window, *, prefix: str = "") -> list[tuple[Any, ...]]:
    """The first places of all these rows.

    No index has the order of COALESCE: so the database begins with the messages, and cannot choose
    to walk through everybody's attachments until the page is full.
    """
    moment, pk = (prefix + name for name in window.names)
    places = rows.annotate(_moment=Coalesce(moment, moment)).values_list("_moment", pk).distinct()
    return list(places.order_by(*window.sort_by(("_moment", pk)))[: window.limit])


def _read_places(rows: QuerySet[Attachment], window: Window) -> list[tuple[Any, ...]]:
    return list(rows.values_list(*window.names)[: window.limit])
