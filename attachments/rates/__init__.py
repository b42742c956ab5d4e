"""How often somebody may do something: moving windows, counted in Redis or in this process."""

import os
from functools import cache

import limits

from attachments import events
from attachments.rates.places import find_redis
from attachments.rates.process import ProcessWindows
from attachments.rates.shared import RedisWindows

__all__ = ["find_redis", "give_back", "take"]

_of_this_process = ProcessWindows()


def take(*, scope: str, who: str, rate: str) -> int:
    """Count a request of ``who``: give 0, or the whole seconds until one is due again.

    Whoever waits so long is let through. Refused requests do not count. Raises
    ``RateLimitUnavailable`` if Redis is away and ``RATE_LIMIT_FAIL_OPEN`` is off.
    """
    seconds = _find_windows().take(f"{scope}/{who}", _parse(rate))
    if seconds:
        events.throttled.tell(scope=scope, who=who)
    return seconds


def give_back(*, scope: str, who: str, rate: str) -> None:
    """Count one request less."""
    _find_windows().give_back(f"{scope}/{who}", _parse(rate))


def _find_windows() -> ProcessWindows | RedisWindows:
    place = find_redis()
    return _of_this_process if place is None else _open_redis(place)


_open_redis = cache(RedisWindows)
_parse = cache(limits.parse)


def _begin_anew() -> None:
    """In a forked process: the connections are its parent's, and a lock may be held for ever."""
    global _of_this_process  # noqa: PLW0603
    _of_this_process = ProcessWindows()
    _open_redis.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
