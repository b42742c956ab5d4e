"""What can go wrong, in the domain's words.

The errors are one tree. Its second level has the kinds: ``api.errors`` maps each to a status code,
in one place. Its leaves are the facts, each with the stable ``code`` of the contract.
"""

from typing import Any, ClassVar

from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class AttachmentError(Exception):
    """Base of all errors of this app.

    ``attr`` names the input field at fault; ``params`` fill ``message`` and are JSON values.
    """

    code: ClassVar[str]
    message: ClassVar[str | Promise]

    def __init__(self, *, attr: str | None = None, **params: Any) -> None:
        self.attr = attr
        self.params = params
        super().__init__(self.code)

    @property
    def detail(self) -> str:
        """The message in the active language."""
        return str(self.message) % _Params(self.params)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class _Params(dict[str, Any]):
    """Of an error that a row keeps; another release may have written it with other ones."""

    def __missing__(self, key: str) -> str:
        return "?"


# Kinds


class InvalidInput(AttachmentError):
    """The request is at fault."""


class NotFound(AttachmentError):
    """It does not exist, or the caller may not see it. Both look the same."""

    code = "not_found"
    message = _("Not found.")


class Forbidden(AttachmentError):
    """The caller may see it, but not do this to it."""


class Conflict(AttachmentError):
    """This cannot be done in the present state."""


class Gone(AttachmentError):
    """Its time is over for good."""


class Unprocessable(AttachmentError):
    """The request is well-formed, but what it is about is wrong."""


class Unavailable(AttachmentError):
    """Something does not answer. Nothing is lost: the same call works later."""


# Invalid input


class ContentTypeNotAllowed(InvalidInput):
    code = "content_type_not_allowed"
    message = _("This content type is not allowed. Allowed: %(allowed)s.")


class FileTooLarge(InvalidInput):
    """The declared size is over the user's limit, which ``ATTACHMENTS["MAX_SIZE_MB"]`` is."""

    code = "file_too_large"
    message = _("The file is too large: %(size_bytes)s bytes, at most %(max_size_bytes)s.")


class InvalidSize(InvalidInput):
    code = "invalid_size"
    message = _("The size must be at least one byte.")


class InvalidFilename(InvalidInput):
    code = "invalid_filename"
    message = _("Invalid filename: %(reason)s")


class InvalidMetadata(InvalidInput):
    code = "invalid_metadata"
    message = _("Invalid metadata: %(reason)s")


class InvalidChecksum(InvalidInput):
    code = "invalid_checksum"
    message = _("The checksum must be a SHA-256 digest of 32 bytes in base64.")


class TooManyAttachments(InvalidInput):
    """A message would carry more than ``ATTACHMENTS["MAX_ATTACHMENTS_PER_MESSAGE"]``."""

    code = "too_many_attachments"
    message = _("A message carries at most %(max_count)s attachments.")


class InvalidIdempotencyKey(InvalidInput):
    code = "invalid_idempotency_key"
    message = _("An Idempotency-Key has 1 to %(max_length)s characters.")


# The caller


class NotYours(Forbidden):
    """Someone else's attachment, which the caller may read."""

    code = "permission_denied"
    message = _("Only its uploader may do this, or staff with the permission to delete.")


class QuotaExceeded(Forbidden):
    """The user's files and unconfirmed uploads would take more than their quota."""

    code = "quota_exceeded"
    message = _(
        "Your files take %(used)s of %(quota)s, with the uploads that you have begun. %(free)s are "
        "free, and this needs %(needed)s."
    )

    @property
    def detail(self) -> str:
        """The message in the active language, with its units."""
        return str(self.message) % {key: filesizeformat(size) for key, size in self.params.items()}


class TooManyUnconfirmed(Forbidden):
    """The user would have more uploads under way than they may."""

    code = "quota_exceeded"
    message = _(
        "You have begun %(used)s of at most %(quota)s uploads at once. %(free)s are free, and this "
        "needs %(needed)s. Confirm some, or wait until their time is over."
    )


# State


class NotUploaded(Conflict):
    code = "not_uploaded"
    message = _("The file has not been uploaded yet.")


class UploadInProgress(Conflict):
    """Another confirm holds the lease, or the client was still writing while this one looked."""

    code = "upload_in_progress"
    message = _("The upload is being confirmed or still written. Try again in a moment.")


class AttachmentNotReady(Conflict):
    code = "attachment_not_ready"
    message = _("The attachment is not ready: its status is “%(status)s”.")


class AlreadyLinked(Conflict):
    """An attachment that was linked stays with its message."""

    code = "already_linked"
    message = _("The attachment already hangs on another message.")


class UploadExpired(Gone):
    code = "upload_expired"
    message = _("The time to upload this file is over. Request a new upload.")


class InUse(Conflict):
    """A row of the host protects it (``on_delete=PROTECT`` or ``RESTRICT``)."""

    code = "in_use"
    message = _("The attachment is in use and cannot be deleted.")


class IdempotencyKeyReused(Unprocessable):
    code = "idempotency_key_reused"
    message = _("This Idempotency-Key was used with another request body.")


class RejectedUpload(Unprocessable):
    """The bytes are not what was declared. The row keeps the reason; its objects are deleted."""


class ContentMismatch(RejectedUpload):
    code = "content_mismatch"
    message = _("The content is not %(declared)s.")


