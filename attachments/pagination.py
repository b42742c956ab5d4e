from rest_framework.pagination import CursorPagination


class NewestFirstPagination(CursorPagination):
    """{next, previous, results}; no page costs more than the first, however deep."""

    ordering = ("-created_at", "-pk")
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 100
