"""Bearer tokens: simplejwt's views, with their errors described."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.serializers import (
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
)
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from attachments.api.openapi import describe_errors
from nodus.authentication import TokenNotValid, get_token_user


class BearerScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]
    """Tells drf-spectacular that our class takes what simplejwt's takes."""

    target_class = "nodus.authentication.BearerAuthentication"


class RefreshSerializer(TokenRefreshSerializer):
    refresh = serializers.CharField(write_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        try:
            refresh = self.token_class(attrs["refresh"])
        except TokenError as error:
            raise TokenNotValid from error
        get_token_user(refresh)
        return {"access": str(refresh.access_token)}


class TokenView(TokenObtainPairView):
    @extend_schema(
        summary=_("Log in"),
        description=_("A username and a password give an access token and a refresh token."),
        responses={
            200: TokenObtainPairSerializer,
            **describe_errors(also={400: ("required", "blank"), 401: ("no_active_account",)}),
        },
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        return super().post(request, *args, **kwargs)


class RefreshView(TokenRefreshView):
    serializer_class = RefreshSerializer

    @extend_schema(
        summary=_("Get a fresh access token"),
        description=_("A refresh token gives a fresh access token."),
        responses={200: RefreshSerializer, **describe_errors(also={400: ("required",)})},
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        return super().post(request, *args, **kwargs)
