"""SHA-256 digests of objects: as the store tells them, else from the bytes."""

import hashlib
from collections.abc import Callable
from typing import Any

from attachments.rules.checksums import spell_digest
from attachments.storage.client import get_bucket, get_client, translate_errors
from attachments.storage.digests import ask_with_checksum
from attachments.storage.objects import ObjectChanged, ObjectNotFound, read_object

CHECKSUM_LENGTH = 44  # 32 bytes in base64


def tell_checksum(key: str, *, etag: str | None = None) -> str:
    """The SHA-256 of the object in base64, or "" if the store does not keep it.

    A digest of the digests of parts does not count. Raises ``ObjectNotFound`` and, for an object
    with another ETag, ``ObjectChanged``.
    """
    return take_checksum(_ask_head(key, etag=etag))


def read_checksum(
    *, key: str, etag: str | None = None, on_chunk: Callable[[], None] = lambda: None
) -> str:
    """The SHA-256 of the object in base64, from its bytes, a chunk in memory at a time.

    Raises as ``tell_checksum``, and what ``on_chunk`` raises.
    """
    digest = hashlib.sha256()
    for chunk in read_object(key, etag=etag):
        digest.update(chunk)
        on_chunk()
    return spell_digest(digest.digest())


def find_checksum(*, key: str, etag: str | None = None) -> str:
    """The SHA-256 of the object as the store tells it, else from its bytes. Raises the same."""
    return tell_checksum(key, etag=etag) or read_checksum(key=key, etag=etag)


def _ask_head(key: str, *, etag: str | None = None) -> Any:
    # HEAD has no body to name the code.
    expected: dict[str, type[Exception]] = {"404": ObjectNotFound, "412": ObjectChanged}
    condition: Any = {} if etag is None else {"IfMatch": etag}
    with translate_errors(expected):
        return ask_with_checksum(
            get_client().head_object,
            {"ChecksumMode": "ENABLED"},
            Bucket=get_bucket(),
            Key=key,
            **condition,
        )


def take_checksum(answer: Any) -> str:
    """The digest of the whole object: those of parts are longer, as they end in their number."""
    checksum = str(answer.get("ChecksumSHA256", ""))
    is_of_parts = answer.get("ChecksumType") == "COMPOSITE"
    return checksum if len(checksum) == CHECKSUM_LENGTH and not is_of_parts else ""
