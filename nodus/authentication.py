"""Bearer tokens as REST framework sees them: who sends the request."""

from copy import copy
from functools import cache, lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, connection
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import aware_utcnow, get_md5_hash_password

# In the order of the model. Django reads others from the database when they are asked for.
COLUMNS = ("id", "password", "is_superuser", "is_staff", "is_active")

# Some 2 KB each.
_MAX_VERIFIED = 1024


class TokenNotValid(exceptions.AuthenticationFailed):
    """It is no token, is over, or its user is gone, inactive or has another password."""

    default_code = "token_not_valid"
    default_detail = _("The token is not valid.")


class BearerAuthentication(JWTAuthentication):
    """simplejwt's, with one narrow query, and with one error for all that may be wrong.

    A token dies at once when its user is deleted, made inactive, or has a new password. Its
    signature is verified once by each process, and at each use whether its time is over: nothing
    else that it says can change.
    """

    def authenticate(self, request: Request) -> tuple[Any, Token] | None:
        try:
            return super().authenticate(request)
        except AuthenticationFailed as error:
            raise TokenNotValid from error

    def get_raw_token(self, header: bytes) -> bytes | None:
        """``bearer``, in capitals or not, is the same scheme (RFC 9110, 11.1)."""
        scheme, _, rest = header.partition(b" ")
        return super().get_raw_token(scheme.capitalize() + b" " + rest)

    def get_validated_token(self, raw_token: bytes) -> Token:
        token = copy(_verify(raw_token))
        token.payload = token.payload.copy()
        token.current_time = aware_utcnow()
        try:
            token.check_exp()
        except TokenError as error:
            raise TokenNotValid from error
        return token

    def get_user(self, validated_token: Token) -> Any:
        return get_token_user(validated_token)


@lru_cache(maxsize=_MAX_VERIFIED)
def _verify(raw_token: bytes) -> Token:
    """Only valid tokens are kept: the cache keeps no exceptions."""
    return JWTAuthentication().get_validated_token(raw_token)


def get_token_user(token: Token) -> Any:
    """The user of a verified token, access or refresh. Raises ``TokenNotValid``."""
    user = _find_user(token.get(api_settings.USER_ID_CLAIM))
    if user is None or not user.is_active:
        raise TokenNotValid
    if token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise TokenNotValid
    return user


def _find_user(user_id: Any) -> Any:
    """In plain SQL: each request asks this, and Django takes longer to write it than to run it."""
    user_model = get_user_model()
    try:
        pk = user_model._meta.pk.clean(user_id, None)
    except ValidationError:  # from before the host's users had keys of this type
        return None
    with connection.cursor() as cursor:
        cursor.execute(_get_statement(), [pk])
        row = cursor.fetchone()
    return None if row is None else user_model.from_db(DEFAULT_DB_ALIAS, COLUMNS, row)


@cache
def _get_statement() -> str:
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, COLUMNS))
    table = quote(get_user_model()._meta.db_table)
    return f"SELECT {columns} FROM {table} WHERE {quote('id')} = %s"  # noqa: S608 (no input in it)
