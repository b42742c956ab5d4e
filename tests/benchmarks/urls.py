"""The addresses of nodus, and the floor: what a request costs that does no work.

That is the cost of Django, REST framework and authentication alone.
"""

from django.conf import settings
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from nodus import urls as nodus_urls


class FloorView(APIView):
    """A view with the authentication, permissions, renderer and middleware of nodus."""

    schema = None  # it is no part of the API

    def get(self, request: Request) -> Response:
        return Response({"answer": 42})


urlpatterns = [
    path(settings.FLOOR_PATH.removeprefix("/"), FloorView.as_view()),
    *nodus_urls.urlpatterns,
]
