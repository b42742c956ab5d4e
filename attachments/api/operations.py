"""What the API's schema says of each call: names, examples, answers and errors."""

from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from attachments import errors
from attachments.api.openapi import THROTTLED, describe_errors
from attachments.api.serializers import (
    AttachmentFilterSerializer,
    AttachmentSerializer,
    BatchPresignSerializer,
    ConfirmSerializer,
    DispositionSerializer,
    PresignSerializer,
    TicketSerializer,
    TicketsSerializer,
    UsageSerializer,
)
from attachments.services import MAX_IDEMPOTENCY_KEY_LENGTH

_TAGS = ["Attachments"]
_ID = OpenApiParameter(
    "attachment_id",
    OpenApiTypes.UUID,
    OpenApiParameter.PATH,
    description=_("The ticket's `attachment_id`, or the attachment's `id`."),
)
_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH},
    OpenApiParameter.HEADER,
    description=_("The same key with the same body gives the same attachment again."),
)
_METADATA_ERRORS = (
    errors.InvalidMetadata,
    errors.NotFound,
    errors.StorageUnavailable,
    errors.TooManyAttachments,
)
_PRESIGN_ERRORS = (
    errors.ContentTypeNotAllowed,
    errors.FileTooLarge,
    errors.InvalidFilename,
    errors.InvalidSize,
    errors.InvalidChecksum,
    errors.InvalidIdempotencyKey,
    errors.IdempotencyKeyReused,
    errors.QuotaExceeded,
    errors.RateLimitUnavailable,
    *_METADATA_ERRORS,
)
_FILE = {"filename": "cat.png", "content_type": "image/png"}

presign = extend_schema(
    operation_id="presignAttachment",
    tags=_TAGS,
    summary=_("Get a form to upload a file with"),
    description=_(
        "POST the fields to the url as multipart/form-data, then the file as the last field, "
        "`file`; then confirm."
    ),
    parameters=[_IDEMPOTENCY_KEY],
    request=PresignSerializer,
    examples=[
        OpenApiExample(
            _("An image"),  # type: ignore[arg-type]
            _FILE,
            request_only=True,
        )
    ],
    responses={
        201: OpenApiResponse(TicketSerializer, _("`Idempotent-Replayed: true` if repeated.")),
        **describe_errors(
            *_PRESIGN_ERRORS, also={400: ["max_string_length"], **THROTTLED}, has_body=True
        ),
    },
)
presign_batch = extend_schema(
    operation_id="presignAttachments",
    tags=_TAGS,
    summary=_("Get forms to upload up to 20 files with"),
    description=_("All or none; the tickets are in the order of the files."),
    parameters=[_IDEMPOTENCY_KEY],
    request=BatchPresignSerializer,
    examples=[
        OpenApiExample(
            _("Two files"),  # type: ignore[arg-type]
            {"files": [_FILE, {"filename": "cat.pdf", "content_type": "application/pdf"}]},
            request_only=True,
        )
    ],
    responses={
        201: OpenApiResponse(TicketsSerializer, _("`Idempotent-Replayed: true` if repeated.")),
        **describe_errors(
            *_PRESIGN_ERRORS,
            also={
                400: ["max_string_length", "not_a_list", "min_length", "max_length"],
                **THROTTLED,
            },
            has_body=True,
        ),
    },
)
usage = extend_schema(
    operation_id="getUsage",
    tags=_TAGS,
    summary=_("See how much you have, and may have"),
    description=_("Your files, the forms that you have not confirmed yet, and your limits."),
    responses={200: UsageSerializer, **describe_errors()},
)
confirm = extend_schema(
    operation_id="confirmAttachment",
    tags=_TAGS,
    summary=_("Confirm an upload: it is verified and published"),
    description=_("Safe to repeat. Also hangs the attachment on a message."),
    request=ConfirmSerializer,
    examples=[
        OpenApiExample(
            _("The ticket's attachment"),  # type: ignore[arg-type]
            {"attachment_id": "00000000-0000-7000-8000-000000000000"},
            description=_("Put in the `attachment_id` of the ticket."),
            request_only=True,
        )
    ],
    responses={
        200: AttachmentSerializer,
        202: OpenApiResponse(
            AttachmentSerializer,
            _("A worker verifies or scans it: look or confirm again."),
        ),
        **describe_errors(
            errors.NotUploaded,
            errors.UploadInProgress,
            errors.AlreadyLinked,
            errors.UploadExpired,
            errors.QuotaExceeded,
            errors.RateLimitUnavailable,
            errors.ContentMismatch,
            errors.SizeMismatch,
            errors.ChecksumMismatch,
            errors.MetadataNotRemovable,
            errors.Infected,
            errors.Unscannable,
            errors.ObjectMissing,
            *_METADATA_ERRORS,
            also=THROTTLED,
            has_body=True,
        ),
    },
)
list_all = extend_schema(
    operation_id="listAttachments",
    tags=_TAGS,
    summary=_("List the attachments that you may see, newest first"),
    description=_("Your own, and those of messages that you may read."),
    parameters=[AttachmentFilterSerializer],
    responses={
        200: AttachmentSerializer(many=True),
        **describe_errors(errors.NotFound, also={400: ["invalid", "invalid_choice"]}),
    },
)
retrieve = extend_schema(
    operation_id="getAttachment",
    tags=_TAGS,
    summary=_("Look at an attachment"),
    description=_("Your own, or of a message that you may read."),
    parameters=[_ID],
    responses={200: AttachmentSerializer, **describe_errors(errors.NotFound)},
)
destroy = extend_schema(
    operation_id="deleteAttachment",
    tags=_TAGS,
    summary=_("Delete an attachment and its file"),
    description=_("Its uploader and staff may do this."),
    parameters=[_ID],
    responses={204: None, **describe_errors(errors.NotFound, errors.NotYours, errors.InUse)},
)
download = extend_schema(
    operation_id="downloadAttachment",
    tags=_TAGS,
    summary=_("Go to the file: a stable address for <img src>"),
    description=_("The link may expire; this address does not."),
    parameters=[_ID, DispositionSerializer],
    responses={
        302: OpenApiResponse(None, _("Redirects to a link that works now.")),
        **describe_errors(
            errors.NotFound, errors.AttachmentNotReady, also={400: ["invalid_choice"]}
        ),
    },
)
