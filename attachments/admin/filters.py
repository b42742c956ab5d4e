"""Filters of the list. Their choices are fixed: none of them asks the database for some."""

from itertools import pairwise
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments.admin.display import GROUPS
from attachments.models import Attachment

OTHER = "other"


class TypeFilter(SimpleListFilter):
    """Images, videos and so on; a type of no group is "other"."""

    title = gettext_lazy("kind of file")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, group.plural) for name, group in GROUPS.items()] + [(OTHER, _("Other"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        kind = self.value()
        if kind in GROUPS:
            return queryset.filter(_starts_with(GROUPS[kind].prefixes))
        if kind == OTHER:
            return queryset.exclude(_starts_with([p for g in GROUPS.values() for p in g.prefixes]))
        return queryset


class SizeFilter(SimpleListFilter):
    """Ranges of sizes that do not overlap; the bounds are in bytes."""

    title = gettext_lazy("size")
    parameter_name = "size"
    bounds = (0, 100 * 2**10, 2**20, 10 * 2**20, 100 * 2**20)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        _zero, smallest, *others = map(filesizeformat, self.bounds)
        names = [
            _("Less than %(size)s") % {"size": smallest},
            *(f"{low} – {high}" for low, high in pairwise([smallest, *others])),
            _("%(size)s and more") % {"size": filesizeformat(self.bounds[-1])},
        ]
        return list(zip(map(str, self.bounds), names, strict=True))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for low, high in zip(self.bounds, [*self.bounds[1:], None], strict=True):
            if self.value() == str(low):
                queryset = queryset.filter(size_bytes__gte=low)
                return queryset if high is None else queryset.filter(size_bytes__lt=high)
        return queryset


class LinkedFilter(SimpleListFilter):
    """Whether an attachment hangs on a message. A purge removes orphans that are old enough."""

    title = gettext_lazy("message")
    parameter_name = "linked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", _("Linked")), ("no", _("Orphans"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "yes":
            return queryset.exclude(message=None)
        if self.value() == "no":
            return queryset.filter(message=None, status=Attachment.Status.READY)
        return queryset


def _starts_with(prefixes: list[str] | tuple[str, ...]) -> Q:
    return Q.create([("content_type__startswith", prefix) for prefix in prefixes], Q.OR)
