"""Bearer tokens: simplejwt's views, with their errors described."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.utils import (
    OpenApiExample,
    extend_schema,
    extend_schema_serializer,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.serializers import (
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
)
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from attachments.api.json_view import JSONViewMixin
from attachments.api.openapi import THROTTLED, describe_errors
from attachments.api.throttles import limit_failed_logins
from attachments.errors import RateLimitUnavailable
from nodus.authentication import TokenNotValid, get_token_user

_TEXT_CODES = ["blank", "null_characters_not_allowed", "surrogate_characters_not_allowed"]


class BearerScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]
    """Tells drf-spectacular that our class takes what simplejwt's takes."""

    target_class = "nodus.authentication.BearerAuthentication"


@extend_schema_serializer(component_name="TokenRefresh")
class RefreshSerializer(TokenRefreshSerializer):
    refresh = serializers.CharField(write_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        try:
            refresh = self.token_class(attrs["refresh"])
        except TokenError as error:
            raise TokenNotValid from error
        get_token_user(refresh)
        return {"access": str(refresh.access_token)}


class TokenView(JSONViewMixin, TokenObtainPairView):
    @extend_schema(
        operation_id="obtainToken",
        tags=["Tokens"],
        summary=_("Log in"),
        description=_("A username and a password give an access token and a refresh token."),
        examples=[
            OpenApiExample(
                _("A user of `make run`"),  # type: ignore[arg-type]
                {"username": "alice", "password": "alice-demo"},
                request_only=True,
            )
        ],
        responses={
            200: TokenObtainPairSerializer,
            **describe_errors(
                RateLimitUnavailable,
                also={400: _TEXT_CODES, 401: ["no_active_account"], **THROTTLED},
                has_body=True,
                is_open=True,
            ),
        },
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        with limit_failed_logins(request):
            return super().post(request, *args, **kwargs)


class RefreshView(JSONViewMixin, TokenRefreshView):
    serializer_class = RefreshSerializer

    @extend_schema(
        operation_id="refreshToken",
        tags=["Tokens"],
        summary=_("Get a fresh access token"),
        description=_("A refresh token gives a fresh access token."),
        responses={
            200: RefreshSerializer,
            **describe_errors(
                also={400: _TEXT_CODES, 401: ["token_not_valid"]}, has_body=True, is_open=True
            ),
        },
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        return super().post(request, *args, **kwargs)
