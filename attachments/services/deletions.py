"""Notes of objects to delete: written with the deletion of rows, carried out after the commit.

A request carries out the notes that it caused, and no others: a backlog belongs to
``purge_orphans`` and to a task. The database writes notes by its own clock, and only that clock
tells whether they are due.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from attachments import events, storage
from attachments.errors import StorageUnavailable
from attachments.models import ObjectDeletion
from attachments.rules.keys import QUARANTINE, THUMBNAILS, hide_nonce
from attachments.storage.threads import run_in_order

logger = logging.getLogger(__name__)

# For so long one run owns the notes that it took: longer than a DeleteObjects may take.
CLAIM = timedelta(minutes=2)
# A request deletes the objects of so many keys itself: those of about a thousand rows, as each row
# may own three. A task does the rest.
MAX_OWN_ROWS = 1000
MAX_OWN_KEYS = 3 * MAX_OWN_ROWS
# What the store refused is tried again after a minute, then after twice as long each time.
FIRST_DELAY = timedelta(minutes=1)
MAX_DELAY = timedelta(days=1)
# When the key of a copy that was given up is deleted again, each time after the last.
REPEAT_AFTER = (timedelta(hours=1), timedelta(days=1), timedelta(weeks=1))
# Whoever makes an object that no row names yet has so long to let a row name it.
MAKING_TIME = timedelta(hours=1)
ABORTS_AT_ONCE = 8
MAX_LOGGED_KEYS = 3


def note_deletions(keys: Iterable[str]) -> None:
    """Note objects to delete that no deleted row names; in the transaction of the reason why."""
    ObjectDeletion.objects.bulk_create([ObjectDeletion(key=key, due_at=Now()) for key in keys])


def note_late_copy(key: str, *, upload_id: str) -> None:
    """Note the key of a copy that was given up: it may land long after it was deleted."""
    ObjectDeletion.objects.create(
        key=key, upload_id=upload_id, due_at=Now(), repeats=len(REPEAT_AFTER)
    )


def note_made(*keys: str, within: timedelta = MAKING_TIME) -> None:
    """Note objects about to be made: they go, unless ``keep_made`` is called ``within`` that."""
    ObjectDeletion.objects.bulk_create(
        [ObjectDeletion(key=key, due_at=Now() + within, repeats=len(REPEAT_AFTER)) for key in keys]
    )


def keep_made(*keys: str) -> set[str]:
    """Drop the notes of these, in the transaction in which rows name the objects.

    Gives the keys whose notes were dropped: for the others it is too late.
    """
    untouched = ObjectDeletion.objects.filter(attempts=0, repeats=len(REPEAT_AFTER))
    kept = untouched.filter(key__in=keys).select_for_update().values_list("key", flat=True)
    found = set(kept)
    untouched.filter(key__in=found).delete()
    return found


def drop_made(*keys: str) -> None:
    """Let the objects go at once: no row will name them."""
    notes = ObjectDeletion.objects.filter(key__in=keys)
    notes.update(due_at=Now())
    with _log_outages():
        carry_out_notes(notes)


def carry_out_deletions() -> int:
    """Delete the objects of all notes that are due now; give how many went.

    What becomes due meanwhile is for the next run, so that this one ends. Several runs share the
    work. What a killed run took is for runs after ``CLAIM``, and what the store refused for later
    ones. Raises ``StorageUnavailable``; every note is kept.
    """
    now = ObjectDeletion.objects.values_list(Now(), flat=True).first()
    if now is None:
        return 0
    # One millisecond more, because SQLite's clock has no finer digits.
    due = ObjectDeletion.objects.filter(due_at__lte=now + timedelta(milliseconds=1))
    deleted = 0
    while notes := _claim_notes(due):
        deleted += _delete_noted(notes)
    return deleted


def carry_out_notes(due: QuerySet[ObjectDeletion]) -> int:
    """Delete the objects of these notes, a call's worth at most; give how many went."""
    return _delete_noted(_claim_notes(due.filter(due_at__lte=Now())))


def carry_out_notes_of(attachment_id: UUID) -> None:
    """Delete what is noted of this attachment, by whatever attempt to publish it.

    That the store or the database is down is logged, not raised: the caller's own work is done.
    """
    keys = (
        Q(key__startswith=f"attachments/{attachment_id}/")
        | Q(key__startswith=f"{QUARANTINE}{attachment_id}/")
        | Q(key__startswith=f"{THUMBNAILS}{attachment_id}/")
        | Q(key=f"pending/{attachment_id}")
    )
    with _log_outages():
        carry_out_notes(ObjectDeletion.objects.filter(keys))


