"""The objects of a snapshot, one line of JSON each, and what may be wrong with an object."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from attachments.models import Attachment


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One object of a snapshot: its key and bytes, and how it is served."""

    id: str
    key: str
    size_bytes: int
    sha256: str
    content_type: str
    filename: str

    @property
    def object_name(self) -> str:
        """Its name in the archive."""
        return f"objects/{self.key}"

    @property
    def attachment(self) -> Attachment:
        """An unsaved attachment, with just what decides how its object is served."""
        return Attachment(id=self.id, content_type=self.content_type, filename=self.filename)


class ProblemKind(TextChoices):
    MISSING = "missing", _("missing")
    ALTERED = "altered", _("altered")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An object that is missing, or that is not what its row or its manifest says."""

    kind: ProblemKind
    key: str
    attachment_id: str


def write_line(file: IO[bytes], entry: ManifestEntry) -> None:
    file.write(json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n")


def read_manifest(file: IO[bytes]) -> Iterator[ManifestEntry]:
    return (ManifestEntry(**line) for line in read_lines(file))


def read_lines(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Read from the start of the file. A file can have one reader at a time."""
    file.seek(0)
    return map(json.loads, file)
