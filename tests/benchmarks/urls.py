"""nodus, and the floor: what Django, REST framework and authentication cost without any work."""

from django.conf import settings
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from nodus import urls as nodus_urls


class FloorView(APIView):
    """Authentication, permissions, renderer and middleware are those of nodus."""

    def get(self, request: Request) -> Response:
        return Response({"answer": 42})


urlpatterns = [
    path(settings.FLOOR_PATH.removeprefix("/"), FloorView.as_view()),
    *nodus_urls.urlpatterns,
]
