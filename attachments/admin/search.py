"""What the search box of the list finds."""

import re
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Q, QuerySet

from attachments.models import Attachment

# At most this many users whose names begin with the term. To find others, people type more.
MAX_OWNERS = 20
MIN_PART = 3
"""Letters of a part of a name: a trigram index knows nothing of fewer."""
# An id as people copy it: with or without dashes, alone or as part of a key.
_ID = re.compile(r"(?:^|/)([0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12})(?:/|$)", re.IGNORECASE)
# How an id begins. Its first digits are its time: fewer than four stand for years of ids.
_BEGINNING = re.compile(r"[0-9a-f]{4}[0-9a-f-]{0,32}", re.IGNORECASE)


def search_attachments(rows: QuerySet[Attachment], term: str) -> QuerySet[Attachment]:
    """Rows whose filename, owner or id begins with ``term``, or whose key is ``term``.

    Each of these has an index, so that a search costs no more on a million rows. Where there is an
    index of trigrams, also what is ready and has ``term`` inside of its filename.
    """
    wanted = Q(filename__istartswith=term)
    if len(term) >= MIN_PART and _has_trigrams(rows.db):
        wanted |= Q(filename__icontains=term, status=Attachment.Status.READY)
    if found := _ID.search(term):
        wanted |= Q(pk=UUID(found[1]))
    elif _BEGINNING.fullmatch(term):
        wanted |= Q(pk__range=_find_bounds(term))
    if owners := _find_owners(term, rows.db):
        wanted |= Q(user__in=owners)
    return rows.filter(wanted)


def _has_trigrams(alias: str) -> bool:
    if connections[alias].vendor != "postgresql":
        return False
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT to_regclass('attachments_filename_trigrams') IS NOT NULL")
        return bool(cursor.fetchone()[0])


def _find_bounds(beginning: str) -> tuple[UUID, UUID]:
    """The first and the last id that may begin so."""
    digits = beginning.replace("-", "")[:32]
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def _find_owners(term: str, alias: str) -> list[object]:
    user_model = get_user_model()
    name = user_model.USERNAME_FIELD
    users = user_model._default_manager.using(alias).filter(**{f"{name}__startswith": term})
    return list(users.order_by(name).values_list("pk", flat=True)[:MAX_OWNERS])
