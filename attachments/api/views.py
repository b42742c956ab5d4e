"""The views: they check the request's shape, call one service, and shape the answer."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from rest_framework import viewsets
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from attachments import errors, services
from attachments.api import operations
from attachments.api.errors import exception_handler
from attachments.api.json_view import JSONViewMixin
from attachments.api.pagination import NewestFirstPagination
from attachments.api.serializers import (
    AttachmentFilterSerializer,
    AttachmentSerializer,
    BatchPresignSerializer,
    ConfirmSerializer,
    DispositionSerializer,
    LimitsSerializer,
    PresignSerializer,
    TicketSerializer,
)
from attachments.api.throttles import UserThrottle
from attachments.models import Attachment
from attachments.policy import get_limits

# One of each serves all requests, because without data of their own they keep no state. Making one
# costs as much as a query.
_PRESIGN, _BATCH, _CONFIRM = PresignSerializer(), BatchPresignSerializer(), ConfirmSerializer()
_FILTER, _DISPOSITION = AttachmentFilterSerializer(), DispositionSerializer()
_TICKET, _ATTACHMENT, _LIMITS = TicketSerializer(), AttachmentSerializer(), LimitsSerializer()

# Which rate counts the calls of an action.
_RATES = {"presigned": "presign", "presigned_batch": "presign", "confirm": "confirm"}


# No transaction stays open across a call to the store, which is the slow part of a request.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class AttachmentViewSet(JSONViewMixin, viewsets.GenericViewSet):
    """Files that clients put straight into the store.

    The class sets what the contract fixes, so that the host's REST framework settings cannot
    change it. Authentication is the host's, throttling too beside our rates, and so is what its
    addresses capture before ours, such as a tenant or a version.
    """

    queryset = Attachment.objects.none()
    serializer_class = AttachmentSerializer
    permission_classes = [IsAuthenticated]
    pagination_class = NewestFirstPagination
    filter_backends = ()

    def get_exception_handler(self) -> Callable[..., Response | None]:
        return exception_handler

    def get_throttles(self) -> Sequence[BaseThrottle]:  # type: ignore[override]
        ours = [UserThrottle(_RATES[self.action])] if self.action in _RATES else []
        return [*super().get_throttles(), *ours]

    @operations.list_all
    def list(self, request: Request, **kwargs: Any) -> Response:
        # A plain dict: as a form, `message_id=` would be no filter, and give everything.
        query = _FILTER.run_validation(request.query_params.dict())
        visible: Any = services.VisibleAttachments(user=request.user, **query)
        page = self.paginate_queryset(visible) or []
        return self.get_paginated_response([_ATTACHMENT.to_representation(row) for row in page])

    @operations.presign
    def presigned(self, request: Request, **kwargs: Any) -> Response:
        ticket = services.presign_upload(
            user=request.user,
            idempotency_key=request.headers.get("Idempotency-Key"),
            **_PRESIGN.run_validation(request.data),
        )
        return _answer_presigned(_TICKET.to_representation(ticket), [ticket])

    @operations.presign_batch
    def presigned_batch(self, request: Request, **kwargs: Any) -> Response:
        tickets = services.presign_uploads(
            user=request.user,
            idempotency_key=request.headers.get("Idempotency-Key"),
            **_BATCH.run_validation(request.data),
        )
        body = {"tickets": [_TICKET.to_representation(ticket) for ticket in tickets]}
        return _answer_presigned(body, tickets)

    @operations.usage
    def usage(self, request: Request, **kwargs: Any) -> Response:
        use = services.measure_use(request.user)
        return Response(
            {
                "used_bytes": use.used_bytes,
                "files": use.files,
                "unconfirmed_bytes": use.unconfirmed_bytes,
                "unconfirmed": use.unconfirmed,
                "limits": _LIMITS.to_representation(get_limits(request.user)),
            }
        )

    @operations.confirm
    def confirm(self, request: Request, **kwargs: Any) -> Response:
        fields = _CONFIRM.run_validation(request.data)
        attachment = services.confirm_upload(user=request.user, **fields)
        status = 200 if attachment.is_ready else 202
        return Response(_ATTACHMENT.to_representation(attachment), status=status)

    @operations.retrieve
    def retrieve(self, request: Request, attachment_id: str, **kwargs: Any) -> Response:
        attachment = self._get_attachment(attachment_id)
        return Response(_ATTACHMENT.to_representation(attachment))

    @operations.destroy
    def destroy(self, request: Request, attachment_id: str, **kwargs: Any) -> Response:
        services.delete_attachment(attachment_id=_parse_id(attachment_id), user=request.user)
        return Response(status=204)

    @operations.download
    def download(self, request: Request, attachment_id: str, **kwargs: Any) -> HttpResponse:
        query = _DISPOSITION.run_validation(request.query_params.dict())
        attachment = self._get_attachment(attachment_id)
        url = services.get_download_url(
            attachment, as_attachment=query["disposition"] == "attachment"
        )
        if url is None:
            raise errors.AttachmentNotReady(status=attachment.get_status_display())
        return HttpResponse(status=302, headers={"Location": url})

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
