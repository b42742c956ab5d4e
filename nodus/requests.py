"""Each request has an id, and one line in the log."""

import logging
import re
from collections.abc import Callable
from os import urandom
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from attachments import events
from attachments.api.errors import RETRY_AFTER_SECONDS, DatabaseUnavailable, is_outage
from attachments.event_log import EventLine

logger = logging.getLogger("nodus.requests")

HEADER = "X-Request-ID"
_ACCEPTED = re.compile(r"[A-Za-z0-9._=/+-]{1,64}")
_FIRST_SERVER_ERROR = 500
_MAX_FORWARDED = 200  # characters
# What machines ask every few seconds.
_PROBED = ("/health", "/metrics")


class RequestMiddleware:
    """Takes the id from ``X-Request-ID`` or gives one, answers with it, and logs the request.

    Whatever happens in the request, and in the tasks that it leaves, is logged with this id.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = monotonic()
        request_id = _choose_id(request.META.get("HTTP_X_REQUEST_ID", ""))
        with events.acting_for(request_id):
            response = self._get_response(request)
            response[HEADER] = request_id
            if settings.LOG_REQUESTS:
                _log(request, response, seconds=monotonic() - started)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer for a page whose database is away. REST framework's views do it themselves."""
        if not isinstance(exception, OperationalError | InterfaceError) or not is_outage(exception):
            return None
        logger.warning("The database is not available: %s", exception)
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS[503]), "Cache-Control": "no-store"}
        text = str(DatabaseUnavailable.default_detail)
        return HttpResponse(text, status=503, content_type="text/plain", headers=headers)


def _choose_id(given: str) -> str:
    """What a client says is taken if it can do no harm in a log."""
    return given if _ACCEPTED.fullmatch(given) else urandom(16).hex()


def _log(request: HttpRequest, response: HttpResponse, *, seconds: float) -> None:
    """The path without its query, which may have secrets."""
    facts = {
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "code": _find_code(response),
        "user_id": _find_user_id(request),
        "size_bytes": None if response.streaming else len(response.content),
        "seconds": round(seconds, 4),
        "address": request.META.get("REMOTE_ADDR"),
        "forwarded_for": request.META.get("HTTP_X_FORWARDED_FOR", "")[:_MAX_FORWARDED] or None,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    logger.log(_choose_level(request, response), EventLine("request", known))


def _choose_level(request: HttpRequest, response: HttpResponse) -> int:
    if response.status_code >= _FIRST_SERVER_ERROR:
        return logging.WARNING
    return logging.DEBUG if request.path.startswith(_PROBED) else logging.INFO


def _find_code(response: HttpResponse) -> str | None:
    """The code of the first error in the answer of the API."""
    data = getattr(response, "data", None)
    errors = data.get("errors") if isinstance(data, dict) else None
    return errors[0]["code"] if errors else None


def _find_user_id(request: HttpRequest) -> Any:
    """Of whoever was asked for in this request; nobody is looked up for the log."""
    user: Any = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = request.__dict__.get("_cached_user")
    return getattr(user, "pk", None)
