from django.contrib import admin
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import include, path
from django.views.defaults import page_not_found
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from attachments.errors import NotFound
from nodus.health import HealthView
from nodus.tokens import RefreshView, TokenView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("health", HealthView.as_view(), name="health"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/v1/auth/token", TokenView.as_view(), name="token"),
    path("api/v1/auth/token/refresh", RefreshView.as_view(), name="token-refresh"),
    path("api/v1/", include("attachments.urls")),
    path("api/v1/", include("nodus.messaging.urls")),
]


def handler404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Clients of the API get JSON for addresses that do not exist, too."""
    if not request.path.startswith("/api/"):
        return page_not_found(request, exception)
    error = {"code": NotFound.code, "detail": NotFound().detail, "attr": None}
    return JsonResponse({"type": "client_error", "errors": [error]}, status=404)
