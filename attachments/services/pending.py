"""Originals that nobody needs any more: deleted soon after the answer, many in one call."""

import logging

from attachments import storage
from attachments.errors import StorageUnavailable
from attachments.services.soon import Soon

logger = logging.getLogger(__name__)


def _remove(keys: list[str]) -> None:
    try:
        storage.delete_objects(keys)
    except StorageUnavailable:
        logger.warning("Left for the next purge_orphans: %s uploads under pending/.", len(keys))


_originals = Soon(_remove)


def remove_soon(key: str) -> None:
    """Delete the object within seconds. A purge sweeps what a dying process leaves."""
    _originals.add(key)


def remove_now() -> None:
    """Delete what waits."""
    _originals.do_now()
