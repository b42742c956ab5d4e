"""How many requests of a process may wait for the store at once.

A store that hangs would otherwise hold every thread of the server, one request after the other.
Workers and commands wait for the store as long as it takes: they keep nobody from being served.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Condition
from time import monotonic

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
_change = Condition()
_begun: list[float] = []
"""When those began who have a place now."""


@contextmanager
def hold_place() -> Iterator[None]:
    """Be one of the requests that wait for the store; calls inside need no further place.

    Raises ``StorageUnavailable`` at once, or after a moment, if there are too many. Outside of
    requests it does nothing.
    """
    if not in_request.get() or _has_place.get():
        yield
        return
    began = _take_place()
    token = _has_place.set(True)
    try:
        yield
    finally:
        _has_place.reset(token)
        with _change:
            _begun.remove(began)
            _change.notify()


def _take_place() -> float:
    deadline = monotonic() + MAX_WAIT_SECONDS
    with _change:
        while len(_begun) >= conf.max_store_waits:
            patience = min(max(_begun) + PATIENCE_SECONDS, deadline) - monotonic()
            if patience <= 0:
                events.store_busy.tell()
                raise StorageUnavailable from TimeoutError("too many requests wait for the store")
            _change.wait(patience)
        _begun.append(began := monotonic())
    return began
