from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from attachments.errors import NotFound
from attachments.metrics import show_metrics
from nodus.health import HealthView, LiveView, ReadyView
from nodus.logins import keep_rate
from nodus.tokens import RefreshView, TokenView


@csrf_exempt
def say_not_found(request: HttpRequest, path: str) -> JsonResponse:
    """Answer addresses of the API that do not exist in JSON too, whether DEBUG is on or off."""
    error = {"code": NotFound.code, "detail": NotFound().detail, "attr": None}
    return JsonResponse({"type": "client_error", "errors": [error]}, status=404)


admin.site.site_header = admin.site.site_title = "Nodus"

urlpatterns = [
    path("", include("nodus.web.urls")),
    path("admin/login/", keep_rate(admin.site.login)),  # before Django's own at the same address
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/v1/auth/token", TokenView.as_view(), name="token"),
    path("api/v1/auth/token/refresh", RefreshView.as_view(), name="token-refresh"),
    path("api/v1/", include("attachments.urls")),
    path("api/v1/", include("nodus.messaging.urls")),
    path("health", HealthView.as_view(), name="health"),
    path("health/live", LiveView.as_view(), name="health-live"),
    path("health/ready", ReadyView.as_view(), name="health-ready"),
    path("metrics", show_metrics, name="metrics"),
    path("api/<path:path>", say_not_found),
]
