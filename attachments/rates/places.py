"""Where rates are counted: in the Redis of Django's default cache, if it is one."""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

# redis-py does not know these options of Django's cache.
_NOT_OF_REDIS = {"serializer", "pool_class", "parser_class"}


@dataclass(frozen=True, kw_only=True)
class RedisPlace:
    """Where a Redis is, and what of it is ours."""

    url: str
    key_prefix: str
    """As the cache has it: several sites may share one Redis."""
    options: dict[str, Any] = field(hash=False)
    """Of its connections, lists and dicts among them."""


def find_redis() -> RedisPlace | None:
    """None if each process counts by itself."""
    default = settings.CACHES["default"]
    if not _is_redis(default["BACKEND"]):
        return None
    location = default.get("LOCATION", "")
    # Django writes to the first server.
    url = re.split("[;,]", location)[0] if isinstance(location, str) else location[0]
    options = default.get("OPTIONS") or {}
    # django-redis has options of its own, in capitals.
    ours = {name for name in options if name.islower()} - _NOT_OF_REDIS
    return RedisPlace(
        url=url,
        key_prefix=f"{default.get('KEY_PREFIX', '')}attachments-rates",
        options={name: options[name] for name in ours},
    )


@cache
def _is_redis(backend: str) -> bool:
    """Django's, that of django-redis, or a subclass."""
    try:
        kind = import_string(backend)
    except ImportError:
        return False  # Django says so
    return any(base.__name__ == "RedisCache" for base in kind.__mro__)
