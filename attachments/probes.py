"""Questions that may never be answered, such as one to a store that hangs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, Generic, TypeVar

from django.db import connections

Answer = TypeVar("Answer")


class Unanswered(Exception):
    """No answer in time. It may still come."""


@dataclass(eq=False)
class _Run:
    begun: float = field(default_factory=monotonic)
    ended: float = 0
    is_over: Event = field(default_factory=Event)
    answer: Any = None
    error: Exception | None = None


class Probe(Generic[Answer]):
    """Asks one question, in a thread of its own, at most once at a time.

    The answer holds for a moment, so that a burst asks once. However many callers there are while
    nothing answers, one thread waits.
    """

    def __init__(
        self, ask: Callable[[], Answer], *, patience_seconds: float, fresh_seconds: float
    ) -> None:
        self._ask = ask
        self._patience, self._fresh = patience_seconds, fresh_seconds
        self._lock = Lock()
        self._run: _Run | None = None

    def start(self) -> None:
        """Let it ask while others are asked, too."""
        self._find_run()

    def get(self) -> Answer:
        """Raises ``Unanswered``, and what the question raises."""
        run = self._find_run()
        if not run.is_over.wait(max(run.begun + self._patience - monotonic(), 0)):
            raise Unanswered
        if run.error:
            raise run.error
        answer: Answer = run.answer
        return answer

    def forget(self) -> None:
        """Let the next caller ask anew."""
        with self._lock:
            self._run = None

    def _find_run(self) -> _Run:
        with self._lock:
            run = self._run
            if run is None or (run.is_over.is_set() and monotonic() > run.ended + self._fresh):
                run = self._run = _Run()
                # A daemon: a process that ends does not wait for it.
                Thread(target=self._do, args=(run,), name="probe", daemon=True).start()
            return run

    def _do(self, run: _Run) -> None:
        try:
            run.answer = self._ask()
        except Exception as error:  # noqa: BLE001 (each caller gets it)
            run.error = error
        finally:
            run.ended = monotonic()
            run.is_over.set()
            connections.close_all()  # this thread's own
