"""Bring out what waits in quarantine: serve a copy of it, refuse it, or let it wait."""

from collections.abc import Callable
from typing import Any

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
from attachments.services.copying import check_copy, copy_in_parts, copy_whole
from attachments.services.scanned import scan_object
from attachments.services.verify import MAX_COPY_IN_REQUEST


def scan_quarantined(attachment: Attachment) -> None:
    """Scan the file and bring it out, unless somebody else does it at this moment.

    Raises ``ScannerUnavailable``, ``StorageUnavailable``; then it waits for a later call.
    """
    _bring_out(attachment, _scan)


def release_unscanned(attachment: Attachment) -> None:
    """Serve the file although no scanner has seen it: for a person who decided so.

    The row says that it was not scanned. Raises ``StorageUnavailable``.
    """
    _bring_out(attachment, lambda attempt: {})


def _bring_out(attachment: Attachment, judge: Callable[[Attempt], dict[str, Any] | None]) -> None:
    """``judge`` gives what the row keeps of a file to be served; None if it has refused it."""
    try:
        attempt = Attempt.take(attachment)
        with attempt.hold():
            try:
                found = judge(attempt)
                if found is not None:
                    _publish(attempt, found)
            except storage.ObjectNotFound:
                # Another may have taken the row and deleted the object: `reject` finds that out.
                raise ObjectMissing from None
    except (NotFound, RejectedUpload, UploadInProgress):
        return  # the row says why, or is gone; or another one works on it


def _scan(attempt: Attempt) -> dict[str, Any] | None:
    scan = scan_object(attempt.attachment, on_chunk=attempt.renew, on_read=attempt.check_is_held)
    if refusal := _refuse(scan.verdict):
        attempt.reject(refusal, **scan.fields)
        return None
    return scan.fields


def _publish(attempt: Attempt, found: dict[str, Any]) -> None:
    attempt.check_is_held()
    _copy(attempt)
    check_copy(attempt, size_bytes=attempt.attachment.size_bytes)
    keep_message = keep_linkable_message(attempt.attachment, user=attempt.attachment.user)
    attempt.settle(**found, **keep_message)


def _refuse(verdict: Verdict) -> RejectedUpload | None:
    """Why the file is not served, if it is not."""
    if verdict.outcome == Outcome.INFECTED:
        return Infected(signature=verdict.reason)
    if verdict.outcome == Outcome.UNSCANNABLE and not conf.publishes_unscannable:
        return Unscannable(reason=verdict.reason)
    return None


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
