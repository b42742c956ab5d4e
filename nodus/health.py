"""GET /health, /health/live and /health/ready: for load balancers and people.

Each part is asked in a thread of its own, so that the answer comes in time however a part hangs.
"""

import logging
from dataclasses import asdict, dataclass
from typing import Any

from django.db import Error, connection
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from attachments import scanning, services, storage
from attachments.api.json_view import JSONViewMixin
from attachments.errors import ScannerUnavailable, StorageUnavailable
from attachments.probes import Probe, Unanswered

logger = logging.getLogger(__name__)

CONNECTED, UNAVAILABLE = "connected", "unavailable"
WORKING, SILENT = "working", "silent"
# The contract has 2 s for all of it. The parts are asked at once; the rest is for a busy server,
# where a request waits for a thread.
PATIENCE_SECONDS = 0.75
# A burst asks once, and hardly anybody is told of what was.
FRESH_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Background:
    """What the database says of the work outside requests."""

    backlog: services.Backlog | None
    worker: str | None
    """None if none was ever there."""


def _ask_database() -> Background | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        logger.warning("The database is not available: %s", error)
        raise
    try:
        return Background(backlog=services.find_backlog(), worker=_find_worker())
    except Error:  # before the first migrate, or since it was asked
        return None


def _find_worker() -> str | None:
    if services.find_silence():
        return SILENT
    return WORKING if services.has_seen_worker() else None


def _ask_scanner() -> None:
    try:
        scanning.ping_scanner()
    except ScannerUnavailable as error:
        logger.warning("The virus scanner is not available: %s", error.reason)
        raise


def _make_probe(ask: Any) -> Probe[Any]:
    return Probe(ask, patience_seconds=PATIENCE_SECONDS, fresh_seconds=FRESH_SECONDS)


# Why one of them fails is logged where it is asked, so that a burst logs it once.
STORE, DATABASE = _make_probe(storage.ping_bucket), _make_probe(_ask_database)
SCANNER = _make_probe(_ask_scanner)
PROBES = (STORE, DATABASE, SCANNER)


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
    scanner = serializers.ChoiceField(
        choices=[CONNECTED, UNAVAILABLE],
        required=False,
        help_text=_("Only if there is one. Without it, files wait; the status stays as it is."),
    )
    worker = serializers.ChoiceField(
        choices=[WORKING, SILENT],
        required=False,
        help_text=_("Only if one was ever seen. Without it, files wait, too."),
    )
    waiting = BacklogSerializer(
        required=False,
        help_text=_("Only if files have waited too long for a worker or the virus scanner."),
    )


class LiveSerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=["ok"])


class OpenView(JSONViewMixin, APIView):
    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = ()


class LiveView(OpenView):
    @extend_schema(
        operation_id="getLiveness",
        tags=["Health"],
        summary=_("Whether this server answers at all"),
        responses={200: LiveSerializer},
    )
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


_describe = extend_schema(
    tags=["Health"],
    summary=_("Whether the store and the database answer"),
    responses={
        200: HealthSerializer,
        503: OpenApiResponse(HealthSerializer, _("A part failed.")),
    },
)


class HealthView(OpenView):
    # The contract's three keys; of worker and scanner it tells only that they fail. Not a
    # docstring: the API's schema would show it.

    @extend_schema(operation_id="getHealth")
    @_describe
    def get(self, request: Request) -> Response:
        return _answer(names_all=False)


class ReadyView(OpenView):
    @extend_schema(operation_id="getReadiness")
    @_describe
    def get(self, request: Request) -> Response:
        return _answer(names_all=True)


def _answer(*, names_all: bool) -> Response:
    """With the worker and the scanner; unless ``names_all``, only if these fail."""
    probes = [STORE, DATABASE, *([SCANNER] if scanning.can_ping() else [])]
    for probe in probes:
        probe.start()
    (minio, _bucket), (database, background), *scanner = map(_ask, probes)
    is_ok = minio == database == CONNECTED
    body: dict[str, Any] = {
        "status": "ok" if is_ok else "error",
        "minio": minio,
        "database": database,
    }
    if scanner and (names_all or scanner[0][0] != CONNECTED):
        body["scanner"] = scanner[0][0]
    if background and background.worker and (names_all or background.worker != WORKING):
        body["worker"] = background.worker
    if background and background.backlog:
        body["waiting"] = asdict(background.backlog)
    return Response(body, status=200 if is_ok else 503)


def _ask(probe: Probe[Any]) -> tuple[str, Any]:
    """Whether it answers, and what."""
    try:
        return CONNECTED, probe.get()
    except (StorageUnavailable, ScannerUnavailable, Error, Unanswered):
        return UNAVAILABLE, None
