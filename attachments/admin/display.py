"""How the admin shows the facts of an attachment: as safe HTML, made without a query."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from attachments import services
from attachments.models import Attachment
from attachments.policy import Limits

NOTHING = "–"
# The list shows images up to this size themselves: a page may have a hundred of them.
MAX_THUMBNAIL_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Group:
    """A kind of file, as people know them."""

    prefixes: tuple[str, ...]
    name: str | Promise
    plural: str | Promise
    icon: str
    """The path of an SVG of 24 by 24."""


_FILE = "M6 2h8l5 5v15H5V3zm8 1v5h5"
GROUPS = {
    "image": Group(
        prefixes=("image/",),
        name=gettext_lazy("Image"),
        plural=gettext_lazy("Images"),
        icon="M3 5h18v14H3zm0 11 5-5 5 5 3-3 5 4M16 9h.01",
    ),
    "video": Group(
        prefixes=("video/",),
        name=gettext_lazy("Video"),
        plural=gettext_lazy("Videos"),
        icon="M3 5h18v14H3zm7 4v6l5-3z",
    ),
    "audio": Group(
        prefixes=("audio/",),
        name=gettext_lazy("Audio"),
        plural=gettext_lazy("Audio"),
        icon="M9 18V5l11-2v13M9 18a3 3 0 1 1-6 0 3 3 0 0 1 6 0zm11-2a3 3 0 1 1-6 0 3 3 0 0 1 6 0z",
    ),
    "document": Group(
        prefixes=("application/", "text/"),
        name=gettext_lazy("Document"),
        plural=gettext_lazy("Documents"),
        icon=f"{_FILE}M8 12h8M8 16h8",
    ),
}
_OTHER = Group(prefixes=(), name=gettext_lazy("File"), plural=gettext_lazy("Files"), icon=_FILE)


def get_group(content_type: str) -> Group:
    """The kind of file that a content type is."""
    return next((g for g in GROUPS.values() if content_type.startswith(g.prefixes)), _OTHER)


def show_thumbnail(attachment: Attachment) -> SafeString:
    """Its thumbnail, or the image itself if it is small, or the icon of its kind."""
    if url := services.get_thumbnail_url(attachment) or _find_small_image(attachment):
        return format_html(
            '<img class="attachment-thumbnail" src="{}" alt="{}" width="48" height="48" '
            'loading="lazy" decoding="async" referrerpolicy="no-referrer">',
            url,
            attachment.filename,
        )
    group = get_group(attachment.content_type)
    return format_html(
        '<svg class="attachment-thumbnail" role="img" aria-label="{0}" viewBox="-12 -12 48 48" '
        'width="48" height="48"><title>{0}</title><path d="{1}"/></svg>',
        group.name,
        group.icon,
    )


def _find_small_image(attachment: Attachment) -> str | None:
    is_small = (attachment.size_bytes or 0) <= MAX_THUMBNAIL_BYTES
    is_image = attachment.content_type.startswith("image/")
    return services.get_download_url(attachment) if is_small and is_image else None


def show_preview(attachment: Attachment) -> SafeString | str:
    """The file itself, in the element that browsers have for its kind."""
    url = services.get_download_url(attachment)
    if url is None:
        return _("There is nothing to show until the file is ready.")
    kind = attachment.content_type.partition("/")[0]
    element = {
        "image": '<img class="attachment-preview" src="{0}" alt="{1}">',
        "video": '<video class="attachment-preview" src="{0}" controls preload="metadata"></video>',
        "audio": '<audio class="attachment-preview" src="{0}" controls preload="metadata"></audio>',
    }.get(kind)
    if attachment.content_type == "application/pdf":
        element = (
            '<object class="attachment-preview attachment-page" data="{0}" type="application/pdf">'
            '<a href="{0}" rel="noreferrer">{1}</a></object>'
        )
    if element is None:
        return _("Browsers do not show files of this type.")
    return format_html(element, url, attachment.filename)


def show_status(attachment: Attachment) -> SafeString:
    return format_html(
        '<span class="attachment-status attachment-{}">{}</span>',
        attachment.status,
        attachment.get_status_display(),
    )


def show_status_and_reason(attachment: Attachment) -> SafeString:
    """The status; if the file was refused, also why."""
    status = show_status(attachment)
    if not (info := attachment.error_info):
        return status
    return format_html('{}<br><span class="quiet">{}</span>', status, info["detail"])


def show_size(size_bytes: int | None) -> str:
    return NOTHING if size_bytes is None else filesizeformat(size_bytes)


def show_size_and_type(attachment: Attachment) -> SafeString:
    return format_html(
        '{}<br><span class="quiet">{}</span>',
        show_size(attachment.size_bytes),
        attachment.content_type,
    )


def show_use(use: services.Use, limits: Limits) -> str:
    """What a user has and has begun, and may."""
    files = ngettext("%(count)s file takes %(size)s.", "%(count)s files take %(size)s.", use.files)
    facts = [files % {"count": use.files, "size": filesizeformat(use.used_bytes)}]
    if count := use.unconfirmed:
        begun = ngettext(
            "%(count)s upload that was begun may take %(size)s more.",
            "%(count)s uploads that were begun may take %(size)s more.",
            count,
        )
        facts.append(begun % {"count": count, "size": filesizeformat(use.unconfirmed_bytes)})
    if limits.quota_bytes is not None:
        facts.append(_("The quota is %(size)s.") % {"size": filesizeformat(limits.quota_bytes)})
    if (maximum := limits.max_unconfirmed) is not None:
        most = ngettext(
            "At most %(count)s upload may be under way.",
            "At most %(count)s uploads may be under way.",
            maximum,
        )
        facts.append(most % {"count": maximum})
    return " ".join(facts)


def show_exact_size(size_bytes: int | None) -> str:
    if size_bytes is None or size_bytes < 2**10:  # the short form is exact
        return show_size(size_bytes)
    exact = number_format(size_bytes, force_grouping=True)
    text = ngettext("%(size)s (%(exact)s byte)", "%(size)s (%(exact)s bytes)", size_bytes)
    return text % {"size": filesizeformat(size_bytes), "exact": exact}


def show_age(moment: datetime) -> SafeString:
    """``3 hours``; the mouse over it shows the moment itself."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        show_moment(moment),
        timesince(moment, depth=1),
    )


