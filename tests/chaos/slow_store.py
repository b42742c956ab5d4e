"""What stands between Django and the store: it can make calls late, and let faults meet them."""

import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPException
from random import Random
from threading import Timer

from tests.machine.store_faults import OPERATIONS, STORE_FAULTS
from tests.proxy import Answer, Exchange, Forward, StoreProxy

FAULTY = 0.3
"""The share of calls that meet a fault while it is slow."""
LATE = "come_late"
LATEST_SECONDS = 20


class SlowStore:
    def __init__(self, endpoint_url: str, random: Random) -> None:
        self.proxy = StoreProxy(endpoint_url)
        self.happened: Counter[str] = Counter()
        self._random, self._seconds = random, 0.0
        self._late: list[Timer] = []
        for operation in OPERATIONS:
            self.proxy.add(operation, self._pass_on, times=None)

    def be_slow(self, seconds: float) -> None:
        """Each call waits up to so long from now on, and some meet worse; 0 ends that."""
        self._seconds = seconds

    def land(self) -> None:
        """Wait until all that is late has arrived."""
        for timer in self._late:
            timer.join()

    def _pass_on(self, exchange: Exchange, forward: Forward) -> Answer:
        if not self._seconds:
            return forward()
        time.sleep(self._random.random() * self._seconds)
        if self._random.random() >= FAULTY:
            return forward()
        kind = self._random.choice([LATE, *STORE_FAULTS])
        self.happened[f"store: {kind}"] += 1
        exchange.record()
        return self._delay(forward) if kind == LATE else STORE_FAULTS[kind](exchange, forward)

    def _delay(self, forward: Forward) -> Answer:
        """The client hears nothing; the store does it later, whatever happened since."""

        def arrive() -> None:
            with suppress(OSError, HTTPException):  # the store is down now
                forward().discard()

        timer = Timer(self._random.uniform(1, LATEST_SECONDS), arrive)
        timer.start()
        self._late.append(timer)
        raise ConnectionAbortedError
