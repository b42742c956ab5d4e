"""Originals that nobody needs any more: deleted soon after the answer, many in one call."""

import atexit
import logging
from threading import Lock, Timer

from attachments import storage
from attachments.errors import StorageUnavailable

logger = logging.getLogger(__name__)

DELAY_SECONDS = 2


class _Originals:
    """The keys that wait in this process, and the timer of the first of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: set[str] = set()
        self._timer: Timer | None = None

    def add(self, key: str) -> None:
        with self._lock:
            self._keys.add(key)
            if self._timer is None:
                self._timer = Timer(DELAY_SECONDS, remove_now)
                self._timer.daemon = True
                self._timer.start()

    def take(self) -> set[str]:
        with self._lock:
            keys, self._keys = self._keys, set()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        return keys


_originals = _Originals()


def remove_soon(key: str) -> None:
    """Delete the object within seconds. A purge sweeps what a dying process leaves."""
    _originals.add(key)


def remove_now() -> None:
    """Delete what waits."""
    keys = _originals.take()
    if not keys:
        return
    try:
        storage.delete_objects(keys)
    except StorageUnavailable:
        logger.warning("Left for the next purge_orphans: %s uploads under pending/.", len(keys))


atexit.register(remove_now)
