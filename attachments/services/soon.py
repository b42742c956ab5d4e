"""Work that may follow the answers: a thread of this process does much of it at once."""

import atexit
import os
from collections.abc import Callable
from threading import Lock, Timer
from typing import Any, Generic, TypeVar

from django.db import connections

DELAY_SECONDS = 1

Item = TypeVar("Item", bound=Any)  # hashable, and in an order


class Soon(Generic[Item]):
    """Keys or ids that wait in this process for one call of ``do`` with all of them.

    A process that is killed loses them: the rows say what there is to do, too. One that ends by
    itself does it at once.
    """

    def __init__(self, do: Callable[[list[Item]], None]) -> None:
        self._do = do
        self._lock = Lock()
        self._items: set[Item] = set()
        self._timer: Timer | None = None
        atexit.register(self.do_now)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def add(self, item: Item) -> None:
        with self._lock:
            self._items.add(item)
            if self._timer is None:
                self._timer = self._start_timer()

    def do_now(self) -> None:
        """Do what waits."""
        if items := self.take():
            self._do(items)

    def take(self) -> list[Item]:
        """What waits, which is up to the caller now."""
        with self._lock:
            items, self._items = self._items, set()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        return sorted(items)

    def _begin_anew(self) -> None:
        """In a forked process: its parent has the timer, and does what waited there."""
        self._lock, self._items, self._timer = Lock(), set(), None

    def _start_timer(self) -> Timer | None:
        timer = Timer(DELAY_SECONDS, self._do_in_thread)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # no room for a thread: the next item asks again
            return None
        return timer

    def _do_in_thread(self) -> None:
        try:
            self.do_now()
        finally:
            connections.close_all()  # this thread's own: nobody else would give them back
