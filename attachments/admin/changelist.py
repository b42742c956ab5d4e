"""Pages of a list that cost the same on a million rows as on a thousand.

docs/decisions/0010-admin-at-scale.md tells why.
"""

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

OLDER, NEWER = "older", "newer"


class KeysetChangeList(ChangeList):
    """Pages by position instead of by number, so that no page needs COUNT or OFFSET.

    The order is always ``ModelAdmin.ordering``: field names, all of them descending, the last one
    unique. An index on the first one serves every page.
    """

    older_link = newer_link = newest_link = ""

    @property
    def has_other_pages(self) -> bool:
        return bool(self.older_link or self.newer_link)

    @property
    def keys(self) -> list[str]:
        return [str(name).removeprefix("-") for name in self.model_admin.ordering or ()]

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return list(self.model_admin.ordering or ())

    def get_ordering_field_columns(self) -> dict[int, Any]:
        return {}

    def get_results(self, request: HttpRequest) -> None:
        page = request.GET.get(PAGE_VAR, "")
        direction, _, position = page.partition(".")
        is_newer = direction == NEWER
        rows = self.queryset.reverse() if is_newer else self.queryset
        if page:
            rows = rows.filter(self._parse_position(position, is_newer))
        found = list(rows[: self.list_per_page + 1])
        has_more = len(found) > self.list_per_page
        found = found[: self.list_per_page]
        if is_newer:
            found.reverse()
        if found and (has_more or is_newer):
            self.older_link = self._link(OLDER, found[-1])
        if found and (has_more if is_newer else page):
            self.newer_link = self._link(NEWER, found[0])
        if page:
            self.newest_link = self.get_query_string()
        self._show(found)

    def _show(self, found: list[Model]) -> None:
        """What the admin's views and templates ask for."""
        self.result_list = found
        # Both are the same, or the search box would show this page's count beside a total.
        self.result_count = self.full_result_count = len(found)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True
        self.paginator = None

    def _link(self, direction: str, row: Model) -> str:
        values = [self._get_field(name).value_to_string(row) for name in self.keys]
        return self.get_query_string({PAGE_VAR: f"{direction}.{'~'.join(values)}"})

    def _parse_position(self, position: str, is_newer: bool) -> Q:
        """Select the rows beyond a position, in a form that the index on the first key serves."""
        lookup = "gt" if is_newer else "lt"
        try:
            values = [
                (name, self._get_field(name).to_python(text))
                for name, text in zip(self.keys, position.split("~"), strict=True)
            ]
        except (ValueError, ValidationError) as error:
            raise IncorrectLookupParameters from error
        beyond, same = Q(), Q()
        for name, value in values:
            beyond |= same & Q((f"{name}__{lookup}", value))
            same &= Q((name, value))
        return Q((f"{values[0][0]}__{lookup}e", values[0][1])) & beyond

    def _get_field(self, name: str) -> Any:
        return self.opts.pk if name == "pk" else self.opts.get_field(name)
