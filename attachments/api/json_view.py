"""JSON in and JSON out, however clients ask for it and send it."""

from collections.abc import Iterable
from io import BytesIO
from typing import Any

from django.http import HttpRequest
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from attachments.api.parsers import BoundedJSONParser


class AnyAccept(DefaultContentNegotiation):
    """Answer in JSON whatever ``Accept`` says: there is nothing else to choose.

    An image loader that is redirected to its image accepts ``image/*`` alone.
    """

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


class JSONViewMixin:
    # Before a view of REST framework. It also reads bodies that come in chunks, without a length,
    # as browsers' streams, Cloudflare and other proxies send them. Not a docstring: the API's
    # schema would show it.

    parser_classes: Any = [BoundedJSONParser]
    renderer_classes: Any = [JSONRenderer]
    content_negotiation_class: Any = AnyAccept

    @property
    def default_response_headers(self) -> dict[str, str]:
        """Nobody keeps an answer: it may have tokens, forms or private links in it."""
        return {**super().default_response_headers, "Cache-Control": "no-store"}  # type: ignore[misc]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        initialized: Request = super().initialize_request(request, *args, **kwargs)  # type: ignore[misc]
        if _is_chunked(request):
            initialized._stream = _open_chunked(request)  # else no length means no body
        return initialized


def _is_chunked(request: HttpRequest) -> bool:
    encoding = request.META.get("HTTP_TRANSFER_ENCODING", "")
    return "chunked" in encoding.lower() and not request.META.get("CONTENT_LENGTH")


def _open_chunked(request: HttpRequest) -> Any:
    """The body up to its end, which the server finds. Under WSGI, Django reads none of it."""
    if hasattr(request, "environ"):
        return request.environ["wsgi.input"]
    return BytesIO(request.body) if hasattr(request, "_body") else request
