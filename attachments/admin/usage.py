"""The page of the admin that shows how much space the files take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format, get_format, number_format
from django.utils.http import urlencode
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from attachments.admin.charts import Datum, draw_bars, draw_columns
from attachments.admin.workers import warn_of_silence
from attachments.conf import conf
from attachments.models import Attachment
from attachments.services import kept_usage, usage
from attachments.task_framework import TaskResult, works_in_requests
from attachments.tasks import refresh_usage

PERIODS = (7, 30, 90)
"""Days that the page offers."""
DEFAULT_PERIOD = 30


class UsageMixin(admin.ModelAdmin):
    """Adds the page to the admin of attachments."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.usage_view)
        return [path("usage/", view, name="attachments_usage"), *super().get_urls()]

    def usage_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show what is kept, and what the rows of usage say; a POST asks for newer figures."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        days = _read_period(request.GET.get("days", ""))
        if request.method == "POST":
            self._tell_of_refresh(request, refresh_usage.enqueue())
            address = reverse("admin:attachments_usage", current_app=self.admin_site.name)
            return redirect(f"{address}?days={days}")
        warn_of_silence(request)
        owners = usage.measure_owners()
        figures = kept_usage.find_figures(rows=owners.rows)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": _("Usage"),
            "opts": self.opts,
            "days": days,
            "periods": PERIODS,
            "tiles": _make_tiles(owners, figures),
            **_show_owners(owners),
            "figures": figures,
            **(_show_figures(figures, days=days) if figures else _ask_for_figures()),
        }
        return TemplateResponse(request, "admin/attachments/usage.html", context)

    def _tell_of_refresh(self, request: HttpRequest, result: TaskResult) -> None:
        if result.status == result.status.FAILED:
            text = _("The figures could not be counted. The log has the reason.")
            self.message_user(request, text, messages.ERROR)
        elif not result.is_finished:
            text = _("A worker counts as soon as it is free. Task: %(id)s.") % {"id": result.id}
            self.message_user(request, text, messages.SUCCESS)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table, and a bar of the chart above it."""

    name: str
    amount: usage.Amount
    query: str = ""
    """The query that lists these files."""

    @property
    def files(self) -> str:
        return _format_count(self.amount.files)

    @property
    def size(self) -> str:
        return filesizeformat(self.amount.size_bytes)

    @property
    def files_datum(self) -> Datum:
        text = ngettext("%(count)s file", "%(count)s files", self.amount.files)
        return Datum(label=self.name, value=self.amount.files, text=text % {"count": self.files})

    @property
    def size_datum(self) -> Datum:
        return Datum(label=self.name, value=self.amount.size_bytes, text=self.size)

    @property
    def full_datum(self) -> Datum:
        text = f"{self.size} · {self.files_datum.text}"
        return Datum(label=self.name, value=self.amount.size_bytes, text=text, query=self.query)


def _read_period(text: str) -> int:
    return int(text) if text in map(str, PERIODS) else DEFAULT_PERIOD


def _make_tiles(owners: usage.Owners, figures: usage.Figures | None) -> list[tuple[str, str, str]]:
    """The numbers at the top: for each a name, the number, and a detail."""
    stored = Row(name="", amount=owners.stored)
    tiles = [(_("Stored"), stored.size, stored.files_datum.text)]
    if figures:
        orphans = Row(name="", amount=figures.orphans.amount)
        attempted = _format_count(figures.deletions.attempted)
        tiles += [
            (_("Orphans"), orphans.size, orphans.files_datum.text),
            (
                _("Waiting deletions"),
                _format_count(figures.deletions.objects),
                _("%(count)s tried already") % {"count": attempted},
            ),
        ]
    return tiles


def _show_figures(figures: usage.Figures, *, days: int) -> dict[str, Any]:
    return {
        **_show_days(dict(list(figures.by_day.items())[-days:])),
        **_show_types(figures.by_type),
        "status_table": _show_statuses(figures.by_status),
        **_show_largest(figures.largest),
        **_show_orphans(figures.orphans, ready=figures.ready),
        **_show_deletions(figures.deletions),
    }


def _ask_for_figures() -> dict[str, Any]:
    """Let a worker count, if there is one: not a backend that would do so in this request."""
    if works_in_requests(refresh_usage):
        return {}
    asked_at, is_new = kept_usage.request_refresh()
    if is_new:
        refresh_usage.enqueue()
    return {"asked_at": asked_at}


def _show_days(by_day: dict[date, usage.Amount]) -> dict[str, Any]:
    # Translators: a day under a chart, as short as can be, in the letters of Django's "date" filter
    day_format = pgettext("date format", "j M")
    rows = [Row(name=date_format(day, day_format), amount=amount) for day, amount in by_day.items()]
    files = [row.files_datum for row in rows]
    sizes = [row.size_datum for row in rows]
    return {
        "day_files": draw_columns(files, format_tick=_format_count),
        "day_sizes": draw_columns(sizes, format_tick=_format_round_size, is_bytes=True),
        "day_table": [
            Row(name=date_format(day), amount=amount) for day, amount in reversed(by_day.items())
        ],
    }


def _show_types(by_type: Mapping[str, usage.Amount]) -> dict[str, Any]:
    rows = [
        Row(name=name, amount=amount, query=urlencode({"content_type__exact": name}))
        for name, amount in by_type.items()
    ]
    return {"type_table": rows, "type_chart": draw_bars([row.full_datum for row in rows])}


def _show_owners(owners: usage.Owners) -> dict[str, Any]:
    """The owners with the most bytes, and all others in one row."""
    rows = [
        Row(name=user.get_username(), amount=amount, query=urlencode({"user__exact": user.pk}))
        for user, amount in owners.top
    ]
    if owners.others:
        name = ngettext("%(count)s other", "%(count)s others", owners.others)
        count = _format_count(owners.others)
        rows.append(Row(name=name % {"count": count}, amount=owners.of_others))
    return {"owner_table": rows, "owner_chart": draw_bars([row.full_datum for row in rows])}


def _show_statuses(by_status: Mapping[str, usage.Amount]) -> list[Row]:
    """Every status, in the order of a file's life."""
    return [
        Row(
            name=str(status.label),
            amount=by_status.get(status, usage.Amount()),
            query=urlencode({"status__exact": status.value}),
        )
        for status in Attachment.Status
    ]


