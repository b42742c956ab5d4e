"""Moving windows in Redis, exact across processes: `limits` takes each hit in one Lua script.

Redis may be away. Then no request waits for an answer longer than ``TIMEOUT_SECONDS``, or for a
connection longer than ``OPEN_SECONDS``, and most not at all: one in ``RETRY_SECONDS`` finds out
whether it is back.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from math import floor
from threading import Lock, Thread, local
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
# Its name is looked up, too, and resolvers take no timeout.
OPEN_SECONDS = 1
RETRY_SECONDS = 2


class _Client(local):
    """Each thread has a connection: a pool would look before each use whether one still works."""

    def __init__(self, place: RedisPlace) -> None:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        bounded = {
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 0),  # by itself redis-py tries ten times
            "single_connection_client": True,
        }
        options = {**place.options, **bounded}
        self.storage = _do_in_time(
            lambda: RedisStorage(place.url, key_prefix=place.key_prefix, **options)
        )
        self.windows = MovingWindowRateLimiter(self.storage)


def _do_in_time(do: Callable[[], RedisStorage]) -> RedisStorage:
    """What ``do`` gives. Raises what it raises, and ``TimeoutError``; then it goes on by itself."""
    done: Future[RedisStorage] = Future()

    def run() -> None:
        try:
            done.set_result(do())
        except Exception as error:  # noqa: BLE001 - for whoever waits
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result(OPEN_SECONDS)


class RedisWindows:
    """The windows, and whether Redis answers."""

    def __init__(self, place: RedisPlace) -> None:
        from redis import ConnectionError as Disconnected
        from redis import RedisError

        self._open = cache(lambda: _Client(place))
        self._disconnected = Disconnected
        self._failures = (RedisError, TimeoutError)
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
            answer = self._ask_twice(question)
        except self._failures as error:
            self._note_outage(error)
            return self._do_without()
        self._note_answer()
        return answer

    def _ask_twice(self, question: Callable[[], Any]) -> Any:
        """Redis may have closed the connection since it was used."""
        try:
            return question()
        except self._disconnected:
            self._open.cache_clear()
            return question()

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
