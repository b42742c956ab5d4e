"""Login forms take passwords, too: those that fail count as those for tokens do."""

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import ngettext
from rest_framework.exceptions import AuthenticationFailed, Throttled

from attachments.api.errors import RETRY_AFTER_SECONDS
from attachments.api.throttles import limit_failed_logins
from attachments.errors import RateLimitUnavailable

View = Callable[[HttpRequest], HttpResponseBase]
Refusal = Callable[[HttpRequest, str], HttpResponseBase]


def _say_plainly(request: HttpRequest, text: str) -> HttpResponse:
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def keep_rate(view: View, refuse: Refusal = _say_plainly) -> View:
    """The view, within ``TOKEN_RATE``. It answers 200, with its form, if the password is wrong.

    ``refuse`` makes the answer to those who have to wait, from a text that tells them so.
    """

    @wraps(view)
    def log_in(request: HttpRequest) -> HttpResponseBase:
        if request.method != "POST":
            return view(request)
        try:
            with limit_failed_logins(request):
                response = view(request)
                if response.status_code == 200:  # noqa: PLR2004 (the form again)
                    raise AuthenticationFailed
        except AuthenticationFailed:
            return response
        except Throttled as error:
            seconds = int(error.wait)  # type: ignore[attr-defined]
            return _let_wait(refuse(request, _tell_wait(seconds)), status=429, seconds=seconds)
        except RateLimitUnavailable as error:
            seconds = RETRY_AFTER_SECONDS[503]
            return _let_wait(refuse(request, error.detail), status=503, seconds=seconds)
        return response

    return log_in


def _tell_wait(seconds: int) -> str:
    text = ngettext(
        "Too many logins failed. Try again in %(count)s second.",
        "Too many logins failed. Try again in %(count)s seconds.",
        seconds,
    )
    return text % {"count": seconds}


def _let_wait(response: HttpResponseBase, *, status: int, seconds: int) -> HttpResponseBase:
    response.status_code = status
    response["Retry-After"] = str(seconds)
    response["Cache-Control"] = "no-store"
    return response
