"""The pages of the admin: attachments, and the deletions that wait."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import DateFieldListFilter, ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.views.main import ChangeList
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import BadRequest, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attachments import services
from attachments.admin import actions, display
from attachments.admin.attachment_list import AttachmentChangeList
from attachments.admin.changelist import KeysetChangeList
from attachments.admin.deleting import describe_deletion
from attachments.admin.filters import LinkedFilter, SizeFilter, TypeFilter
from attachments.admin.links import Linker, find_list_url
from attachments.admin.purge import PurgeMixin
from attachments.admin.search import search_attachments
from attachments.admin.usage import UsageMixin
from attachments.models import Attachment, ObjectDeletion

# Up to this many deletions are logged one by one. For more there is a single entry.
MAX_LOGGED = 1000


class ReadOnlyAdmin(admin.ModelAdmin):
    """Nothing is added or changed here: editing a row would not change the store."""

    show_facets = ShowFacets.NEVER  # facets would count rows
    sortable_by: ClassVar[tuple[str, ...]] = ()
    indexed_fields: ClassVar[tuple[str, ...]] = ()
    """By which staff may sort."""
    empty_value_display = display.NOTHING

    class Media:
        css = {"all": ["attachments/admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Refuse what is no id: Django would fail."""
        try:
            queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME))
        except (ValidationError, ValueError) as error:
            raise BadRequest from error
        return super().response_action(request, queryset, *args, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Attachment)