def show_moment(moment: datetime | None) -> str:
    """In the format of all dates of the admin."""
    if moment is None:
        return NOTHING
    return date_format(timezone.localtime(moment), "DATETIME_FORMAT")


def show_state(attachment: Attachment) -> str:
    """What the attachment waits for, or its error."""
    status, expires_at = attachment.Status, show_moment(attachment.expires_at)
    if attachment.status == status.PENDING:
        return _("Waits for the file. The form accepts it until %(time)s.") % {"time": expires_at}
    if attachment.in_background:
        return _show_wait(attachment)
    if attachment.status == status.VERIFYING:
        lease = show_moment(attachment.lease_expires_at)
        return _("Is being verified; another confirm may take over at %(time)s.") % {"time": lease}
    if info := attachment.error_info:
        return f"{info['detail']} ({info['code']})"
    return NOTHING


def _show_wait(attachment: Attachment) -> str:
    since = {"time": show_moment(attachment.waiting_since)}
    if attachment.status == attachment.Status.SCANNING:
        text = _("Has waited for the virus scanner since %(time)s.") % since
    else:
        text = _("Has waited for a worker, which verifies it, since %(time)s.") % since
    if not attachment.tries:
        return text
    tries = ngettext(
        "It was tried %(count)s time in vain.",
        "It was tried %(count)s times in vain.",
        attachment.tries,
    )
    return f"{text} {tries % {'count': attachment.tries}}"


def show_backlog(backlog: services.Backlog) -> str:
    """A warning for staff."""
    text = ngettext(
        "%(count)s file waits for a worker or the virus scanner, since %(time)s.",
        "%(count)s files wait for a worker or the virus scanner, the first since %(time)s.",
        backlog.files,
    )
    told = text % {"count": backlog.files, "time": show_moment(backlog.since)}
    if not backlog.without_scanner:
        return told
    advice = _(
        "No virus scanner is set up: set CLAMAV_URL, or publish them by "
        "“manage.py process_attachments --publish-unscanned”."
    )
    return f"{told} {advice}"


def show_scan(attachment: Attachment) -> str:
    """What the scanner said, which one it was, and when."""
    if not attachment.scan_outcome:
        return _("not scanned") if attachment.is_ready else NOTHING
    facts = [attachment.get_scan_outcome_display(), attachment.scanner]
    if attachment.signatures_version is not None:
        facts.append(_("signatures %(version)s") % {"version": attachment.signatures_version})
    return ", ".join(filter(None, [*facts, show_moment(attachment.scanned_at)]))


def show_media(attachment: Attachment) -> str:
    """What was found in the file, in a few words."""
    media = attachment.media
    facts = []
    if "width" in media:
        facts.append(f"{media['width']} × {media['height']}")
    if "duration_seconds" in media:
        facts.append(str(timedelta(seconds=round(media["duration_seconds"]))))
    if count := media.get("page_count"):
        facts.append(ngettext("%d page", "%d pages", count) % count)
    if attachment.is_stripped:
        facts.append(_("metadata removed: size and SHA-256 are those of what is served"))
    return ", ".join(facts) or NOTHING


def show_metadata(attachment: Attachment) -> SafeString:
    text = json.dumps(attachment.metadata, indent=2, ensure_ascii=False)
    return format_html('<pre class="attachment-metadata">{}</pre>', text)


def show_checksum(attachment: Attachment) -> SafeString | str:
    """As S3 spells it, and as ``sha256sum`` does."""
    if not attachment.checksum_sha256:
        return NOTHING
    digest = base64.b64decode(attachment.checksum_sha256).hex()
    return format_html(
        "<code>{}</code> (base64)<br><code>{}</code> (hex)", attachment.checksum_sha256, digest
    )


def show_download(attachment: Attachment) -> SafeString | str:
    """A link that works now."""
    url = services.get_download_url(attachment)
    if url is None:
        return NOTHING
    return format_html(
        '<a class="attachment-url" href="{0}" target="_blank" rel="noreferrer">{0}</a>', url
    )
