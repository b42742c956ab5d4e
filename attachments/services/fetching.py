"""An object in a temporary file on disk: bounded, and its bytes can no longer change."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from attachments import storage
from attachments.media import translate_host_errors
from attachments.rules.checksums import spell_digest


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What was fetched, at its start again."""

    file: IO[bytes]
    size_bytes: int
    """More than allowed if there was more: then the rest was not fetched."""
    checksum_sha256: str
    """In base64, of what was fetched."""


@contextmanager
def fetch_object(
    key: str, *, max_bytes: int, on_chunk: Callable[[], None] = lambda: None
) -> Iterator[Fetched]:
    """Fetch until there are more than ``max_bytes``, a chunk in memory at a time.

    Raises ``storage.ObjectNotFound``, ``StorageUnavailable``, ``DecodingUnavailable`` if there is
    no room for it, and what ``on_chunk`` raises.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with translate_host_errors(), tempfile.TemporaryFile() as file:
        for chunk in storage.read_object(key):
            on_chunk()
            digest.update(chunk)
            file.write(chunk)
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                break
        file.seek(0)
        checksum = spell_digest(digest.digest())
        yield Fetched(file=file, size_bytes=size_bytes, checksum_sha256=checksum)
