"""Verify an upload: freeze a copy of what the client put, then judge that copy.

The client may write the original again at any moment, and the store may ignore any condition. So
nothing is published for what was found out about the original: only for what the copy is.
"""

import logging
from typing import Any

from django.utils import timezone

from attachments import storage
from attachments.errors import (
    ChecksumMismatch,
    NotUploaded,
    StorageUnavailable,
    UploadExpired,
    UploadInProgress,
)
from attachments.services.attempts import Attempt
from attachments.services.copying import copy_in_parts, copy_whole
from attachments.services.judging import judge_size, judge_type
from attachments.services.strip import must_strip, publish_stripped

logger = logging.getLogger(__name__)

# What a request does itself, by the contract; what takes longer is for a worker.
MAX_COPY_IN_REQUEST = 100 * 2**20
MAX_READ_IN_REQUEST = 16 * 2**20


class TakesTooLong(Exception):
    """This is work for a worker, not for a request."""


def verify_upload(attempt: Attempt, *, in_request: bool) -> dict[str, Any]:
    """Copy to the key of the attempt and judge the copy; give what was found, by field of the row.

    An image is written there without its metadata, if the settings say so. The SHA-256 is empty if
    the store does not tell it and no client declared it. Raises ``NotUploaded``, ``UploadExpired``,
    ``UploadInProgress`` if the original changed meanwhile, a ``RejectedUpload``,
    ``StorageUnavailable``; in a request ``TakesTooLong``.
    """
    try:
        if must_strip(attempt.attachment):
            return _strip(attempt, in_request=in_request)
        told_checksum = _freeze(attempt, in_request=in_request)
    except storage.ObjectNotFound:
        is_over = attempt.attachment.expires_at < timezone.now()
        raise (UploadExpired if is_over else NotUploaded) from None
    except storage.ObjectChanged:
        raise UploadInProgress from None
    except storage.UploadNotFound as error:
        attempt.check_is_held()  # or else whoever took the row has aborted the upload
        raise StorageUnavailable from error
    try:
        attempt.renew()
        facts = storage.inspect_object(attempt.key)
        judge_size(attempt.attachment, facts.size_bytes)
        judge_type(attempt.attachment, facts, key=attempt.key)
        attempt.renew()
        known = told_checksum or facts.checksum_sha256 or storage.tell_checksum(attempt.key)
        checksum_sha256 = known or _read_declared_checksum(attempt, facts, in_request=in_request)
    except storage.ObjectNotFound as error:
        attempt.check_is_held()  # or else whoever took the row has deleted the copy
        logger.warning("A copy that the store reported as made is not there.")
        raise StorageUnavailable from error
    if attempt.attachment.checksum_sha256 not in ("", checksum_sha256):
        raise ChecksumMismatch
    return {"size_bytes": facts.size_bytes, "checksum_sha256": checksum_sha256}


def _strip(attempt: Attempt, *, in_request: bool) -> dict[str, Any]:
    """Decoding is never done in a request, but the client hears there that nothing was uploaded."""
    if in_request:
        storage.inspect_object(attempt.attachment.key)
        raise TakesTooLong
    return publish_stripped(attempt)


def _freeze(attempt: Attempt, *, in_request: bool) -> str:
    """Copy the original; give the SHA-256 of the copy, or "" if the store does not tell it."""
    attachment = attempt.attachment
    if attachment.size_range[1] > MAX_COPY_IN_REQUEST:
        original = storage.inspect_object(attachment.key)
        if original.size_bytes > MAX_COPY_IN_REQUEST:
            if in_request:
                raise TakesTooLong
            judge_size(attachment, original.size_bytes)
            copy_in_parts(attempt, original)
            return ""
    return copy_whole(attempt)


def _read_declared_checksum(
    attempt: Attempt, facts: storage.ObjectFacts, *, in_request: bool
) -> str:
    """The SHA-256 from the bytes of the copy, if it has to be compared now; else ""."""
    if not attempt.attachment.checksum_sha256:
        return ""
    if in_request and facts.size_bytes > MAX_READ_IN_REQUEST:
        raise TakesTooLong
    return storage.read_checksum(key=attempt.key, on_chunk=attempt.renew)
