from django.contrib import admin
from django.http import HttpRequest

from attachments.models import Attachment


@admin.register(Attachment)
class AttachmentAdmin(admin.ModelAdmin):
    """For staff to look and delete: what the store holds is not changed by editing a row."""

    list_display = ["filename", "user", "content_type", "size_bytes", "status", "created_at"]
    list_filter = ["status", "content_type"]
    list_select_related = ["user"]
    search_fields = ["filename", "id"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Attachment | None = None) -> bool:
        return False
