"""What may be wrong with one row or one object, and the questions to the store that find it."""

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from attachments import storage


class FindingKind(TextChoices):
    MISSING_OBJECT = "missing_object", _("rows whose object is missing")
    SIZE_MISMATCH = "size_mismatch", _("objects of another size than their row says")
    CHECKSUM_MISMATCH = "checksum_mismatch", _("objects with another SHA-256 than their row says")
    MISSING_THUMBNAIL = "missing_thumbnail", _("rows whose thumbnail is missing")
    UNKNOWN_OBJECT = "unknown_object", _("objects that no row knows")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One disagreement."""

    kind: FindingKind
    key: str
    attachment_id: UUID | None = None
    """The row's id; None if no row knows the object."""
    size_bytes: int | None = None
    """The object's size; None if it is missing."""
    expected: int | str | None = None
    """What the row says: bytes, or a SHA-256 in base64."""
    found: int | str | None = None
    """What the store has instead."""


class ReadyRow(NamedTuple):
    """What a ready row says about its object."""

    pk: UUID
    key: str
    size_bytes: int | None
    checksum_sha256: str


def inspect_row(row: ReadyRow) -> Finding | None:
    try:
        size_bytes = storage.inspect_object(row.key).size_bytes
    except storage.ObjectNotFound:
        return Finding(kind=FindingKind.MISSING_OBJECT, key=row.key, attachment_id=row.pk)
    if size_bytes == row.size_bytes:
        return None
    return Finding(
        kind=FindingKind.SIZE_MISMATCH,
        key=row.key,
        attachment_id=row.pk,
        size_bytes=size_bytes,
        expected=row.size_bytes,
        found=size_bytes,
    )


def inspect_thumbnail(row: ReadyRow) -> Finding | None:
    try:
        storage.inspect_object(row.key)
    except storage.ObjectNotFound:
        return Finding(kind=FindingKind.MISSING_THUMBNAIL, key=row.key, attachment_id=row.pk)
    return None


def compare_checksum(pair: tuple[ReadyRow, storage.ListedObject]) -> Finding | None:
    row, item = pair
    try:
        checksum_sha256 = storage.find_checksum(key=row.key, etag=item.etag)
    except (storage.ObjectNotFound, storage.ObjectChanged):  # since it was listed
        return inspect_row(row)
    if checksum_sha256 == row.checksum_sha256:
        return None
    return Finding(
        kind=FindingKind.CHECKSUM_MISMATCH,
        key=row.key,
        attachment_id=row.pk,
        size_bytes=item.size_bytes,
        expected=row.checksum_sha256,
        found=checksum_sha256,
    )


def find_stray(key: str) -> Finding | None:
    try:
        size_bytes = storage.inspect_object(key).size_bytes
    except storage.ObjectNotFound:
        return None
    return Finding(kind=FindingKind.UNKNOWN_OBJECT, key=key, size_bytes=size_bytes)
