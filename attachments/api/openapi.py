"""What drf-spectacular cannot see by itself: errors with their codes, and the message's id."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from attachments.api.errors import get_status_code
from attachments.errors import AttachmentError
from attachments.policy import get_message_model


class ApiErrorSerializer(serializers.Serializer):
    code = serializers.CharField(
        help_text=_(
            "Stable, for programs. Beside those of each call: `authentication_failed`, "
            "`method_not_allowed`, `error`."
        )
    )
    detail = serializers.CharField(help_text=_("For people, in the language they accept."))
    attr = serializers.CharField(allow_null=True, help_text=_("The input field at fault."))


class ApiErrorsSerializer(serializers.Serializer):
    type = serializers.ChoiceField(choices=["validation_error", "client_error", "server_error"])
    errors = ApiErrorSerializer(many=True)  # type: ignore[assignment]


class MessageIdFieldExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """The id has the type of the host's primary key."""

    target_class = "attachments.api.serializers.MessageIdField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return _describe_key(auto_schema, get_message_model(), direction)


class UserIdFieldExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Likewise."""

    target_class = "attachments.api.serializers.UserIdField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return _describe_key(auto_schema, get_user_model(), direction)


def _describe_key(auto_schema: AutoSchema, model: Any, direction: str) -> dict[str, Any]:
    schema: dict[str, Any] = auto_schema._map_model_field(model._meta.pk, direction)  # type: ignore[no-untyped-call]
    schema.pop("readOnly", None)
    return {**schema, "format": "int64"} if schema.get("type") == "integer" else schema


def describe_errors(
    *errors: type[AttachmentError],
    also: Mapping[int, Sequence[str]] | None = None,
    has_body: bool = False,
    is_open: bool = False,
) -> dict[int, OpenApiResponse]:
    """The error responses of one call, each status with an example of every code.

    ``also`` gives codes that are not in our tree of errors, by status. ``has_body`` adds what any
    JSON body may be refused for; ``is_open`` says that nobody has to be signed in.
    """
    codes: dict[int, list[str]] = {}
    for error in errors:
        codes.setdefault(get_status_code(error), []).append(error.code)
    for more in (
        {} if is_open else _SIGNED_IN,
        _BODY if has_body else {},
        {403: ["permission_denied"]} if has_body and not is_open else {},
        {503: ["database_unavailable"]},
        also or {},
    ):
        for status, names in more.items():
            codes.setdefault(status, []).extend(names)
    return {status: _describe(status, names) for status, names in sorted(codes.items())}


THROTTLED = {429: ["throttled"]}
_SIGNED_IN = {401: ["not_authenticated", "token_not_valid"]}
_BODY = {
    400: ["parse_error", "required", "null", "invalid"],
    413: ["request_too_large"],
    415: ["unsupported_media_type"],
}


def _describe(status: int, codes: Sequence[str]) -> OpenApiResponse:
    codes = list(dict.fromkeys(codes))
    description = ", ".join(f"`{code}`" for code in codes)
    examples = [_make_example(status, code) for code in codes]
    return OpenApiResponse(ApiErrorsSerializer, description, examples)


def _make_example(status: int, code: str) -> OpenApiExample:
    kind = {400: "validation_error", 503: "server_error"}.get(status, "client_error")
    if code == "parse_error":
        kind = "client_error"
    return OpenApiExample(
        code, {"type": kind, "errors": [{"code": code, "detail": "…", "attr": None}]}
    )


_METHODS = ["POST", "PUT", "PATCH", "GET", "DELETE"]


def order_operations(endpoints: list[tuple[str, str, str, Any]]) -> list[Any]:
    """A hook for ``PREPROCESSING_HOOKS``: paths as in the URLconf, their methods as one calls them.

    drf-spectacular takes methods out of a set, in another order each time.
    """
    paths = list(dict.fromkeys(path for path, *_rest in endpoints))
    return sorted(endpoints, key=lambda it: (paths.index(it[0]), _METHODS.index(it[2])))
