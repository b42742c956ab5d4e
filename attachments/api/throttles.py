"""Rates at the edge: how often a user may presign and confirm, and how often logins may fail."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from attachments import rates
from attachments.conf import conf
from attachments.policy import get_limits
from attachments.rules.client_addresses import name_client


class UserThrottle(BaseThrottle):
    """Counts each request of a user against a rate of their limits, whatever becomes of it."""

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._seconds = 0

    def allow_request(self, request: Request, view: APIView) -> bool:
        rate = getattr(get_limits(request.user), f"{self._scope}_rate")
        if rate:
            self._seconds = rates.take(scope=self._scope, who=str(request.user.pk), rate=rate)
        return not self._seconds

    def wait(self) -> int:
        return self._seconds


@contextmanager
def limit_failed_logins(request: HttpRequest | Request) -> Iterator[None]:
    """Judge a password inside: raises ``Throttled`` if too many from this address were wrong.

    A login counts before it is judged, so that many at once are not judged beyond the rate, and
    ceases to count unless it ends with ``AuthenticationFailed``.
    """
    rate = conf.token_rate
    if rate is None:
        yield
        return
    who = _name_client(request)
    if seconds := rates.take(scope="token", who=who, rate=rate):
        raise Throttled(seconds)
    is_failed = False
    try:
        yield
    except AuthenticationFailed:
        is_failed = True
        raise
    finally:
        if not is_failed:
            rates.give_back(scope="token", who=who, rate=rate)


def _name_client(request: HttpRequest | Request) -> str:
    return name_client(
        peer=request.META.get("REMOTE_ADDR", ""),
        forwarded_for=request.META.get("HTTP_X_FORWARDED_FOR", ""),
        trusted_proxies=conf.trusted_proxies,
    )
