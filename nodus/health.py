"""GET /health, for load balancers and people."""

import logging
from dataclasses import asdict
from typing import Any

from django.db import Error, connection
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from attachments import services, storage
from attachments.api.json_view import JSONViewMixin
from attachments.errors import StorageUnavailable

logger = logging.getLogger(__name__)

CONNECTED, UNAVAILABLE = "connected", "unavailable"


class BacklogSerializer(serializers.Serializer):
    files = serializers.IntegerField(help_text=_("At most 1000 are counted."))
    without_scanner = serializers.IntegerField(
        help_text=_("Of these: wait for a virus scanner, while none is set up.")
    )
    since = serializers.DateTimeField()


class HealthSerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=["ok", "error"])
    minio = serializers.ChoiceField(choices=[CONNECTED, UNAVAILABLE])
    database = serializers.ChoiceField(choices=[CONNECTED, UNAVAILABLE])
    waiting = BacklogSerializer(
        required=False,
        help_text=_("Only if files have waited too long for a worker or the virus scanner."),
    )


class HealthView(JSONViewMixin, APIView):
    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = ()

    @extend_schema(
        operation_id="getHealth",
        tags=["Health"],
        summary=_("Whether the store and the database answer"),
        responses={
            200: HealthSerializer,
            503: OpenApiResponse(HealthSerializer, _("A part failed.")),
        },
    )
    def get(self, request: Request) -> Response:
        parts = {"minio": _ask_store(), "database": _ask_database()}
        is_ok = set(parts.values()) == {CONNECTED}
        body: dict[str, Any] = {"status": "ok" if is_ok else "error", **parts}
        if parts["database"] == CONNECTED and (backlog := _find_backlog()):
            body["waiting"] = asdict(backlog)
        return Response(body, status=200 if is_ok else 503)


def _ask_store() -> str:
    try:
        storage.ping_bucket()
    except StorageUnavailable:
        return UNAVAILABLE
    return CONNECTED


def _find_backlog() -> services.Backlog | None:
    try:
        return services.find_backlog()
    except Error:  # before the first migrate, or since it was asked
        return None


def _ask_database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        logger.warning("The database is not available: %s", error)
        return UNAVAILABLE
    return CONNECTED
