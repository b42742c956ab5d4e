"""Publish an image without its metadata, and so without the place where it was taken.

The worker fetches the original once: what it fetched can no longer change, and is judged as a copy
is. What it writes to the key of the attempt is what is served.
"""

from io import BytesIO
from typing import Any

from attachments import storage
from attachments.conf import conf
from attachments.errors import (
    ChecksumMismatch,
    ContentMismatch,
    MetadataNotRemovable,
)
from attachments.media import MAX_FILE_BYTES, can_strip, strip_file
from attachments.models import Attachment
from attachments.rules.checksums import compute_checksum
from attachments.rules.content_types import matches_content_type
from attachments.rules.signatures import HEAD_BYTES
from attachments.services.attempts import Attempt
from attachments.services.copying import check_copy
from attachments.services.fetching import Fetched, fetch_object
from attachments.services.judging import judge_size


def must_strip(attachment: Attachment) -> bool:
    """Whether it is published without metadata: every image, if the setting is on."""
    return conf.strips_metadata and attachment.content_type.startswith("image/")


def publish_stripped(attempt: Attempt) -> dict[str, Any]:
    """Write the stripped image to the key of the attempt; give what was found, by field.

    Raises ``storage.ObjectNotFound``, a ``RejectedUpload``, ``StorageUnavailable``,
    ``DecodingUnavailable``, ``AttemptLost``.
    """
    attachment = attempt.attachment
    max_bytes = min(attachment.size_range[1], MAX_FILE_BYTES)
    with fetch_object(attachment.key, max_bytes=max_bytes, on_chunk=attempt.renew) as fetched:
        _judge(attachment, fetched)
        content = (
            strip_file(fetched.file, content_type=attachment.content_type)
            if can_strip(attachment.content_type)
            else None
        )
    if content is None:
        raise MetadataNotRemovable
    attempt.check_is_held()
    return _put(attempt, content)


def _judge(attachment: Attachment, fetched: Fetched) -> None:
    """The original, as the client declared it."""
    if MAX_FILE_BYTES < fetched.size_bytes <= attachment.size_range[1]:
        raise MetadataNotRemovable  # only its beginning was fetched: no more can be told of it
    judge_size(attachment, fetched.size_bytes)
    if not matches_content_type(fetched.file.read(HEAD_BYTES), attachment.content_type):
        raise ContentMismatch(declared=attachment.content_type)
    if attachment.checksum_sha256 not in ("", fetched.checksum_sha256):
        raise ChecksumMismatch


def _put(attempt: Attempt, content: bytes) -> dict[str, Any]:
    size_bytes, checksum_sha256 = len(content), compute_checksum(content)
    attempt.may_have_copied = True
    storage.put_object(
        key=attempt.key,
        content=BytesIO(content),
        checksum_sha256=checksum_sha256,
        headers=attempt.attachment.headers,
    )
    check_copy(attempt, size_bytes=size_bytes)
    return {"size_bytes": size_bytes, "checksum_sha256": checksum_sha256, "is_stripped": True}
