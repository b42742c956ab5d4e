"""Moving windows of this process alone.

The memory storage of `limits` starts a thread for each hit, which walks through all keys (4 ms at
100,000 addresses), and cannot give a hit back.
"""

from collections import deque
from math import ceil
from threading import Lock
from time import monotonic

from limits import RateLimitItem

_FIRST_SWEEP = 1000


class ProcessWindows:
    """When each hit that still counts ceases to count, by key, the oldest first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._hits: dict[str, deque[float]] = {}
        self._next_sweep = _FIRST_SWEEP

    def take(self, key: str, rate: RateLimitItem) -> int:
        """See ``attachments.rates.take``."""
        now = monotonic()
        with self._lock:
            self._sweep(now)
            hits = self._hits.setdefault(rate.key_for(key), deque())
            while hits and hits[0] <= now:
                hits.popleft()
            if len(hits) >= rate.amount:
                return ceil(hits[0] - now)
            hits.append(now + rate.get_expiry())
            return 0

    def give_back(self, key: str, rate: RateLimitItem) -> None:
        with self._lock:
            if hits := self._hits.get(rate.key_for(key)):
                hits.pop()

    def _sweep(self, now: float) -> None:
        """Forget keys without hits, whenever there are twice as many as the last one left."""
        if len(self._hits) < self._next_sweep:
            return
        self._hits = {key: hits for key, hits in self._hits.items() if hits and hits[-1] > now}
        self._next_sweep = max(2 * len(self._hits), _FIRST_SWEEP)