class AttachmentAdmin(UsageMixin, PurgeMixin, ReadOnlyAdmin):
    """The list stays fast on a million rows: see ``changelist``, ``dates`` and ``search``."""

    ordering = ["-created_at", "-pk"]
    sortable_by = ("size_and_type", "age")
    indexed_fields = ("created_at", "size_bytes")
    date_hierarchy = "created_at"
    list_filter = [
        "status",
        TypeFilter,
        SizeFilter,
        LinkedFilter,
        ("created_at", DateFieldListFilter),
    ]
    list_select_related = ["user"]
    list_display_links = ["filename"]
    search_fields = ["filename", "id"]
    search_help_text = gettext_lazy(
        "A filename, an owner’s name or an id, or how it begins; or a storage key."
    )
    actions = [actions.delete_selected, actions.download_links]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AttachmentChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (search_attachments(queryset, term) if term else queryset), False

    # What is shown

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "GET" and (backlog := services.find_backlog()):
            self.message_user(request, display.show_backlog(backlog), messages.WARNING)
        may_purge = {"may_purge": self.has_delete_permission(request)}
        return super().changelist_view(request, {**may_purge, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if attachment := context.get("original"):
            url = services.get_download_url(attachment, as_attachment=True)
            context = {**context, "download_url": url}
        return super().render_change_form(request, context, *args, **kwargs)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [
            "thumbnail",
            "filename",
            self._make_column("link_owner", _("owner"), request),
            "size_and_type",
            "state",
            self._make_column("link_message", _("message"), request),
            "age",
        ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[tuple[Any, Any]]:
        owner = self._make_column("link_owner", _("owner"), request)
        message = self._make_column("link_message", _("message"), request)
        surroundings = self._make_column("link_surroundings", _("belongs to"), request)
        file = [
            "preview",
            "filename",
            "content_type",
            "exact_size",
            "contents",
            "state",
            "reason",
            "download",
        ]
        storage = ["id", "key", "checksum", "scan"]
        moments = ["created_at", "confirmed_at", "expires_at", "lease_expires_at"]
        return [
            (None, {"fields": file}),
            (_("Where it hangs"), {"fields": [owner, message, surroundings]}),
            (_("In the store"), {"fields": storage}),
            (_("When"), {"fields": moments}),
            (_("Metadata"), {"fields": ["pretty_metadata"]}),
        ]

    def _make_column(self, method: str, name: str, request: HttpRequest) -> Any:
        """A column that depends on what the viewer may see."""
        linker = Linker.of(self, request)

        def column(attachment: Attachment) -> Any:
            return getattr(linker, method)(attachment)

        column.__name__ = method.removeprefix("link_")
        column.short_description = name  # type: ignore[attr-defined]
        return column

    @admin.display(description=gettext_lazy("preview"))
    def thumbnail(self, attachment: Attachment) -> SafeString:
        return display.show_thumbnail(attachment)

    @admin.display(description=gettext_lazy("size and type"), ordering="size_bytes")
    def size_and_type(self, attachment: Attachment) -> SafeString:
        return display.show_size_and_type(attachment)

    @admin.display(description=gettext_lazy("status"))
    def state(self, attachment: Attachment) -> SafeString:
        return display.show_status_and_reason(attachment)

    @admin.display(description=gettext_lazy("age"), ordering="created_at")
    def age(self, attachment: Attachment) -> SafeString:
        return display.show_age(attachment.created_at)

    @admin.display(description=gettext_lazy("preview"))
    def preview(self, attachment: Attachment) -> SafeString | str:
        return display.show_preview(attachment)

    @admin.display(description=gettext_lazy("size"))
    def exact_size(self, attachment: Attachment) -> str:
        return display.show_exact_size(attachment.size_bytes)

    @admin.display(description=gettext_lazy("what is in the file"))
    def contents(self, attachment: Attachment) -> str:
        return display.show_media(attachment)

    @admin.display(description=gettext_lazy("waiting or error"))
    def reason(self, attachment: Attachment) -> str:
        return display.show_state(attachment)

    @admin.display(description=gettext_lazy("link that works now"))
    def download(self, attachment: Attachment) -> SafeString | str:
        return display.show_download(attachment)

    @admin.display(description=gettext_lazy("storage key"))
    def key(self, attachment: Attachment) -> SafeString:
        key = attachment.key if attachment.is_ready else attachment.pending_key
        return format_html("<code>{}</code>", key)

    @admin.display(description="SHA-256")
    def checksum(self, attachment: Attachment) -> SafeString | str:
        return display.show_checksum(attachment)

    @admin.display(description=gettext_lazy("virus scan"))
    def scan(self, attachment: Attachment) -> str:
        return display.show_scan(attachment)

    @admin.display(description=gettext_lazy("metadata"))
    def pretty_metadata(self, attachment: Attachment) -> SafeString:
        return display.show_metadata(attachment)

    # What is deleted

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        rows = Attachment.objects.filter(pk=context["object"].pk)
        extent = services.measure_attachments(rows)
        going = describe_deletion(rows, extent=extent, linker=Linker.of(self, request))
        return super().render_delete_form(request, {**context, "going": going})

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        """Back to the list: Django leads whoever may not change rows to the start page."""
        answer = super().response_delete(request, obj_display, obj_id)
        if not (isinstance(answer, HttpResponseRedirect) and self.has_view_permission(request)):
            return answer
        return redirect(find_list_url(self, request))

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        first = list(queryset[: MAX_LOGGED + 1])
        if len(first) <= MAX_LOGGED:
            return super().log_deletions(request, first)  # type: ignore[arg-type]
        extent = services.measure_attachments(queryset)
        size = filesizeformat(extent.size_bytes)
        text = _("%(count)d attachments, %(size)s") % {"count": extent.row_count, "size": size}
        return LogEntry.objects.create(
            user_id=request.user.pk,  # type: ignore[misc]
            content_type=ContentType.objects.get_for_model(Attachment),
            object_repr=text,
            action_flag=DELETION,
        )


@admin.register(ObjectDeletion)
class ObjectDeletionAdmin(ReadOnlyAdmin):
    """Objects that a purge or "try again now" will delete. Nobody can delete a note by hand."""

    ordering = ["-pk"]
    list_display = ["shown_key", "due_at", "attempts", "last_error"]
    fields = ["shown_key", "created_at", "due_at", "repeats", "attempts", "last_error"]
    readonly_fields = ["shown_key"]
    actions = [actions.retry_deletions]

    @admin.display(description=gettext_lazy("key"))
    def shown_key(self, note: ObjectDeletion) -> str:
        return str(note)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whoever may delete attachments may try again."""
        return request.user.has_perm("attachments.delete_attachment")
