"""One piece of work among many, so that its failure keeps no other from being done."""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError

from attachments.errors import OUTAGES

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def run_isolated(work: Callable[[], Result], *, name: str) -> Result | Exception:
    """Do it; give its result, or what it failed with, which is logged.

    Raises ``OperationalError`` or ``InterfaceError`` if the database does not answer, since then
    the other pieces fail, too.
    """
    try:
        return work()
    except OUTAGES as error:
        logger.warning("Left undone: %s: %s", name, error)
        return error
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # of the host's own code, perhaps
        logger.exception("Left undone: %s", name)
        return error
