"""Rows that rows of the host protect: their foreign keys are PROTECT, RESTRICT or DO_NOTHING.

The database finds them, so that what is protected costs no memory and stops nobody. What it cannot
see beforehand, such as a RESTRICT behind a CASCADE, is found by trying.
"""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import (
    CASCADE,
    DO_NOTHING,
    PROTECT,
    RESTRICT,
    Exists,
    Model,
    OuterRef,
    Q,
    QuerySet,
)
from django.db.models.deletion import get_candidate_relations_to_delete

from attachments.models import Attachment

Rows = TypeVar("Rows", bound=QuerySet[Attachment])


def has_host_rows() -> bool:
    """Whether rows of the host may hang on attachments."""
    return bool(_list_relations(Attachment))


def exclude_protected(rows: Rows) -> Rows:
    for protector in _find_protectors():
        rows = rows.filter(~protector)
    return rows


def only_protected(rows: Rows) -> Rows:
    protectors = _find_protectors()
    return rows.filter(Q(*protectors, _connector=Q.OR)) if protectors else rows.none()


def delete_unprotected(pks: Sequence[UUID]) -> tuple[set[UUID], int]:
    """Delete these rows but for those that a row of the host protects after all.

    Gives the ids of what is protected, and the number of deleted rows. If some are protected, it
    tries each half.
    """
    try:
        with transaction.atomic():
            deleted = Attachment.objects.filter(pk__in=pks).delete()[1]
            return set(), deleted.get(Attachment._meta.label, 0)
    except IntegrityError:  # ProtectedError and RestrictedError are, too
        if len(pks) == 1:
            return set(pks), 0
    middle = len(pks) // 2
    first, second = delete_unprotected(pks[:middle]), delete_unprotected(pks[middle:])
    return first[0] | second[0], first[1] + second[1]


def _find_protectors() -> list[Exists]:
    """A condition for each relation by which a row of the host may protect an attachment."""
    return _look_behind(Attachment, {Attachment})


def _look_behind(model: type[Model], seen: set[type[Model]]) -> list[Exists]:
    """Also what protects a row that would be deleted with the attachment, however far away.

    Only the nearest RESTRICT counts: one behind a CASCADE lets go what is deleted with it.
    """
    protecting = {PROTECT, RESTRICT} if model is Attachment else {PROTECT}
    found = []
    for relation in _list_relations(model):
        field, theirs = relation.field, relation.related_model
        rows = theirs._base_manager.filter(**{field.name: OuterRef(field.target_field.attname)})
        is_kept = relation.on_delete is DO_NOTHING and field.db_constraint
        if relation.on_delete in protecting or is_kept:
            found.append(Exists(rows))
        elif relation.on_delete is CASCADE and theirs not in seen:
            found += [
                Exists(rows.filter(further)) for further in _look_behind(theirs, seen | {theirs})
            ]
    return found


def _list_relations(model: type[Model]) -> list[Any]:
    """Foreign keys to the model, also those without a name for the way back."""
    return list(get_candidate_relations_to_delete(model._meta))
