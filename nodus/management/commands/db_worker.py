"""django-tasks-db's worker, for a database that restarts and an admin that looks for workers."""

import logging
import signal
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connection, connections
from django_tasks_db.management.commands import db_worker

from attachments import services
from attachments.management.operating import EndingCommand
from attachments.metrics import serve_metrics

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2
SIGN_SECONDS = 30
# Of a worker that is gone, the admin says so after this time.
SIGN_WITHIN = timedelta(minutes=2)


class Command(EndingCommand, db_worker.Command):
    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(reload=False)  # the reloader goes on when the worker has died

    def handle(self, *, batch: bool, **options: Any) -> None:
        if batch:
            super().handle(batch=batch, **options)
            return
        with _leaving_signs(), serve_metrics():
            while not self._work(**options):
                connections.close_all()
                time.sleep(RETRY_SECONDS)

    def _work(self, **options: Any) -> bool:
        """Work until told to stop; give False if the database went away before."""
        try:
            super().handle(batch=False, **options)
        except (InterfaceError, OperationalError) as error:
            if _is_told_to_stop():
                return True
            logger.warning("The worker waits for the database: %s", error)
            return False
        return True


def _is_told_to_stop() -> bool:
    """Whether a signal came while the worker was busy: it would have stopped after its task."""
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return isinstance(worker, db_worker.Worker) and not worker.running


@contextmanager
def _leaving_signs() -> Iterator[None]:
    """In a thread, because a task may take long."""
    is_over = Event()

    def leave_signs() -> None:
        while not is_over.is_set():
            with suppress(Error):  # the worker itself says what is wrong
                services.note_sign(next_within=SIGN_WITHIN)
            connection.close()
            is_over.wait(SIGN_SECONDS)

    thread = Thread(target=leave_signs, name="signs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
