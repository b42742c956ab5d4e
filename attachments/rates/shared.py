"""Moving windows in Redis, exact across processes: `limits` takes each hit in one Lua script.

Redis may be away. Then no request waits for it longer than ``TIMEOUT_SECONDS``, and most not at
all: one in ``RETRY_SECONDS`` finds out whether it is back.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from math import floor
from threading import Lock, local
from time import monotonic, time
from typing import Any

from limits import RateLimitItem
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from attachments.conf import conf
from attachments.errors import RateLimitUnavailable
from attachments.rates.places import RedisPlace

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.2
RETRY_SECONDS = 2


class _Client(local):
    """Each thread has a connection: a pool would look before each use whether one still works."""

    def __init__(self, place: RedisPlace) -> None:
        from redis import ConnectionError as Disconnected
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        bounded = {
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            # Once more if Redis closed it meanwhile; by itself redis-py tries ten times.
            "retry": Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
            "single_connection_client": True,
        }
        options = {**place.options, **bounded}
        self.storage = RedisStorage(place.url, key_prefix=place.key_prefix, **options)
        self.windows = MovingWindowRateLimiter(self.storage)


class RedisWindows:
    """The windows, and whether Redis answers."""

    def __init__(self, place: RedisPlace) -> None:
        from redis import RedisError

        self._open = cache(lambda: _Client(place))
        self._failures = RedisError
        self._lock = Lock()
        self._away_until = 0.0
        self._told: set[str] = set()

    def take(self, key: str, rate: RateLimitItem) -> int:
        """See ``attachments.rates.take``."""
        seconds: int = self._ask(lambda: self._take(key, rate))
        return seconds

    def give_back(self, key: str, rate: RateLimitItem) -> None:
        with suppress(RateLimitUnavailable):
            self._ask(lambda: self._give_back(key, rate))

    def _take(self, key: str, rate: RateLimitItem) -> int:
        windows = self._open().windows
        if windows.hit(rate, key):
            return 0
        window = windows.get_window_stats(rate, key)
        if window.remaining > 0:  # a hit has ceased to count since
            return 1
        return floor(window.reset_time - time()) + 1

    def _give_back(self, key: str, rate: RateLimitItem) -> None:
        storage = self._open().storage
        connection: Any = storage.get_connection()
        connection.lpop(storage.prefixed_key(rate.key_for(key)))

    def _ask(self, question: Callable[[], Any]) -> Any:
        """The answer, or what the settings say while Redis gives none."""
        if not self._may_ask():
            return self._do_without()
        try:
            answer = question()
        except self._failures as error:
            self._note_outage(error)
            return self._do_without()
        self._note_answer()
        return answer

    def _may_ask(self) -> bool:
        """While Redis is away, whether it is this request's turn to try."""
        if not self._away_until:
            return True
        now = monotonic()
        with self._lock:
            if now < self._away_until:
                return False
            self._away_until = now + RETRY_SECONDS
            return True

    def _do_without(self) -> int:
        if conf.rate_limit_fails_open:
            return 0
        raise RateLimitUnavailable

    def _note_outage(self, error: Exception) -> None:
        with self._lock:
            self._away_until = monotonic() + RETRY_SECONDS
            # One that became a replica answers on, and refuses: another took its address over.
            self._open.cache_clear()
            cause = type(error).__name__
            is_news = cause not in self._told
            self._told.add(cause)
        if is_news:
            meanwhile = "passes" if conf.rate_limit_fails_open else "is refused"
            logger.warning(
                "Rates cannot be counted, as Redis fails; all %s until it works: %s: %s",
                meanwhile,
                cause,
                error,
            )

    def _note_answer(self) -> None:
        if not self._away_until:
            return
        with self._lock:
            self._away_until = 0.0
            was_told, self._told = self._told, set()
        if was_told:
            logger.warning("Redis works again, and rates are counted.")
