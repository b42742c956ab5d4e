"""The login of the admin takes passwords, too: those that fail count as those for tokens do."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import ngettext
from rest_framework.exceptions import AuthenticationFailed, Throttled

from attachments.api.errors import RETRY_AFTER_SECONDS
from attachments.api.throttles import limit_failed_logins
from attachments.errors import RateLimitUnavailable


def log_in(request: HttpRequest) -> HttpResponseBase:
    """Django's view, within ``TOKEN_RATE``."""
    if request.method != "POST":
        return admin.site.login(request)
    try:
        with limit_failed_logins(request):
            response = admin.site.login(request)
            if response.status_code == 200:  # noqa: PLR2004 (the form again)
                raise AuthenticationFailed
    except AuthenticationFailed:
        return response
    except Throttled as error:
        return _refuse(error.wait)  # type: ignore[attr-defined]
    except RateLimitUnavailable as error:
        return _tell(error.detail, status=503, wait=RETRY_AFTER_SECONDS[503])
    return response


def _refuse(seconds: int) -> HttpResponse:
    text = ngettext(
        "Too many logins failed. Try again in %(count)s second.",
        "Too many logins failed. Try again in %(count)s seconds.",
        seconds,
    )
    return _tell(text % {"count": seconds}, status=429, wait=seconds)


def _tell(text: str, *, status: int, wait: int) -> HttpResponse:
    return HttpResponse(
        text,
        status=status,
        content_type="text/plain; charset=utf-8",
        headers={"Retry-After": str(wait), "Cache-Control": "no-store"},
    )
