"""A parser for JSON bodies with limits: the API takes no files."""

from collections.abc import Mapping
from typing import IO, Any

from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.parsers import JSONParser


class RequestTooLarge(exceptions.APIException):
    status_code = 413
    default_code = "request_too_large"
    default_detail = _("The request body is too large. Files go to the signed address.")


class BoundedJSONParser(JSONParser):
    """Bounds length and nesting; REST framework's parser reads any length, and crashes on depth."""

    max_body_bytes = 64 * 1024  # metadata is at most 8 KiB, a filename 255 characters

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        request = (parser_context or {})["request"]
        if int(request.META.get("CONTENT_LENGTH") or 0) > self.max_body_bytes:
            raise RequestTooLarge
        try:
            data = super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise exceptions.ParseError(_("The JSON is nested too deeply.")) from error
        if not isinstance(data, dict):
            raise exceptions.ParseError(_("The body must be a JSON object."))
        return data


class BoundedBatchParser(BoundedJSONParser):
    max_body_bytes = 256 * 1024  # of up to 20 files
