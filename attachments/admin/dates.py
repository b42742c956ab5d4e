"""Years, months and days to choose from, found without reading the rows.

Django's own date hierarchy reads every row to learn which days have rows. Here the first and the
last date are enough, and an index gives both. A day between them may turn out to have no rows.
"""

import calendar
from datetime import date
from typing import Any

from django.db.models import Max, Min
from django.utils import timezone
from django.utils.formats import date_format, get_format
from django.utils.translation import gettext as _

from attachments.admin.changelist import KeysetChangeList

PARTS = ("year", "month", "day")


class DatedChangeList(KeysetChangeList):
    """Adds links to dates. Their addresses are those of Django's own date hierarchy."""

    @property
    def date_links(self) -> dict[str, Any]:
        """The context of Django's ``admin/date_hierarchy.html``."""
        span = self.root_queryset.order_by().aggregate(
            first=Min(self.date_hierarchy), last=Max(self.date_hierarchy)
        )
        if span["first"] is None:
            return {"show": False}
        first, last = timezone.localdate(span["first"]), timezone.localdate(span["last"])
        chosen = self._get_chosen()
        shown = chosen or _get_common(first, last)
        return {
            "show": True,
            "back": self._link_date(chosen[:-1]) if chosen else None,
            "choices": [self._link_date(parts) for parts in _divide(shown, first, last)],
        }

    def _get_chosen(self) -> list[int]:
        """The year, month and day in the address, as many of them as it has."""
        chosen: list[int] = []
        for part in PARTS:
            text = self.params.get(f"{self.date_hierarchy}__{part}", "")
            if not text.isdecimal():
                break
            chosen.append(int(text))
        return chosen

    def _link_date(self, parts: list[int]) -> dict[str, str]:
        prefix = f"{self.date_hierarchy}__"
        new = {prefix + part: str(number) for part, number in zip(PARTS, parts, strict=False)}
        return {"link": self.get_query_string(new, [prefix]), "title": _name_date(parts)}


def _get_common(first: date, last: date) -> list[int]:
    """The year, or the year and month, that both dates share."""
    if first.year != last.year:
        return []
    return [first.year] if first.month != last.month else [first.year, first.month]


def _divide(shown: list[int], first: date, last: date) -> list[list[int]]:
    """The years, the months of a year, or the days of a month, between the two dates."""
    match shown:
        case []:
            numbers = range(first.year, last.year + 1)
        case [_]:
            numbers = range(1, 13)
        case [year, month]:
            numbers = range(1, calendar.monthrange(year, month)[1] + 1)
        case _:
            return [shown]
    depth = len(shown) + 1
    bounds = [[end.year, end.month, end.day][:depth] for end in (first, last)]
    return [[*shown, number] for number in numbers if bounds[0] <= [*shown, number] <= bounds[1]]


def _name_date(parts: list[int]) -> str:
    """As Django's own date hierarchy names it."""
    match parts:
        case []:
            return _("All dates")
        case [year]:
            return str(year)
        case [year, month]:
            return date_format(date(year, month, 1), "YEAR_MONTH_FORMAT")
        case _:
            # Django's Russian says "24 Ноябрь" here. E gives the month in the form for dates.
            day_format = get_format("MONTH_DAY_FORMAT").replace("F", "E")
            return date_format(date(*parts), day_format)
