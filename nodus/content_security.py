"""What browsers may load on the pages of this site, and who may frame them."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from attachments.services import get_file_origins

FILES = "files"
"""Stands in ``POLICY`` for where files are served: the store, and the CDN."""
POLICY = {
    "default-src": ["'self'"],
    "img-src": ["'self'", "data:", FILES],
    "media-src": ["'self'", FILES],  # the API's stable addresses lead to the files
    "connect-src": ["'self'", FILES],
    "object-src": [FILES],
    "frame-src": [FILES],  # Chromium frames a PDF in its <object>
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}


class ContentSecurityPolicyMiddleware:
    """Sends ``POLICY``. Django has a middleware for this from 6.0 on, and nodus runs 5.2."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # Django's own pages for developers are made of inline styles and scripts.
        if not (settings.DEBUG and response.status_code in (404, 500)):
            response.headers.setdefault("Content-Security-Policy", _spell_policy())
        return response


def _spell_policy() -> str:
    files = " ".join(get_file_origins())
    return "; ".join(
        " ".join([directive, *(files if source == FILES else source for source in sources)])
        for directive, sources in POLICY.items()
    )