class SizeMismatch(RejectedUpload):
    code = "size_mismatch"
    message = _("The file has %(found)s bytes; expected %(expected)s.")


class ChecksumMismatch(RejectedUpload):
    code = "checksum_mismatch"
    message = _("The SHA-256 of the file is not the declared one.")


class MetadataNotRemovable(RejectedUpload):
    """With ``STRIP_METADATA``: the picture is broken, too large, or of a type without a way."""

    code = "metadata_not_removable"
    message = _("The picture cannot be read, so that its metadata cannot be removed.")


class Infected(RejectedUpload):
    code = "infected"
    message = _("The virus scanner found %(signature)s in the file.")


class Unscannable(RejectedUpload):
    """The scanner could not look into all of it: too large, too deep, encrypted."""

    code = "unscannable"
    message = _("The virus scanner cannot take the file: %(reason)s.")


class ObjectMissing(RejectedUpload):
    """It was ready once; ``reconcile_storage --mark-missing`` did not find its object."""

    code = "object_missing"
    message = _("The file is no longer in the storage.")


class StorageUnavailable(Unavailable):
    """The store does not answer, or not as S3 does. The cause is chained and logged."""

    code = "storage_unavailable"
    message = _("The file storage is not available. Try again later.")

    @property
    def reason(self) -> str:
        """For operators: with the cause, which clients are not told."""
        return f"{self.detail} ({self.__cause__})" if self.__cause__ else self.detail


class StorageRefused(StorageUnavailable):
    """The store answers, and refuses: waiting mends nothing, an operator has to.

    Clients get what an outage gives them. ``reason`` is for the operator: what was refused, in the
    store's own words, and what to do.
    """

    def __init__(self, *, code: str, reason: str) -> None:
        super().__init__(code=code, reason=reason)

    @property
    def reason(self) -> str:
        return str(self.params["reason"])


class RateLimitUnavailable(Unavailable):
    """Requests cannot be counted, and ``RATE_LIMIT_FAIL_OPEN`` is off."""

    code = "rate_limit_unavailable"
    message = _("Requests cannot be counted at the moment. Try again later.")


class UnknownRejection(RejectedUpload):
    """A row keeps a code that this release does not know: a newer one wrote it."""

    message = _("The file was refused.")


_REJECTIONS: dict[str, type[RejectedUpload]] = {
    error.code: error
    for error in (
        ContentMismatch,
        SizeMismatch,
        ChecksumMismatch,
        MetadataNotRemovable,
        Infected,
        Unscannable,
        ObjectMissing,
    )
}


def make_rejection(*, code: str, params: dict[str, Any]) -> RejectedUpload:
    """The error that a row keeps as its code and its params."""
    unknown: type[RejectedUpload] = type("UnknownRejection", (UnknownRejection,), {"code": code})
    return _REJECTIONS.get(code, unknown)(**params)


# Background work: only workers and operators see these


class WorkUnavailable(Exception):
    """What the work needs is not there. The file waits, and a later try may do it."""

    message: ClassVar[str | Promise]

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    @property
    def detail(self) -> str:
        """The message in the active language."""
        return str(self.message) % {"reason": self.reason}

    def __str__(self) -> str:
        return self.detail


class ScannerUnavailable(WorkUnavailable):
    """There is no verdict."""

    message = _("The virus scanner is not available: %(reason)s.")


class DecodingUnavailable(WorkUnavailable):
    """This machine could not decode: that tells nothing of the file."""

    message = _("Files cannot be decoded on this machine now: %(reason)s.")


OUTAGES = (StorageUnavailable, WorkUnavailable)
"""What background work ends with if a later try may succeed."""


# Only operators see these, in a terminal


class OperatorError(Exception):
    """Base of what stops a command; ``params`` fill ``message``."""

    message: ClassVar[str | Promise]

    def __init__(self, **params: Any) -> None:
        self.params = params
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """The message in the active language."""
        return str(self.message) % self.params


class BackupError(OperatorError):
    """Base of what can go wrong with a backup."""


class BackupUnavailable(BackupError):
    """The place of the backup does not answer, is full, or may not be read or written."""

    message = _("The backup cannot be read or written: %(reason)s")


class BackupDamaged(BackupError):
    """A snapshot is not what was written."""

    message = _("%(name)s is missing in the backup, or was altered.")


class SnapshotNotFound(BackupError):
    message = _("There is no finished snapshot here: %(name)s")


class WouldOverwrite(BackupError):
    """A restore found rows or objects that differ from those it was to restore."""

    message = _("%(rows)s rows and %(objects)s objects are there already, and are not the same.")


class RowsDoNotFit(BackupError):
    """The database refuses the rows of a backup. None of them was kept."""

    message = _("The rows do not fit into this database: %(reason)s")


class AdoptionError(OperatorError):
    """What is to be taken over cannot be read."""


class SourceUnreadable(AdoptionError):
    message = _("The table %(table)s cannot be read: %(reason)s")


class SourceDoesNotFit(AdoptionError):
    """It is another table than that of the guide's back end."""

    message = _("The table %(table)s has no columns %(columns)s.")


class SourceIsOurs(AdoptionError):
    message = _("The table %(table)s is this app's own. Name the one to take over with --table.")


class MappingUnreadable(AdoptionError):
    message = _("%(path)s cannot be read: %(reason)s")
