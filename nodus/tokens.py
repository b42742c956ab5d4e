"""Bearer tokens: simplejwt's views, with their errors described."""

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.serializers import (
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
)
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from attachments.api.openapi import describe_errors


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
    @extend_schema(
        summary=_("Get a fresh access token"),
        description=_("A refresh token gives a fresh access token."),
        responses={200: TokenRefreshSerializer, **describe_errors(also={400: ("required",)})},
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        return super().post(request, *args, **kwargs)
