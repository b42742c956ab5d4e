"""A parser for JSON bodies with limits: the API takes no files."""

from collections.abc import Mapping, Sized
from typing import IO, Any

from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.parsers import BaseParser
from rest_framework.utils import json


class RequestTooLarge(exceptions.APIException):
    status_code = 413
    default_code = "request_too_large"
    default_detail = _("The request body is too large. Files go to the signed address.")


class BoundedJSONParser(BaseParser):
    """Bounds length and nesting by itself, whatever DATA_UPLOAD_MAX_MEMORY_SIZE is.

    It is no ``JSONParser``: REST framework reads all of the body for those, and Django's limit
    then answers in HTML.
    """

    media_type = "application/json"
    max_body_bytes = 64 * 1024  # metadata is at most 8 KiB, a filename 255 characters

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        data = _parse_json(self._read(stream))
        if not isinstance(data, dict):
            raise exceptions.ParseError(_("The body must be a JSON object."))
        return data

    def _read(self, stream: IO[bytes]) -> bytes:
        size = self.max_body_bytes + 1
        if isinstance(stream, Sized):  # that of Django's test client refuses to be asked for more
            size = min(size, len(stream))
        try:
            body = stream.read(size)
        # The client is gone, or its chunks are none: each server has errors of its own for that.
        except Exception as error:
            raise exceptions.ParseError(_("The body cannot be read.")) from error
        if len(body) > self.max_body_bytes:
            raise RequestTooLarge
        return body


class BoundedBatchParser(BoundedJSONParser):
    max_body_bytes = 256 * 1024  # of up to 20 files


def _parse_json(body: bytes) -> Any:
    try:
        # It knows UTF-8 and a byte order mark by themselves.
        return json.loads(body)  # type: ignore[arg-type]
    except ValueError as error:
        raise exceptions.ParseError(_("The body is not JSON: %s") % error) from error
    except RecursionError as error:
        raise exceptions.ParseError(_("The JSON is nested too deeply.")) from error
