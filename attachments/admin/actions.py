"""What staff do with the attachments that they chose in the list."""

import csv
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from attachments import services
from attachments.admin.deleting import describe_deletion
from attachments.admin.links import Linker
from attachments.errors import StorageUnavailable
from attachments.models import Attachment, ObjectDeletion

CHUNK_ROWS = 2000


@admin.action(permissions=["delete"], description=gettext_lazy("Delete selected attachments"))
def delete_selected(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Attachment]
) -> HttpResponseBase | None:
    """Ask first, and show how much would go; then delete in one statement.

    The form carries the moment at which the page counted: attachments that came later stay.
    """
    counted_at = _parse_moment(request.POST.get("counted_at", "")) or timezone.now()
    rows = queryset.filter(created_at__lte=counted_at)
    deletable = services.exclude_protected(rows)
    extent = services.measure_attachments(deletable)
    if not request.POST.get("post"):
        going = describe_deletion(deletable, extent=extent, linker=Linker.of(model_admin, request))
        return _ask(model_admin, request, going, counted_at)
    model_admin.log_deletions(request, deletable)
    deletion = services.delete_attachments(rows)
    count, stayed = deletion.deleted, deletion.protected
    text = ngettext("Deleted %(count)d attachment.", "Deleted %(count)d attachments.", count)
    model_admin.message_user(request, text % {"count": count}, messages.SUCCESS)
    if stayed:
        text = ngettext(
            "%(count)d attachment stays: other records need it.",
            "%(count)d attachments stay: other records need them.",
            stayed,
        )
        model_admin.message_user(request, text % {"count": stayed}, messages.WARNING)
    return None


def _parse_moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment and timezone.is_aware(moment) else None


def _ask(
    model_admin: Any, request: HttpRequest, going: dict[str, Any], counted_at: datetime
) -> HttpResponseBase:
    context = {
        **model_admin.admin_site.each_context(request),
        "title": _("Delete multiple objects"),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "going": going,
        "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "select_across": request.POST.get("select_across", "0"),
        "counted_at": counted_at.isoformat(),
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/attachments/delete_selected.html", context)


@admin.action(permissions=["view"], description=gettext_lazy("Download the links as CSV"))
def download_links(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Attachment]
) -> HttpResponseBase:
    """Stream one line per attachment."""
    name = f"attachments-{timezone.localdate():%Y-%m-%d}.csv"
    return StreamingHttpResponse(
        _write_csv(queryset),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


class _Echo:
    """A file for ``csv.writer`` that gives each line back."""

    def write(self, line: str) -> str:
        return line


def _write_csv(rows: QuerySet[Attachment]) -> Iterator[str]:
    write = csv.writer(_Echo(), quoting=csv.QUOTE_NONNUMERIC).writerow
    yield "\ufeff"  # without it, Excel reads UTF-8 as the local code page
    yield write(["id", "filename", "size_bytes", "content_type", "owner", "link"])
    for row in rows.select_related("user").iterator(CHUNK_ROWS):
        link = services.get_download_url(row) or ""
        cells = [row.filename, row.size_bytes, row.content_type, row.user.get_username(), link]
        yield write([str(row.pk), *map(_defuse, cells)])


# Where a spreadsheet begins a cell: at the start, and after what some countries' Excel and
# LibreOffice take for the end of a cell, also inside of quotes that do not begin a cell for them.
_FORMULA = re.compile(r"""(^|[;\t\r\n])(?=["'\s]*[=+\-@＝＋－＠]|[\t\r\n])""")


def _defuse(cell: Any) -> Any:
    """A spreadsheet would run such cells as formulas: https://owasp.org/www-community/attacks/CSV_Injection"""
    return _FORMULA.sub(r"\1'", cell) if isinstance(cell, str) else cell


@admin.action(permissions=["retry"], description=gettext_lazy("Try again now"))
def retry_deletions(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[ObjectDeletion]
) -> None:
    try:
        count = services.retry_deletions(queryset)
    except StorageUnavailable as error:
        model_admin.message_user(request, error.reason, messages.ERROR)
        return
    text = ngettext("Deleted %(count)d object.", "Deleted %(count)d objects.", count)
    model_admin.message_user(request, text % {"count": count}, messages.SUCCESS)
