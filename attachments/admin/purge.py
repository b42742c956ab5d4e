"""The page of the admin that purges what nothing needs."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from attachments import services
from attachments.admin.workers import warn_of_silence
from attachments.task_framework import TaskResult
from attachments.tasks import purge_orphans


class PurgeMixin(admin.ModelAdmin):
    """Adds the page to the admin of attachments."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.purge_view)
        return [path("purge/", view, name="attachments_purge"), *super().get_urls()]

    def purge_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show what a purge would remove; then let a worker do it, as it may take minutes."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            self._tell(request, purge_orphans.enqueue())
            name = "admin:attachments_attachment_changelist"
            return redirect(reverse(name, current_app=self.admin_site.name))
        warn_of_silence(request)
        report = services.count_purgeable()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Purge orphans now"),
            "opts": self.opts,
            "report": report,
            "size": filesizeformat(report.size_bytes),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/attachments/purge.html", context)

    def _tell(self, request: HttpRequest, result: TaskResult) -> None:
        if result.status == result.status.FAILED:
            text = _("The purge failed. The log has the reason; the next purge does the rest.")
            self.message_user(request, text, messages.ERROR)
        elif result.is_finished:
            self.message_user(request, _("Purged."), messages.SUCCESS)
        else:
            text = _("A worker purges as soon as it is free. Task: %(id)s.") % {"id": result.id}
            self.message_user(request, text, messages.SUCCESS)
            warn_of_silence(request)
