"""What an old row becomes: an attachment that passes the rules of presign."""

from typing import Any
from uuid import UUID

from django.utils import timezone

from attachments.adoption.report import LeftAlone, Reason
from attachments.adoption.source import OldRow
from attachments.conf import conf
from attachments.errors import InvalidFilename, InvalidMetadata
from attachments.models import Attachment
from attachments.rules.content_types import choose_content_type
from attachments.rules.filenames import clean_filename
from attachments.rules.metadata import clean_metadata

MAX_KEY_BYTES = 1024  # of S3


def parse_id(row: OldRow) -> UUID | None:
    try:
        return UUID(row.id)
    except ValueError:
        return None


def make_attachment(
    row: OldRow, pk: UUID, *, users: dict[Any, Any], messages: dict[Any, Any]
) -> Attachment:
    """The attachment, not stored yet; its key is that of the old object. Raises ``LeftAlone``.

    Limits of size and quotas are not asked: the file is there already.
    """
    if row.user_id not in users:
        raise LeftAlone(Reason.UNKNOWN_USER)
    if row.message_id is not None and row.message_id not in messages:
        raise LeftAlone(Reason.UNKNOWN_MESSAGE)
    if not _can_be_asked_for(row.storage_key):
        raise LeftAlone(Reason.OBJECT_MISSING)
    content_type = choose_content_type(row.content_type, conf.allowed_content_types)
    if content_type is None:
        raise LeftAlone(Reason.CONTENT_TYPE_NOT_ALLOWED)
    try:
        return Attachment(
            id=pk,
            user_id=users[row.user_id],
            message_id=messages.get(row.message_id),
            filename=clean_filename(row.filename),
            content_type=content_type,
            size_bytes=row.size_bytes,
            storage_key=row.storage_key,
            metadata=clean_metadata(row.metadata),
            created_at=row.created_at,
            expires_at=timezone.now(),
        )
    except (InvalidFilename, InvalidMetadata) as error:
        raise LeftAlone(Reason(error.code)) from error


def _can_be_asked_for(key: str) -> bool:
    """Stores refuse other keys as they refuse a wrong setting, which would end the run."""
    return 0 < len(key.encode()) <= MAX_KEY_BYTES and not {".", ".."} & {*key.split("/")}
