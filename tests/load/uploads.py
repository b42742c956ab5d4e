"""What clients upload, and what they know of each upload: the proof compares it with what is there."""

from dataclasses import dataclass, field
from random import Random
from threading import Lock

from nodus.dev.samples import make_pdf

_START = make_pdf("Nodus")


@dataclass(kw_only=True)
class Upload:
    number: int
    size_bytes: int
    ids: list[str] = field(default_factory=list)
    """Those that presign gave for its Idempotency-Key; more than one is wrong."""
    is_confirmed: bool = False
    """The server answered that the file is its own now."""
    is_delete_asked: bool = False
    is_deleted: bool = False

    @property
    def key(self) -> str:
        return f"upload-{self.number}"

    @property
    def content(self) -> bytes:
        """A PDF, padded with bytes that no other upload has."""
        return _START + Random(self.number).randbytes(self.size_bytes - len(_START))


class Journal:
    """All uploads of all clients. Threads write to it."""

    def __init__(self) -> None:
        self.uploads: list[Upload] = []
        self._lock = Lock()

    def begin(self, size_bytes: int) -> Upload:
        with self._lock:
            upload = Upload(number=len(self.uploads), size_bytes=size_bytes)
            self.uploads.append(upload)
        return upload
