"""Scan what waits in quarantine: serve a copy of it, refuse it, or let it wait."""

from attachments import storage
from attachments.conf import conf
from attachments.errors import (
    Infected,
    NotFound,
    ObjectMissing,
    RejectedUpload,
    StorageUnavailable,
    Unscannable,
    UploadInProgress,
)
from attachments.models import Attachment
from attachments.scanning import Outcome, Verdict
from attachments.services.attempts import Attempt
from attachments.services.changes import keep_linkable_message
from attachments.services.copying import copy_in_parts, copy_whole
from attachments.services.scanned import scan_object
from attachments.services.verify import MAX_COPY_IN_REQUEST


def scan_quarantined(attachment: Attachment) -> None:
    """Bring the file out of quarantine, unless somebody else does it at this moment.

    Raises ``ScannerUnavailable``, ``StorageUnavailable``; then it waits for a later call.
    """
    try:
        attempt = Attempt.take(attachment)
        with attempt.hold():
            try:
                _settle(attempt)
            except storage.ObjectNotFound:
                attempt.check_is_held()  # or else whoever took the row has deleted it
                raise ObjectMissing from None
    except (NotFound, RejectedUpload, UploadInProgress):
        return  # the row says why, or is gone; or another one works on it


def _settle(attempt: Attempt) -> None:
    attachment = attempt.attachment
    scan = scan_object(attachment, on_chunk=attempt.renew, on_read=attempt.check_is_held)
    if refusal := _refuse(scan.verdict):
        attempt.reject(refusal, **scan.fields)
        return
    attempt.check_is_held()
    _copy(attempt)
    _look_at_copy(attempt)
    keep_message = keep_linkable_message(attachment, user=attachment.user)
    attempt.settle(**scan.fields, **keep_message)


def _refuse(verdict: Verdict) -> RejectedUpload | None:
    """Why the file is not served, if it is not."""
    if verdict.outcome == Outcome.INFECTED:
        return Infected(signature=verdict.reason)
    if verdict.outcome == Outcome.UNSCANNABLE and not conf.publishes_unscannable:
        return Unscannable(reason=verdict.reason)
    return None


def _look_at_copy(attempt: Attempt) -> None:
    """Believe in the copy only when it is there, and whole."""
    try:
        size_bytes = storage.inspect_object(attempt.key).size_bytes
    except storage.ObjectNotFound as error:
        attempt.check_is_held()  # or else whoever took the row has deleted it
        raise StorageUnavailable from error
    if size_bytes != attempt.attachment.size_bytes:
        raise StorageUnavailable


def _copy(attempt: Attempt) -> None:
    """Copy what was scanned to where it is served. Nobody else writes to either key."""
    if (attempt.attachment.size_bytes or 0) <= MAX_COPY_IN_REQUEST:
        copy_whole(attempt)
    else:
        original = storage.inspect_object(attempt.attachment.key)
        try:
            copy_in_parts(attempt, original)
        except (storage.ObjectChanged, storage.UploadNotFound) as error:
            attempt.check_is_held()  # or else whoever took the row has aborted the upload
            raise StorageUnavailable from error
