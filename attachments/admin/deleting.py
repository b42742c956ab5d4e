"""What a page tells staff before they delete attachments."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from attachments import services
from attachments.admin.display import show_size
from attachments.admin.links import Linker
from attachments.conf import conf
from attachments.models import Attachment

MAX_NAMED = 10
"""Files that a page names."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One file that goes."""

    name: str
    size: str
    message: SafeString | str
    """A link to where it hangs; empty if it hangs nowhere."""


def describe_deletion(
    rows: QuerySet[Attachment], *, extent: services.Extent, linker: Linker
) -> dict[str, Any]:
    """The context of ``what_goes.html``."""
    first = list(rows.order_by("-created_at", "-pk").defer("metadata", "error")[:MAX_NAMED])
    lines = [
        Line(
            name=row.filename,
            size=show_size(row.size_bytes),
            message=linker.link_message(row) if row.message_id is not None else "",
        )
        for row in first
    ]
    return {
        "lines": lines,
        "others": extent.row_count - len(lines),
        "linked": rows.filter(message__isnull=False).count() if extent.row_count > MAX_NAMED else 0,
        "has_cdn": bool(conf.cdn_url),
        "summary": summarize(extent).items(),
    }


def summarize(extent: services.Extent) -> dict[str, Any]:
    """Rows for the summary on Django's pages that ask before deleting."""
    return {
        _("attachments"): extent.row_count,
        _("objects in the store"): extent.object_count,
        _("size"): filesizeformat(extent.size_bytes),
    }
