from django.urls import path

from attachments.api.parsers import BoundedBatchParser
from attachments.api.views import AttachmentViewSet

app_name = "attachments"

urlpatterns = [
    path(
        "attachments/presigned", AttachmentViewSet.as_view({"post": "presigned"}), name="presigned"
    ),
    path(
        "attachments/presigned/batch",
        AttachmentViewSet.as_view({"post": "presigned_batch"}, parser_classes=[BoundedBatchParser]),
        name="presigned-batch",
    ),
    path("attachments/usage", AttachmentViewSet.as_view({"get": "usage"}), name="usage"),
    path("attachments/confirm", AttachmentViewSet.as_view({"post": "confirm"}), name="confirm"),
    path("attachments", AttachmentViewSet.as_view({"get": "list"}), name="list"),
    path(
        "attachments/<str:attachment_id>/download",
        AttachmentViewSet.as_view({"get": "download"}),
        name="download",
    ),
    path(
        "attachments/<str:attachment_id>",
        AttachmentViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="detail",
    ),
]
