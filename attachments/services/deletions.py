"""Notes of objects to delete: written with the deletion of rows, carried out after the commit.

The database writes them by its own clock, so that by no other is it told whether they are due.
"""

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from attachments import storage
from attachments.errors import StorageUnavailable
from attachments.models import ObjectDeletion
from attachments.rules.keys import hide_nonce

logger = logging.getLogger(__name__)

# For so long one run owns the notes that it took: longer than a DeleteObjects may take.
CLAIM = timedelta(minutes=2)
# What a request may delete after its commit, in calls of 1000 objects; the rest is a purge's work.
MAX_CALLS_AFTER_COMMIT = 10
# When the key of a copy that was given up is deleted again, each time after the last.
REPEAT_AFTER = (timedelta(hours=1), timedelta(days=1), timedelta(weeks=1))


def note_deletions(keys: Iterable[str]) -> None:
    """Note objects to delete that no deleted row names; in the transaction of the reason why."""
    ObjectDeletion.objects.bulk_create([ObjectDeletion(key=key, due_at=Now()) for key in keys])


def note_late_copy(key: str, *, upload_id: str) -> None:
    """Note the key of a copy that was given up: it may land long after it was deleted."""
    ObjectDeletion.objects.create(
        key=key, upload_id=upload_id, due_at=Now(), repeats=len(REPEAT_AFTER)
    )


def carry_out_deletions(*, max_calls: int | None = None) -> int:
    """Delete the objects of all notes that are due; give how many went.

    Several runs share the work. What a killed run took, or the store refused to delete, is for
    runs after ``CLAIM``. Raises ``StorageUnavailable``; every note is kept.
    """
    deleted = calls = 0
    while calls != max_calls and (notes := _claim_notes()):
        calls += 1
        deleted += _delete_noted(notes)
    return deleted


def carry_out_after_commit() -> None:
    """What a transaction noted, at once; that the store is down is logged, not raised."""
    try:
        carry_out_deletions(max_calls=MAX_CALLS_AFTER_COMMIT)
    except StorageUnavailable:
        logger.warning("The store is down: noted deletions wait for the next purge_orphans.")


def _claim_notes() -> list[ObjectDeletion]:
    """Own up to one call's notes; the newest first, which are those of this commit."""
    due = ObjectDeletion.objects.filter(due_at__lte=Now()).order_by("-pk")
    with transaction.atomic():
        notes = list(due.select_for_update(skip_locked=True)[: storage.MAX_DELETE])
        _get_rows(notes).update(due_at=Now() + CLAIM, attempts=F("attempts") + 1)
    return notes


def _delete_noted(notes: list[ObjectDeletion]) -> int:
    """Delete what these notes name; give how many notes were carried out."""
    try:
        for note in notes:
            if note.upload_id:
                storage.abort_copy(target=note.key, upload_id=note.upload_id)
        refused = storage.delete_objects(note.key for note in notes)
    except StorageUnavailable as error:
        _get_rows(notes).update(due_at=Now(), last_error=str(error.__cause__))
        raise
    for key, reason in refused.items():
        logger.error("The store refuses to delete %s: %s", hide_nonce(key), reason)
    for reason in set(refused.values()):
        keys = [key for key, given in refused.items() if given == reason]
        _get_rows(notes).filter(key__in=keys).update(last_error=reason)
    done = [note for note in notes if note.key not in refused]
    _get_rows([note for note in done if not note.repeats]).delete()
    for repeats, delay in enumerate(reversed(REPEAT_AFTER), start=1):
        if again := [note for note in done if note.repeats == repeats]:
            _get_rows(again).update(due_at=Now() + delay, repeats=repeats - 1, attempts=0)
    return len(done)


def _get_rows(notes: list[ObjectDeletion]) -> QuerySet[ObjectDeletion]:
    return ObjectDeletion.objects.filter(pk__in=[note.pk for note in notes])