def _show_orphans(orphans: usage.Orphans, *, ready: usage.Amount) -> dict[str, Any]:
    orphan_days = conf.orphan_age.days
    overdue = ngettext("Orphans over %(days)s day", "Orphans over %(days)s days", orphan_days)
    rows = [
        Row(name=_("On a message"), amount=ready.without(orphans.amount)),
        Row(name=_("Orphans"), amount=orphans.amount),
        Row(name=overdue % {"days": orphan_days}, amount=orphans.overdue),
    ]
    return {"orphan_table": rows, "orphan_chart": draw_bars([row.full_datum for row in rows])}


def _show_largest(ids: Sequence[UUID]) -> dict[str, Any]:
    """Those that are still there."""
    found = Attachment.objects.ready().filter(pk__in=ids).select_related("user")
    return {"largest": found.order_by("-size_bytes", "-pk").defer("metadata", "error")}


def _show_deletions(deletions: usage.WaitingDeletions) -> dict[str, Any]:
    counts = {
        _("Not tried yet"): deletions.objects - deletions.attempted,
        _("Tried already"): deletions.attempted,
    }
    data = [
        Datum(label=name, value=value, text=_format_count(value)) for name, value in counts.items()
    ]
    facts = [
        *((datum.label, datum.text) for datum in data),
        (_("Oldest"), timesince(deletions.oldest_at) if deletions.oldest_at else "–"),
        (_("Last error"), deletions.last_error or "–"),
    ]
    return {"deletion_facts": facts, "deletion_chart": draw_bars(data)}


def _format_count(value: int) -> str:
    return number_format(value, force_grouping=True)


def _format_round_size(size_bytes: int) -> str:
    """``200 MB``, where ``filesizeformat`` gives ``200.0 MB``."""
    return filesizeformat(size_bytes).replace(f"{get_format('DECIMAL_SEPARATOR')}0", "")
