"""Pages of a list that cost the same on a million rows as on a thousand.

docs/decisions/0010-admin-at-scale.md tells why.
"""

from itertools import chain
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from attachments.paging import InvalidPosition, Position, parse_position, read_page


class KeysetChangeList(ChangeList):
    """Pages by position instead of by number, so that no page needs COUNT or OFFSET.

    The order is that of a column that staff chose, or ``ModelAdmin.ordering``: a field of
    ``indexed_fields``, and the key, both in one direction. An index on both serves every page.
    """

    following_link = preceding_link = first_link = ""

    @property
    def has_other_pages(self) -> bool:
        return bool(self.following_link or self.preceding_link)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        model_admin: Any = self.model_admin
        chosen = str(super().get_ordering(request, queryset)[0])
        if chosen.removeprefix("-") not in model_admin.indexed_fields:
            chosen = model_admin.ordering[0]
        sign = "-" if chosen.startswith("-") else ""
        self.is_ascending = not sign
        self.names = tuple(dict.fromkeys([chosen.removeprefix("-"), "pk"]))
        return [f"{sign}{name}" for name in self.names]

    def get_ordering_field_columns(self) -> dict[int, Any]:
        """The column that gives the order, for the arrow in its head."""
        direction = "asc" if self.is_ascending else "desc"
        columns = map(self.get_ordering_field, self.list_display)
        return {n: direction for n, field in enumerate(columns) if field == self.names[0]}

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        try:
            return super().get_queryset(request, exclude_parameters)
        except OverflowError as error:  # a year of twenty digits: Django expects ValueError alone
            raise IncorrectLookupParameters from error

    def get_results(self, request: HttpRequest) -> None:
        """Raise ``IncorrectLookupParameters`` also for what only the database finds wrong."""
        text = request.GET.get(PAGE_VAR, "")
        values = chain.from_iterable(values for _name, values in request.GET.lists())
        if any("\0" in value for value in values):  # PostgreSQL's texts have none
            raise IncorrectLookupParameters
        try:
            position = parse_position(text, model=self.model, names=self.names) if text else None
            page = read_page(
                self.queryset,
                size=self.list_per_page,
                position=position,
                names=self.names,
                is_ascending=self.is_ascending,
            )
        except (InvalidPosition, ValueError, OverflowError) as error:  # no calendar has the year
            raise IncorrectLookupParameters from error
        self.following_link = self._link(page.following)
        self.preceding_link = self._link(page.preceding)
        self.first_link = self.get_query_string() if position else ""
        self._show(page.rows)

    def _show(self, found: list[Model]) -> None:
        """What the admin's views and templates ask for."""
        self.result_list = found
        # Both are the same, or the search box would show this page's count beside a total.
        self.result_count = self.full_result_count = len(found)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True
        self.paginator = None

    def _link(self, position: Position | None) -> str:
        return self.get_query_string({PAGE_VAR: position.write()}) if position else ""
