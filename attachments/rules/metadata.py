"""The metadata that a client gives its file: any JSON object of its own."""

import json
import re
from typing import Any

from django.utils.translation import gettext_lazy as _

from attachments.errors import InvalidMetadata

MAX_METADATA_BYTES = 8 * 1024  # the contract: at most 8 KiB as JSON in UTF-8
# How JSON spells U+0000, which PostgreSQL's jsonb cannot hold. An escaped backslash before "u0000"
# does not count.
_NULL_CHARACTER = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def clean_metadata(value: Any) -> dict[str, Any]:
    """Give a JSON object that every database can store, or raise ``InvalidMetadata``."""
    if not isinstance(value, dict):
        raise InvalidMetadata(attr="metadata", reason=_("it must be a JSON object."))
    try:
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size_bytes = len(encoded.encode())
    except (ValueError, RecursionError) as error:  # NaN, 1e999, a lone surrogate; too deep
        raise InvalidMetadata(attr="metadata", reason=_("it cannot be stored.")) from error
    if size_bytes > MAX_METADATA_BYTES:
        raise InvalidMetadata(attr="metadata", reason=_("it is over 8 KiB."))
    if _NULL_CHARACTER.search(encoded):
        raise InvalidMetadata(attr="metadata", reason=_("it has a null character."))
    return value
