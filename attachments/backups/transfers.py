"""Moving files: each is hashed before anything is done with it."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from attachments import storage

JOBS = 8
OnProgress = Callable[[int], None]


def ignore_progress(size_bytes: int) -> None:
    """For callers that show no progress."""


@dataclass(frozen=True, kw_only=True)
class Spooled:
    """A file that was fetched, in memory or on disk."""

    content: IO[bytes]
    size_bytes: int
    sha256: str
    """In hexadecimal, as ``sha256sum`` spells it."""


@contextmanager
def spool(
    chunks: Iterable[bytes], *, on_progress: OnProgress = ignore_progress
) -> Iterator[Spooled]:
    """Collect all the chunks in one file; count and hash them."""
    digest = hashlib.sha256()
    with storage.open_spool() as content:
        for chunk in chunks:
            digest.update(chunk)
            content.write(chunk)
            on_progress(len(chunk))
        size_bytes = content.tell()
        content.seek(0)
        yield Spooled(content=content, size_bytes=size_bytes, sha256=digest.hexdigest())


def measure(
    chunks: Iterable[bytes], *, on_progress: OnProgress = ignore_progress
) -> tuple[int, str]:
    """The number of bytes, and the SHA-256 in hexadecimal. The bytes are not kept."""
    digest, size_bytes = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size_bytes += len(chunk)
        on_progress(len(chunk))
    return size_bytes, digest.hexdigest()
