"""One object read through the scanner: what it says, and what the row keeps of that."""

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from django.utils import timezone

from attachments import events, storage
from attachments.errors import ScannerUnavailable, StorageUnavailable
from attachments.models import Attachment
from attachments.rules.checksums import spell_digest
from attachments.scanning import Outcome, Verdict, get_scanner
from attachments.storage.threads import read_ahead

# A thread that reads while the scanner takes bytes pays for files beyond so many.
READ_AHEAD_FROM = 4 * 2**20


def scan_object(
    attachment: Attachment,
    *,
    on_chunk: Callable[[], None] = lambda: None,
    on_read: Callable[[], None] = lambda: None,
) -> "Scan":
    """Let the scanner judge the object that the row names, a few chunks in memory at a time.

    ``on_chunk`` is called before each chunk, ``on_read`` after the last. Raises
    ``storage.ObjectNotFound``, ``ScannerUnavailable``, ``StorageUnavailable``.
    """
    reading = _Reading(attachment, on_chunk, on_read)
    with closing(reading.read()) as chunks, _tell_scanned(attachment) as tell:
        tell(verdict := get_scanner().scan(chunks))
    if verdict.outcome == Outcome.CLEAN and not reading.is_complete:
        raise ScannerUnavailable(reason="it called clean what it had not read")
    return Scan(verdict=verdict, checksum_sha256=reading.checksum_sha256)


@contextmanager
def _tell_scanned(attachment: Attachment) -> Iterator[Callable[[Verdict], None]]:
    facts: dict[str, Any] = {}

    def take(verdict: Verdict) -> None:
        facts.update(outcome=verdict.outcome.value, scanner=verdict.scanner, reason=verdict.reason)

    started = monotonic()
    try:
        yield take
    except ScannerUnavailable as error:
        facts.update(outcome="unavailable", reason=error.reason)
        raise
    finally:
        if facts:  # else the store failed, or another worker took the row
            facts |= {"attachment_id": attachment.pk, "size_bytes": attachment.size_bytes}
            events.scanned.tell(seconds=round(monotonic() - started, 4), **facts)


@dataclass
class _Reading:
    attachment: Attachment
    on_chunk: Callable[[], None]
    on_read: Callable[[], None]
    is_complete: bool = False
    _digest: Any = field(default_factory=hashlib.sha256)

    def read(self) -> Generator[bytes, None, None]:
        is_hashed = not self.attachment.checksum_sha256
        chunks = storage.read_object(self.attachment.key)
        if (self.attachment.size_bytes or 0) > READ_AHEAD_FROM:
            chunks = read_ahead(chunks)
        size_bytes = 0
        for chunk in chunks:
            self.on_chunk()
            if is_hashed:
                self._digest.update(chunk)
            size_bytes += len(chunk)
            yield chunk
        if size_bytes != self.attachment.size_bytes:  # a verdict on other bytes is none
            raise StorageUnavailable
        self.is_complete = True
        self.on_read()

    @property
    def checksum_sha256(self) -> str:
        """In base64; "" if the row has it, or if the object was not read to its end."""
        if self.attachment.checksum_sha256 or not self.is_complete:
            return ""
        return spell_digest(self._digest.digest())


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A verdict, and what else was found while the bytes went by."""

    verdict: Verdict
    checksum_sha256: str
    """In base64; "" if the row has it already, or if the file was not read to its end."""

    @property
    def fields(self) -> dict[str, Any]:
        """What the row keeps of it."""
        checksum = {"checksum_sha256": self.checksum_sha256} if self.checksum_sha256 else {}
        return {
            "scan_outcome": self.verdict.outcome.value,
            "scanner": self.verdict.scanner[:100],
            "signatures_version": self.verdict.signatures_version,
            "scanned_at": timezone.now(),
            **checksum,
        }