class OwnNotes:
    """The keys that one transaction noted: called after its commit, it deletes their objects.

    Those of ``MAX_OWN_KEYS`` at most. Keys of a savepoint that was rolled back may stay here: they
    have no notes. If they are left, the caller carries them out, or a task.
    """

    def __init__(self, keys: Iterable[str] = (), *, are_left: bool = False) -> None:
        self._keys: dict[str, None] = {}
        self._are_left = are_left
        self._has_more = False
        self._last_id: UUID | None = None
        self.row_count = 0
        self.add(keys)

    @classmethod
    def find(cls, using: str | None) -> "OwnNotes | None":
        """Those of the current transaction, if it has any yet.

        Not those of a savepoint that is over: a host's ``TestCase`` may have left them behind. What
        was registered in a savepoint goes if that is rolled back, with all that was added.
        """
        connection = transaction.get_connection(using)
        unfinished = {None, *connection.savepoint_ids}
        waiting = (
            function
            for savepoints, function, *_ in connection.run_on_commit
            if savepoints <= unfinished
        )
        return next((function for function in waiting if isinstance(function, cls)), None)

    def add(self, keys: Iterable[str]) -> None:
        if self._are_left:
            return
        for key in keys:
            if len(self._keys) < MAX_OWN_KEYS:
                self._keys[key] = None
            elif key not in self._keys:
                self._has_more = True

    def count(self, attachment_id: UUID) -> None:
        """One more row goes in this transaction."""
        self.row_count += 1
        self._last_id = attachment_id

    def __call__(self) -> None:
        if self.row_count:
            only_id = self._last_id if self.row_count == 1 else None
            events.deleted.tell(attachment_id=only_id, count=self.row_count)
        with _log_outages():
            for keys in _split(self._keys, storage.MAX_DELETE):
                carry_out_notes(ObjectDeletion.objects.filter(key__in=keys))
            if self._has_more:
                events.deletions_left.send(sender=ObjectDeletion)


@contextmanager
def _log_outages() -> Iterator[None]:
    try:
        yield
    except StorageUnavailable:
        pass  # it was told, and the notes wait for the next purge_orphans
    except (OperationalError, InterfaceError) as error:
        logger.warning("Noted deletions wait for the next purge_orphans: %s", error)


def _split(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    remaining = iter(keys)
    while batch := list(islice(remaining, size)):
        yield batch


def _claim_notes(due: QuerySet[ObjectDeletion]) -> list[ObjectDeletion]:
    """Own up to one call's notes. In the order of the index, which thus reads due notes alone."""
    with transaction.atomic():
        found = due.order_by("due_at").select_for_update(skip_locked=True)
        notes = list(found[: storage.MAX_DELETE])
        _get_rows(notes).update(due_at=Now() + CLAIM, attempts=F("attempts") + 1)
    return notes


def _delete_noted(notes: list[ObjectDeletion]) -> int:
    """Delete what these notes name; give how many notes were carried out."""
    if not notes:
        return 0
    try:
        refused = _abort_copies(notes) | _delete_objects({note.key for note in notes})
    except StorageUnavailable as error:
        _get_rows(notes).update(due_at=Now(), last_error=str(error.__cause__))
        raise
    log_refusals(refused)
    failed = [note for note in notes if note.key in refused]
    for note in failed:
        note.attempts += 1
        note.due_at = Now() + get_delay(note.attempts)
        note.last_error = refused[note.key]
    repeated = [note for note in notes if note.key not in refused and note.repeats]
    for note in repeated:
        note.due_at = Now() + REPEAT_AFTER[-note.repeats]
        note.repeats, note.attempts, note.last_error = note.repeats - 1, 0, ""
    kept = failed + repeated
    ObjectDeletion.objects.bulk_update(kept, ["due_at", "repeats", "attempts", "last_error"])
    kept_ids = {note.pk for note in kept}
    _get_rows([note for note in notes if note.pk not in kept_ids]).delete()
    events.objects_deleted.tell(count=len(notes) - len(failed), refused_count=len(failed))
    return len(notes) - len(failed)


def get_delay(attempts: int) -> timedelta:
    """How long a note waits that the store has refused so often."""
    doublings = min(attempts - 1, 30)  # a timedelta holds no more
    return min(FIRST_DELAY * (1 << doublings), MAX_DELAY)


def _abort_copies(notes: list[ObjectDeletion]) -> dict[str, str]:
    """Abort what was begun; give the store's reasons where it refuses, by key."""
    begun = [note for note in notes if note.upload_id]

    def abort(note: ObjectDeletion) -> str:
        return storage.abort_copy(target=note.key, upload_id=note.upload_id)

    reasons = run_in_order(abort, begun, threads=ABORTS_AT_ONCE)
    return {note.key: reason for note, reason in zip(begun, reasons, strict=True) if reason}


def _delete_objects(keys: set[str]) -> dict[str, str]:
    """Delete these objects; give the reasons of what cannot be deleted, by key."""
    impossible = {key for key in keys if not storage.can_delete(key)}
    reasons = dict.fromkeys(impossible, "InvalidKey: DeleteObjects cannot name it.")
    return reasons | storage.delete_objects(keys - impossible)


def log_refusals(refused: Mapping[str, str]) -> None:
    """One line for each code of the store, with the first few keys. The whole reasons are kept."""
    keys_by_code: dict[str, list[str]] = {}
    for key in sorted(refused):
        keys_by_code.setdefault(refused[key].partition(":")[0], []).append(key)
    for code, keys in keys_by_code.items():
        first = ", ".join(hide_nonce(key) for key in keys[:MAX_LOGGED_KEYS])
        more = ", ..." if len(keys) > MAX_LOGGED_KEYS else ""
        logger.error("The store refuses to delete %s (%s): %s%s", len(keys), code, first, more)


def _get_rows(notes: list[ObjectDeletion]) -> QuerySet[ObjectDeletion]:
    return ObjectDeletion.objects.filter(pk__in=[note.pk for note in notes])
