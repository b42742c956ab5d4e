"""The views: they check the request's shape, call one service, and shape the answer."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework import viewsets
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from attachments import errors, services
from attachments.api.errors import exception_handler
from attachments.api.openapi import describe_errors
from attachments.api.pagination import NewestFirstPagination
from attachments.api.parsers import BoundedJSONParser
from attachments.api.serializers import (
    AttachmentFilterSerializer,
    AttachmentSerializer,
    BatchPresignSerializer,
    ConfirmSerializer,
    PresignSerializer,
    TicketSerializer,
    TicketsSerializer,
)
from attachments.models import Attachment

# One of each serves all requests, because without data of their own they keep no state. Making one
# costs as much as a query.
_PRESIGN, _BATCH, _CONFIRM = PresignSerializer(), BatchPresignSerializer(), ConfirmSerializer()
_TICKET, _ATTACHMENT = TicketSerializer(), AttachmentSerializer()

_MALFORMED = {400: ("required", "invalid", "null"), 413: ("request_too_large",)}
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
    *_METADATA_ERRORS,
)
_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    location=OpenApiParameter.HEADER,
    description=_("The same key with the same body gives the same attachment again."),
)


# No transaction stays open across a call to the store, which is the slow part of a request.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class AttachmentViewSet(viewsets.GenericViewSet):
    """Files that clients put straight into the store.

    The class sets what the contract fixes, so that the host's REST framework settings cannot
    change it. Authentication and throttling are the host's, and so is what its addresses capture
    before ours, such as a tenant or a version.
    """

    queryset = Attachment.objects.none()
    serializer_class = AttachmentSerializer
    permission_classes = [IsAuthenticated]
    parser_classes = [BoundedJSONParser]
    renderer_classes = [JSONRenderer]
    pagination_class = NewestFirstPagination
    filter_backends = ()

    def get_exception_handler(self) -> Callable[..., Response | None]:
        return exception_handler

    @extend_schema(
        summary=_("List the attachments that you may see, newest first"),
        description=_("Your own, and those of messages that you may read."),
        parameters=[AttachmentFilterSerializer],
        responses={
            200: AttachmentSerializer(many=True),
            **describe_errors(also={400: ("invalid",), 404: ("not_found",)}),
        },
    )
    def list(self, request: Request, **kwargs: Any) -> Response:
        query = AttachmentFilterSerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        visible: Any = services.VisibleAttachments(user=request.user, **query.validated_data)
        page = self.paginate_queryset(visible) or []
        return self.get_paginated_response([_ATTACHMENT.to_representation(row) for row in page])

    @extend_schema(
        summary=_("Get a form to upload a file with"),
        description=_(
            "POST the fields to the url as multipart/form-data, then the file as the last field, "
            "`file`; then confirm."
        ),
        parameters=[_IDEMPOTENCY_KEY],
        request=PresignSerializer,
        responses={
            201: OpenApiResponse(TicketSerializer, _("`Idempotent-Replayed: true` if repeated.")),
            **describe_errors(*_PRESIGN_ERRORS, also=_MALFORMED),
        },
    )
    def presigned(self, request: Request, **kwargs: Any) -> Response:
        ticket = services.presign_upload(
            user=request.user,
            idempotency_key=request.headers.get("Idempotency-Key"),
            **_PRESIGN.run_validation(request.data),
        )
        return _answer_presigned(_TICKET.to_representation(ticket), [ticket])

    @extend_schema(
        summary=_("Get forms to upload up to 20 files with"),
        description=_("All or none; the tickets are in the order of the files."),
        parameters=[_IDEMPOTENCY_KEY],
        request=BatchPresignSerializer,
        responses={
            201: OpenApiResponse(TicketsSerializer, _("`Idempotent-Replayed: true` if repeated.")),
            **describe_errors(*_PRESIGN_ERRORS, also=_MALFORMED),
        },
    )
    def presigned_batch(self, request: Request, **kwargs: Any) -> Response:
        tickets = services.presign_uploads(
            user=request.user,
            idempotency_key=request.headers.get("Idempotency-Key"),
            **_BATCH.run_validation(request.data),
        )
        body = {"tickets": [_TICKET.to_representation(ticket) for ticket in tickets]}
        return _answer_presigned(body, tickets)

    @extend_schema(
        summary=_("Confirm an upload: it is verified and published"),
        description=_("Safe to repeat. Also hangs the attachment on a message."),
        request=ConfirmSerializer,
        responses={
            200: AttachmentSerializer,
            202: OpenApiResponse(
                AttachmentSerializer, _("A worker verifies it: look or confirm again.")
            ),
            **describe_errors(
                errors.NotUploaded,
                errors.UploadInProgress,
                errors.AlreadyLinked,
                errors.UploadExpired,
                errors.ContentMismatch,
                errors.SizeMismatch,
                errors.ChecksumMismatch,
                errors.ObjectMissing,
                *_METADATA_ERRORS,
                also=_MALFORMED,
            ),
        },
    )
    def confirm(self, request: Request, **kwargs: Any) -> Response:
        fields = _CONFIRM.run_validation(request.data)
        attachment = services.confirm_upload(user=request.user, **fields)
        status = 200 if attachment.is_ready else 202
        return Response(_ATTACHMENT.to_representation(attachment), status=status)

    @extend_schema(
        summary=_("Look at an attachment"),
        description=_("Your own, or of a message that you may read."),
        responses={200: AttachmentSerializer, **describe_errors(errors.NotFound)},
    )
    def retrieve(self, request: Request, attachment_id: str, **kwargs: Any) -> Response:
        attachment = self._get_attachment(attachment_id)
        return Response(_ATTACHMENT.to_representation(attachment))

    @extend_schema(
        summary=_("Delete an attachment and its file"),
        description=_("Its uploader and staff may do this."),
        responses={204: None, **describe_errors(errors.NotFound, errors.NotYours, errors.InUse)},
    )
    def destroy(self, request: Request, attachment_id: str, **kwargs: Any) -> Response:
        services.delete_attachment(attachment_id=_parse_id(attachment_id), user=request.user)
        return Response(status=204)

    @extend_schema(
        summary=_("Go to the file: a stable address for <img src>"),
        description=_("The link may expire; this address does not."),
        responses={
            302: OpenApiResponse(None, _("Redirects to a link that works now.")),
            **describe_errors(errors.NotFound, errors.AttachmentNotReady),
        },
    )
    def download(self, request: Request, attachment_id: str, **kwargs: Any) -> HttpResponse:
        attachment = self._get_attachment(attachment_id)
        url = services.get_download_url(attachment)
        if url is None:
            raise errors.AttachmentNotReady(status=attachment.get_status_display())
        return HttpResponse(status=302, headers={"Location": url, "Cache-Control": "no-store"})

    def _get_attachment(self, attachment_id: str) -> Attachment:
        return services.get_attachment(
            attachment_id=_parse_id(attachment_id), user=self.request.user
        )


def _answer_presigned(body: dict[str, Any], tickets: Sequence[services.Ticket]) -> Response:
    is_replayed = any(ticket.is_replayed for ticket in tickets)
    headers = {"Idempotent-Replayed": "true"} if is_replayed else {}
    return Response(body, status=201, headers=headers)


def _parse_id(value: str) -> UUID:
    """Raise ``NotFound`` for text that is not an id: no attachment has it."""
    try:
        return UUID(value)
    except ValueError as error:
        raise errors.NotFound from error
