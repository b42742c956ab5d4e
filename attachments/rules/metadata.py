"""The metadata that a client gives its file: any JSON object of its own."""

import json
import re
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext_lazy as _

from attachments.errors import InvalidMetadata

MAX_METADATA_BYTES = 8 * 1024  # the contract: at most 8 KiB as JSON in UTF-8
MAX_METADATA_DEPTH = 32  # a printer that recurses must come back
# How JSON spells U+0000, which PostgreSQL's jsonb cannot hold. An escaped backslash before "u0000"
# does not count.
_NULL_CHARACTER = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def clean_metadata(value: Any) -> dict[str, Any]:
    """Give a JSON object that every database can store, or raise ``InvalidMetadata``."""
    if not isinstance(value, dict):
        raise InvalidMetadata(attr="metadata", reason=_("it must be a JSON object."))
    try:
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size_bytes = len(encoded.encode()) + _measure_growth(value)
    except (ValueError, RecursionError) as error:  # NaN, 1e999, a lone surrogate; too deep
        raise InvalidMetadata(attr="metadata", reason=_("it cannot be stored.")) from error
    if size_bytes > MAX_METADATA_BYTES:
        raise InvalidMetadata(attr="metadata", reason=_("it is over 8 KiB."))
    if _NULL_CHARACTER.search(encoded):
        raise InvalidMetadata(attr="metadata", reason=_("it has a null character."))
    return value


def _measure_growth(value: Any) -> int:
    """How many bytes longer it is when numbers are written out.

    PostgreSQL keeps them so in jsonb, and gives them back so: 1e307 has 308 digits there. Raises
    ``RecursionError`` if it is too deep.
    """
    growth, level, depth = 0, [value], 0
    while level:
        depth += 1
        if depth > MAX_METADATA_DEPTH:
            raise RecursionError
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, float):
                growth += len(f"{Decimal(repr(item)):f}") - len(repr(item))
        level = below
    return growth
