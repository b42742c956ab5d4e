"""What the values of the settings must be."""

import re
from typing import Any

from attachments.rules.addresses import is_address, is_clamd_address, is_origin
from attachments.rules.allowed_callers import MIN_TOKEN_LENGTH, is_network

# The largest value that makes sense, by the end of a key or the whole of it, and why.
_MAXIMA = {
    "MAX_SIZE_MB": (5 * 1024, "S3 takes no more in one piece"),
    "EXPIRES_SECONDS": (7 * 24 * 3600, "a signature holds for a week"),
    "THUMBNAIL_PX": (4096, "it is a thumbnail"),
    "QUOTA_MB_PER_USER": (2**40, "that is an exbibyte"),
    "TRUSTED_PROXIES": (100, "each adds an address"),
    "_DAYS": (100 * 365, "that is a hundred years"),
}
_MAY_BE_ZERO = {"THUMBNAIL_PX", "TRUSTED_PROXIES"}
# As `limits` reads it: 10/minute, 100 per 5 minutes.
_RATE = re.compile(
    r"\s*[1-9]\d*\s*(?:/|per)\s*(?:[1-9]\d*\s*)?(?:second|minute|hour|day|month|year)s?\s*", re.I
)

_BIND = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]*):\d{1,5}")


def explain_wrong_value(key: str, value: Any, default: Any) -> str | None:
    """Say what the value must be, or give None if it is right."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "True or False"
    if key.endswith("_RATE"):
        return explain_wrong_rate(value)
    if isinstance(default, int) or default is None:
        return None if value is default else _explain_wrong_number(key, value)
    if isinstance(default, tuple):
        return _explain_wrong_list(key, value)
    return _explain_wrong_text(key, value) if isinstance(value, str) else "a string"


def _explain_wrong_number(key: str, value: Any) -> str | None:
    least = 0 if key in _MAY_BE_ZERO else 1
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        return "a whole number above zero" + (", or 0 for none" if not least else "")
    for end, (maximum, reason) in _MAXIMA.items():
        if key.endswith(end) and value > maximum:
            return f"at most {maximum} ({reason})"
    return None


def _explain_wrong_list(key: str, value: Any) -> str | None:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        return "a list of strings"
    if key == "METRICS_ALLOWED" and not all(map(_is_caller, value)):
        return f"a list of addresses, networks and tokens of {MIN_TOKEN_LENGTH} characters or more"
    if key == "CORS_ALLOWED_ORIGINS" and not all(map(is_origin, value)):
        return "a list of origins such as 'https://app.example.com', without a path"
    return None


def _is_caller(text: str) -> bool:
    return not text or is_network(text) or len(text) >= MIN_TOKEN_LENGTH


def _explain_wrong_text(key: str, value: str) -> str | None:
    if key == "CLAMAV_URL":
        is_right = not value or is_clamd_address(value)
        return None if is_right else "unix:///path/to/clamd.ctl or tcp://host:3310"
    if key == "METRICS_BIND":
        return None if not value or _BIND.fullmatch(value) else "as '127.0.0.1:9108'"
    if key == "UNSCANNABLE":
        return None if value in ("reject", "publish") else "'reject' or 'publish'"
    if key.endswith("_URL") and value and not is_address(value):
        return "an address such as 'https://files.example.com'"
    return None


def explain_wrong_rate(value: Any) -> str | None:
    """Say what the rate must be, or give None if it is right."""
    if not value and (value is None or isinstance(value, str)):
        return None  # no limit
    is_right = isinstance(value, str) and _RATE.fullmatch(value)
    return None if is_right else "a rate such as '10/minute', or None for no limit"
