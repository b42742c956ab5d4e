"""What drf-spectacular cannot see by itself: errors with their codes, and the message's id."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from attachments.api.errors import get_status_code
from attachments.errors import AttachmentError
from attachments.policy import get_message_model


class ErrorSerializer(serializers.Serializer):
    code = serializers.CharField(help_text=_("Stable, for programs."))
    detail = serializers.CharField(help_text=_("For people, in the language they accept."))
    attr = serializers.CharField(allow_null=True, help_text=_("The input field at fault."))


class ErrorResponseSerializer(serializers.Serializer):
    type = serializers.ChoiceField(choices=["validation_error", "client_error", "server_error"])
    errors = ErrorSerializer(many=True)  # type: ignore[assignment]


class MessageIdFieldExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """The id has the type of the host's primary key."""

    target_class = "attachments.api.serializers.MessageIdField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        primary_key = get_message_model()._meta.pk
        schema: dict[str, Any] = auto_schema._map_model_field(primary_key, direction)  # type: ignore[no-untyped-call]
        schema.pop("readOnly", None)
        return schema


def describe_errors(
    *errors: type[AttachmentError], also: dict[int, tuple[str, ...]] | None = None
) -> dict[int, OpenApiResponse]:
    """The error responses of one call, each status with an example of every code.

    ``also`` gives codes that are not in our tree of errors, by status.
    """
    codes: dict[int, list[str]] = {
        401: ["not_authenticated", "token_not_valid"],
        503: ["database_unavailable"],
    }
    for error in errors:
        codes.setdefault(get_status_code(error), []).append(error.code)
    for status, names in (also or {}).items():
        codes.setdefault(status, []).extend(names)
    return {status: _describe(status, names) for status, names in sorted(codes.items())}


def _describe(status: int, codes: list[str]) -> OpenApiResponse:
    kind = {400: "validation_error", 503: "server_error"}.get(status, "client_error")
    examples = [
        OpenApiExample(
            code, {"type": kind, "errors": [{"code": code, "detail": "…", "attr": None}]}
        )
        for code in dict.fromkeys(codes)
    ]
    description = ", ".join(f"`{code}`" for code in dict.fromkeys(codes))
    return OpenApiResponse(ErrorResponseSerializer, description, examples)
