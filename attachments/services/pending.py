"""Originals that nobody needs any more: deleted soon after the answer, many in one call."""

from contextlib import suppress
from functools import partial

from django.db.transaction import on_commit

from attachments import events, storage
from attachments.errors import StorageUnavailable
from attachments.services.soon import Soon


def _remove(keys: list[str]) -> None:
    with suppress(StorageUnavailable):  # which was told; the next purge does it
        refused = len(storage.delete_objects(keys))
        events.objects_deleted.tell(count=len(keys) - refused, refused_count=refused)


_originals = Soon(_remove)


def remove_soon(key: str) -> None:
    """Delete the object within seconds after the commit: a confirm that is rolled back needs it.

    A purge sweeps what a dying process leaves.
    """
    on_commit(partial(_originals.add, key))


def remove_now() -> None:
    """Delete what waits."""
    _originals.do_now()
