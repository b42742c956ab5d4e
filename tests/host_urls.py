"""Addresses of hosts: under a tenant, under a version of the API, and two sites of the admin."""

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.urls import include, path
from rest_framework.versioning import URLPathVersioning

from attachments.admin import AttachmentAdmin, AttachmentInline
from attachments.api.views import AttachmentViewSet
from attachments.models import Attachment


class UserAdmin(admin.ModelAdmin):
    inlines = [AttachmentInline]


class VersionedViewSet(AttachmentViewSet):
    versioning_class = URLPathVersioning


office = admin.AdminSite(name="office")
office.register(Attachment, AttachmentAdmin)
office.register(get_user_model(), UserAdmin)
bare = admin.AdminSite(name="bare")
bare.register(get_user_model(), UserAdmin)

urlpatterns = [
    path("i18n/", include("django.conf.urls.i18n")),  # of the templates of nodus
    path("admin/", admin.site.urls),
    path("office/", office.urls),
    path("bare/", bare.urls),
    path("versions/<str:version>/", include("attachments.urls", namespace="versioned")),
    path("<slug:tenant>/files/", include("attachments.urls")),
]
