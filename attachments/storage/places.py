"""How many requests of a process may wait for the store at once.

A store that hangs would otherwise hold every thread of the server, one request after the other.
Workers and commands wait for the store as long as it takes: they keep nobody from being served.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Condition
from time import monotonic

from botocore.exceptions import BotoCoreError

from attachments import events
from attachments.conf import conf
from attachments.errors import StorageUnavailable

# Others are about to be done if they began only now. If all are older, the store is slow or hangs.
# A busy machine takes its time, too, and is no reason to turn anybody away.
PATIENCE_SECONDS = 2
MAX_WAIT_SECONDS = 5

in_request: ContextVar[bool] = ContextVar("in_request", default=False)
"""Whether a client waits for what this thread does."""
_has_place: ContextVar[bool] = ContextVar("has_place", default=False)


@dataclass
class _Places:
    """Those of this process."""

    change: Condition = field(default_factory=Condition)
    begun: list[float] = field(default_factory=list)
    """When those began who have a place now."""
    has_failed: bool = False
    """The store did not answer whoever had a place last."""

    def take(self) -> float:
        """Give when it began. Raises ``StorageUnavailable``."""
        deadline = monotonic() + MAX_WAIT_SECONDS
        with self.change:
            while len(self.begun) >= conf.max_store_waits:
                if (patience := self._find_patience(deadline)) <= 0:
                    events.store_busy.tell()
                    reason = TimeoutError("too many requests wait for the store")
                    raise StorageUnavailable from reason
                self.change.wait(patience)
            self.begun.append(began := monotonic())
        return began

    def give_back(self, began: float, *, has_failed: bool) -> None:
        with self.change:
            self.has_failed = has_failed
            self.begun.remove(began)
            self.change.notify_all()  # one takes the place; all see whether it is worth waiting

    def _find_patience(self, deadline: float) -> float:
        """For how many seconds it is worth waiting.

        Who waits holds a thread, too: while the store hangs, nobody does, but for the first.
        """
        if self.has_failed:
            return 0
        return min(max(self.begun) + PATIENCE_SECONDS, deadline) - monotonic()


_places = _Places()


@contextmanager
def hold_place() -> Iterator[None]:
    """Be one of the requests that wait for the store; calls inside need no further place.

    Raises ``StorageUnavailable`` at once, or after a moment, if there are too many. Outside of
    requests it does nothing.
    """
    if not in_request.get() or _has_place.get():
        yield
        return
    began, has_failed = _places.take(), False
    token = _has_place.set(True)
    try:
        yield
    except (StorageUnavailable, BotoCoreError):  # the latter of a call alone
        has_failed = True
        raise
    finally:
        _has_place.reset(token)
        _places.give_back(began, has_failed=has_failed)
