"""GET /metrics, for Prometheus alone."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from attachments.conf import conf
from attachments.metrics.exposition import render_metrics
from attachments.rules.allowed_callers import is_allowed_caller


@require_safe
def show_metrics(request: HttpRequest) -> HttpResponse:
    """404 for all others: they learn nothing, not even that it is there."""
    if not _is_allowed(request):
        return HttpResponseNotFound()
    headers = {"Cache-Control": "no-store"}
    return HttpResponse(render_metrics(), content_type=CONTENT_TYPE_LATEST, headers=headers)


def _is_allowed(request: HttpRequest) -> bool:
    if not conf.metrics_allowed:
        return bool(settings.DEBUG)
    # What came by a proxy has the proxy's address, whoever sent it: then a token is needed.
    is_direct = not {"X-Forwarded-For", "Forwarded"} & {*request.headers}
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return is_allowed_caller(
        conf.metrics_allowed,
        address=request.META.get("REMOTE_ADDR", "") if is_direct else "",
        token=token.strip() if scheme.lower() == "bearer" else "",
    )
