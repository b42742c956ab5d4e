import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone
from django.utils.translation import gettext as _

from attachments import services
from attachments.management.serving import serve_metrics
from attachments.management.terminal import stop_at_outages

logger = logging.getLogger(__name__)

# So that the schedule soon takes over what another machine has left.
MAX_PAUSE_SECONDS = 30


class Command(BaseCommand):
    help = _(
        "Run the periodic work until it is stopped: each minute what waits for a worker; each hour "
        "the clean-up of idempotency keys and the figures of the usage page; each day the purge. "
        "Any number of machines may run it: each job runs on one at a time. It may be killed at "
        "any moment. With --once, the exit status is 2 if the database did not answer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help=_("run what is due, then end"))

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            with stop_at_outages():
                services.run_due_jobs()
            return
        with _ending_at_sigterm() as is_ended, serve_metrics():
            while not is_ended.wait(_run_due_jobs()):
                pass


def _run_due_jobs() -> float:
    """Give how long to sleep then, in seconds."""
    try:
        services.run_due_jobs()
        due_at = services.find_next_due()
    except (OperationalError, InterfaceError) as error:
        logger.warning("The schedule waits for the database: %s", error)
        due_at = None
    connection.close()  # rather than hold it for nothing, or keep one that is broken
    pause = (due_at - timezone.now()).total_seconds() if due_at else MAX_PAUSE_SECONDS
    return min(max(pause, 1), MAX_PAUSE_SECONDS)


@contextmanager
def _ending_at_sigterm() -> Iterator[Event]:
    """Give what says that the end was asked for, if ``SystemExit`` got lost on its way.

    Raised within a statement, it leaves a connection that takes no other, and whatever tidies up
    there raises ``OperationalError`` in its place.
    """
    is_ended = Event()

    def end(signum: int, frame: FrameType | None) -> NoReturn:
        is_ended.set()
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield is_ended
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
