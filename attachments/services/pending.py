"""Originals that nobody needs any more: deleted soon after the answer, many in one call."""

import atexit
import logging
from threading import Lock, Timer

from attachments import storage
from attachments.errors import StorageUnavailable

logger = logging.getLogger(__name__)

DELAY_SECONDS = 2

_keys: set[str] = set()
_lock = Lock()


def remove_soon(key: str) -> None:
    """Delete the object within seconds. A purge sweeps what a dying process leaves."""
    with _lock:
        _keys.add(key)
        is_first = len(_keys) == 1
    if is_first:
        timer = Timer(DELAY_SECONDS, remove_now)
        timer.daemon = True
        timer.start()


def remove_now() -> None:
    """Delete what waits."""
    with _lock:
        keys = set(_keys)
        _keys.clear()
    if not keys:
        return
    try:
        storage.delete_objects(keys)
    except StorageUnavailable:
        logger.warning("Left for the next purge_orphans: %s uploads under pending/.", len(keys))


atexit.register(remove_now)
