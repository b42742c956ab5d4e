"""What the search box of the list finds."""

import re
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from attachments.models import Attachment

# At most this many users whose names begin with the term. To find others, people type more.
MAX_OWNERS = 20
# An id as people copy it: with or without dashes, alone or as part of a key.
_ID = re.compile(r"(?:^|/)([0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12})(?:/|$)", re.IGNORECASE)


def search_attachments(rows: QuerySet[Attachment], term: str) -> QuerySet[Attachment]:
    """Rows whose filename or owner begins with ``term``, or whose id or key is ``term``.

    Each of these has an index, so that a search costs no more on a million rows.
    """
    wanted = Q(filename__istartswith=term)
    if found := _ID.search(term):
        wanted |= Q(pk=UUID(found[1]))
    if owners := _find_owners(term):
        wanted |= Q(user__in=owners)
    return rows.filter(wanted)


def _find_owners(term: str) -> list[object]:
    user_model = get_user_model()
    name = user_model.USERNAME_FIELD
    users = user_model._default_manager.filter(**{f"{name}__startswith": term})
    return list(users.order_by(name).values_list("pk", flat=True)[:MAX_OWNERS])
