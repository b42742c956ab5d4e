from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from attachments.paging import (
    NEWEST_FIRST,
    InvalidPosition,
    Page,
    Position,
    parse_position,
    read_page,
)


class NewestFirstPagination(CursorPagination):
    """{next, previous, results}. REST framework's own cursors loop where many rows share a moment.

    Takes a queryset or a ``paging.Source``.
    """

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 100
    _page: Page
    _address: str

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any] | None:
        self._address = request.build_absolute_uri()
        self._page = read_page(
            queryset,
            size=self.get_page_size(request) or self.page_size,
            position=self._parse_cursor(request, queryset.model),
        )
        return self._page.rows

    def get_next_link(self) -> str | None:
        return self._link(self._page.following)

    def get_previous_link(self) -> str | None:
        return self._link(self._page.preceding)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def _link(self, position: Position | None) -> str | None:
        if position is None:
            return None
        cursor = urlsafe_b64encode(position.write().encode()).decode()
        return replace_query_param(self._address, self.cursor_query_param, cursor)

    def _parse_cursor(self, request: Request, model: Any) -> Position | None:
        cursor = request.query_params.get(self.cursor_query_param)
        if not cursor:
            return None
        try:
            text = urlsafe_b64decode(cursor.encode("ascii")).decode("ascii")
            return parse_position(text, model=model, names=NEWEST_FIRST)
        except (ValueError, InvalidPosition) as error:
            raise NotFound(self.invalid_cursor_message) from error
