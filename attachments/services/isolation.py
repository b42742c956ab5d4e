"""One piece of work among many, so that its failure keeps no other from being done."""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError

from attachments.errors import OUTAGES, ScannerUnavailable, StorageUnavailable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def run_isolated(work: Callable[[], Result], *, name: str) -> Result | Exception:
    """Do it; give its result, or what it failed with, which is logged.

    What the store or the scanner said is in the log by its event, and not said again.

    Raises ``OperationalError`` or ``InterfaceError`` if the database does not answer, since then
    the other pieces fail, too.
    """
    try:
        return work()
    except OUTAGES as error:
        is_told = isinstance(error, StorageUnavailable | ScannerUnavailable)
        logger.warning("Left undone: %s: %s", name, type(error).__name__ if is_told else error)
        return error
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # of the host's own code, perhaps
        logger.exception("Left undone: %s", name)
        return error
