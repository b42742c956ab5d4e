"""The copy that an attempt makes: in one piece, or in parts."""

from attachments import storage
from attachments.errors import StorageUnavailable
from attachments.services.attempts import Attempt


def copy_whole(attempt: Attempt) -> str:
    """Copy in one piece; give the SHA-256 of the copy, or "" if the store does not tell it.

    Raises ``storage.ObjectNotFound``, ``StorageUnavailable``.
    """
    attempt.may_have_copied = True  # or may have, if no answer comes
    try:
        return storage.copy_object(
            source=attempt.attachment.key, target=attempt.key, headers=attempt.attachment.headers
        )
    except storage.ObjectNotFound:
        attempt.may_have_copied = False
        raise


def copy_in_parts(attempt: Attempt, original: storage.ObjectFacts) -> None:
    """Copy what has these facts. The store's digest of the parts is not that of the file.

    Raises ``storage.ObjectNotFound``, ``storage.ObjectChanged``, ``storage.UploadNotFound``,
    ``StorageUnavailable``, ``AttemptLost``.
    """
    attempt.may_have_copied = True
    upload_id = storage.begin_copy(target=attempt.key, headers=attempt.attachment.headers)
    attempt.name_upload(upload_id)
    storage.copy_in_parts(
        source=attempt.attachment.key,
        target=attempt.key,
        upload_id=upload_id,
        size_bytes=original.size_bytes,
        etag=original.etag,
        on_part=attempt.renew,
    )


def check_copy(attempt: Attempt, *, size_bytes: int | None) -> None:
    """Believe in what the attempt has written only when it is there, and whole.

    Raises ``StorageUnavailable``, ``AttemptLost``.
    """
    try:
        found = storage.inspect_object(attempt.key).size_bytes
    except storage.ObjectNotFound as error:
        attempt.check_is_held()  # or else whoever took the row has deleted it
        raise StorageUnavailable from error
    if found != size_bytes:
        raise StorageUnavailable
