"""An object in a temporary file on disk: bounded, and its bytes can no longer change."""

import base64
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from attachments import storage


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

    Raises ``storage.ObjectNotFound``, ``StorageUnavailable``, and what ``on_chunk`` raises.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with tempfile.TemporaryFile() as file:
        for chunk in storage.read_object(key):
            on_chunk()
            digest.update(chunk)
            file.write(chunk)
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                break
        file.flush()
        file.seek(0)
        checksum = base64.b64encode(digest.digest()).decode()
        yield Fetched(file=file, size_bytes=size_bytes, checksum_sha256=checksum)
