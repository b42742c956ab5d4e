"""The attachments of an owner or a message, for the host's own pages of the admin."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from attachments.admin import display
from attachments.errors import AttachmentError
from attachments.forms import AttachmentField
from attachments.models import Attachment
from attachments.policy import User, get_limits
from attachments.services import count_room, link_attachments, measure_use

NEWEST = 20


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the inline's table."""

    attachment: Attachment
    thumbnail: SafeString
    status: SafeString
    size: str
    age: SafeString


class UploadForm(forms.Form):
    """Files that are to hang on the message of the page."""

    uploads = AttachmentField(label=_("Upload files"), required=False, multiple=True)

    def __init__(self, *args: Any, user: User, max_count: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["uploads"]
        field.user, field.max_count = user, max_count


class NewestFormSet(BaseInlineFormSet):
    """Has no forms, so that saving the page cannot fail because files came meanwhile."""

    request: HttpRequest
    site: admin.AdminSite
    uploader: User | None
    """Who may upload here, if anybody."""

    @cached_property
    def upload_form(self) -> UploadForm | None:
        if self.uploader is None:
            return None
        return UploadForm(
            self.data or None,
            prefix=f"{self.prefix}-upload",
            user=self.uploader,
            max_count=count_room(message_id=self.instance.pk),
        )

    @property
    def media(self) -> forms.Media:
        return self.upload_form.media if self.upload_form else forms.Media()

    def is_valid(self) -> bool:
        return super().is_valid() and (self.upload_form is None or self.upload_form.is_valid())

    def save(self, commit: bool = True) -> list[Any]:
        """Hang what was uploaded on the message."""
        self.changed_objects, self.deleted_objects, self.new_objects = [], [], []
        uploads = self.upload_form.cleaned_data["uploads"] if self.upload_form else []
        if self.uploader and uploads:
            ids = [attachment.pk for attachment in uploads]
            try:
                link_attachments(attachment_ids=ids, message=self.instance, user=self.uploader)
            except AttachmentError as error:  # since the form was checked
                text = _("The files were not attached: %s") % error.detail
                messages.error(self.request, text)
            else:
                self.new_objects = uploads
        return self.new_objects

    def get_queryset(self) -> Any:
        return Attachment.objects.none()

    def list_newest(self) -> list[Line]:
        """The newest attachments, in one query."""
        rows = Attachment.objects.filter((self.fk.name, self.instance.pk)).defer("metadata")
        return [
            Line(
                attachment=row,
                thumbnail=display.show_thumbnail(row),
                status=display.show_status(row),
                size=display.show_size(row.size_bytes),
                age=display.show_age(row.created_at),
            )
            for row in rows.order_by("-created_at", "-pk")[:NEWEST]
        ]

    def tell_use(self) -> str:
        """How much the user has, if the page is one of a user; else nothing."""
        if self.fk.name != "user":
            return ""
        return display.show_use(measure_use(self.instance), get_limits(self.instance))

    def get_list_url(self) -> str:
        """The address of the list of all these attachments; empty if the site has none."""
        if not self.site.is_registered(Attachment):
            return ""
        name = "admin:attachments_attachment_changelist"
        address = reverse(name, current_app=self.site.name)
        return f"{address}?{urlencode({f'{self.fk.name}__exact': self.instance.pk})}"


class AttachmentInline(admin.TabularInline):
    """Shows the newest attachments of a user or a message.

    A host writes ``inlines = [AttachmentInline]`` in the admin of its users and messages. Where a
    subclass says ``can_upload = True``, staff with the permission to add attachments upload files
    to messages; these belong to the member of staff.
    """

    model = Attachment
    can_upload = False
    formset = NewestFormSet
    template = "admin/attachments/inline.html"
    fields = ()
    extra = max_num = 0

    class Media:
        css = {"all": ["attachments/admin.css"]}

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        formset.request, formset.site = request, self.admin_site  # type: ignore[attr-defined]
        may_upload = self.can_upload and super().has_add_permission(request, obj)
        is_of_message = formset.fk.name == "message"  # type: ignore[attr-defined]
        formset.uploader = request.user if may_upload and is_of_message else None  # type: ignore[attr-defined]
        return formset

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only on pages of what exists: what is being added has no attachments yet."""
        return obj is not None and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
