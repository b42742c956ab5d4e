"""The list of attachments: what narrows it, and what it says where it is empty."""

from typing import Any

from django.contrib.admin.views.main import ORDER_VAR
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from attachments.admin.dates import DatedChangeList
from attachments.models import Attachment

_NARROWING = ("user", "message", "content_type")


class AttachmentChangeList(DatedChangeList):
    """Leaves out the column that may be long and that the list does not show."""

    @property
    def is_by_size(self) -> bool:
        return bool(self.names[0] == "size_bytes")

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters).defer("metadata")
        # The size of others is what a client said, or unknown.
        return rows.filter(status=Attachment.Status.READY) if self.is_by_size else rows

    @cached_property
    def narrowings(self) -> list[tuple[str, str, str]]:
        """What other pages narrow the list to: its name, its value, and the list without it.

        The filters beside the list know nothing of these.
        """
        fields: list[Any] = [Attachment._meta.get_field(name) for name in _NARROWING]
        return [
            (
                str(field.verbose_name),
                self._name(field.name, text),
                self.get_query_string(remove=[f"{field.name}__exact"]),
            )
            for field in fields
            if (text := self.params.get(f"{field.name}__exact", ""))
        ]

    @property
    def is_narrowed(self) -> bool:
        return bool({*self.params} - {ORDER_VAR})

    def _name(self, field: str, text: str) -> str:
        if field == "message":
            return f"#{text}"
        if field != "user":
            return text
        users = get_user_model()._default_manager
        try:
            found = users.filter(pk=text).first()
        except ValueError:
            found = None
        return found.get_username() if found else f"#{text}"
