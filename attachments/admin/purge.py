"""The page of the admin that purges what nothing needs."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from attachments import services
from attachments.admin.display import show_moment
from attachments.admin.links import find_list_url
from attachments.admin.workers import warn_of_silence
from attachments.task_framework import TaskResult, find_result
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
            return redirect(find_list_url(self, request))
        warn_of_silence(request)
        report = services.count_purgeable()
        asked_for = find_result(purge_orphans, request.GET.get("task", ""))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Purge orphans now"),
            "opts": self.opts,
            "report": report,
            "size": filesizeformat(report.size_bytes),
            "asked_for": asked_for and _describe(asked_for),
            "list_url": find_list_url(self, request),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/attachments/purge.html", context)

    def _tell(self, request: HttpRequest, result: TaskResult) -> None:
        level = messages.ERROR if result.status == result.status.FAILED else messages.SUCCESS
        self.message_user(request, _describe(result), level)
        if result.is_finished:
            return
        if find_result(purge_orphans, result.id):
            page = reverse("admin:attachments_purge", current_app=self.admin_site.name)
            address = f"{page}?{urlencode({'task': result.id})}"
            link = format_html('<a href="{}">{}</a>', address, _("See how the purge goes"))
            self.message_user(request, link, messages.INFO)
        warn_of_silence(request)


def _describe(result: TaskResult) -> str:
    """How far a purge is, and what came of it."""
    if result.status == result.status.FAILED:
        return _("The purge failed. The log has the reason; the next purge does the rest.")
    if result.is_finished:
        return _describe_outcome(services.PurgeReport(**result.return_value))
    if result.started_at:
        return _("A worker purges since %(time)s.") % {"time": show_moment(result.started_at)}
    return _("A worker purges as soon as it is free.")


def _describe_outcome(report: services.PurgeReport) -> str:
    size = filesizeformat(report.size_bytes)
    text = ngettext(
        "The purge deleted %(count)s attachment, %(size)s.",
        "The purge deleted %(count)s attachments, %(size)s.",
        report.row_count,
    ) % {"count": report.row_count, "size": size}
    if not report.waiting:
        return text
    rest = ngettext(
        "%(count)s object still waits to be deleted.",
        "%(count)s objects still wait to be deleted.",
        report.waiting,
    )
    return f"{text} {rest % {'count': report.waiting}}"
