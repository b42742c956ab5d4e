"""Publish an image without its metadata, and so without the place where it was taken.

The worker fetches the original once: what it fetched can no longer change, and is judged as a copy
is. What it writes to the key of the attempt is what is served.
"""

import base64
import hashlib
import logging
from io import BytesIO
from typing import Any

from attachments import storage
from attachments.conf import conf
from attachments.errors import (
    ChecksumMismatch,
    ContentMismatch,
    MetadataNotRemovable,
    StorageUnavailable,
)
from attachments.media import MAX_FILE_BYTES, can_strip, strip_file
from attachments.models import Attachment
from attachments.rules.content_types import matches_content_type
from attachments.rules.signatures import HEAD_BYTES
from attachments.services.attempts import Attempt
from attachments.services.fetching import Fetched, fetch_object
from attachments.services.judging import judge_size

logger = logging.getLogger(__name__)


def must_strip(attachment: Attachment) -> bool:
    """Whether it is published without metadata: every image, if the setting is on."""
    return conf.strips_metadata and attachment.content_type.startswith("image/")


def publish_stripped(attempt: Attempt) -> dict[str, Any]:
    """Write the stripped image to the key of the attempt; give what was found, by field.

    Raises ``storage.ObjectNotFound``, a ``RejectedUpload``, ``StorageUnavailable``,
    ``AttemptLost``.
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
    checksum_sha256 = base64.b64encode(hashlib.sha256(content).digest()).decode()
    attempt.may_have_copied = True
    storage.put_object(
        key=attempt.key,
        content=BytesIO(content),
        checksum_sha256=checksum_sha256,
        headers=attempt.attachment.headers,
    )
    try:
        size_bytes = storage.inspect_object(attempt.key).size_bytes
    except storage.ObjectNotFound as error:
        attempt.check_is_held()  # or else whoever took the row has deleted it
        raise StorageUnavailable from error
    if size_bytes != len(content):
        raise StorageUnavailable
    return {
        "size_bytes": size_bytes,
        "checksum_sha256": checksum_sha256,
        "is_stripped": True,
    }
