import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Any, NoReturn

from django.core.management.base import CommandParser
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone
from django.utils.translation import gettext as _

from attachments import services
from attachments.errors import OUTAGES
from attachments.management.operating import OperatorCommand
from attachments.management.outages import SOMETHING_IS_WRONG
from attachments.management.serving import serve_metrics

Tell = Callable[[services.JobRun], None]

logger = logging.getLogger(__name__)

# So that the schedule soon takes over what another machine has left.
MAX_PAUSE_SECONDS = 30


class Command(OperatorCommand):
    help = _(
        "Run the periodic work until it is stopped: each minute what waits for a worker; each hour "
        "the clean-up of idempotency keys and the figures of the usage page; each day the purge. "
        "Any number of machines may run it: each job runs on one at a time. It may be killed at "
        "any moment. With --once, the exit status is 0 if all that was due was done; 1 if a job "
        "failed; 2 if the store or the database did not answer. With --json, each run of a job is "
        "a line."
    )
    writes_lines = True

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--once", action="store_true", help=_("run what is due, then end"))

    def handle(self, *args: Any, **options: Any) -> None:
        tell = self._print_line if options["json"] else self._print
        if options["once"]:
            self._run_once(tell)
            return
        if not options["json"]:
            tell = _keep_silent  # the log has its line of each
        with _ending_at_sigterm() as is_ended, serve_metrics():
            while not is_ended.wait(_run_due_jobs(tell)):
                pass

    def _run_once(self, tell: Tell) -> None:
        """Raises the outage that a job met, when all that was due was tried."""
        failed: list[services.JobRun] = []

        def note(run: services.JobRun) -> None:
            tell(run)
            failed.extend([] if run.is_done else [run])

        services.run_due_jobs(on_run=note)
        for run in failed:
            if isinstance(run.error, OUTAGES):
                raise run.error
        if failed:
            sys.exit(SOMETHING_IS_WRONG)

    def _print(self, run: services.JobRun) -> None:
        text = _("%(job)s: done") if run.is_done else _("%(job)s: left undone (%(error)s)")
        self.stdout.write(text % {"job": run.job, "error": run.error})

    def _print_line(self, run: services.JobRun) -> None:
        error = None if run.is_done else str(run.error)
        self.print_json({"job": run.job, "seconds": run.seconds, "error": error})


def _keep_silent(run: services.JobRun) -> None:
    pass


def _run_due_jobs(tell: Tell = _keep_silent) -> float:
    """Give how long to sleep then, in seconds."""
    try:
        services.run_due_jobs(on_run=tell)
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
