"""Links from an attachment to the host's own pages of the admin."""

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from attachments.admin.display import NOTHING
from attachments.models import Attachment


def find_list_url(model_admin: ModelAdmin[Any], request: HttpRequest) -> str:
    """The address of the list, with the filters from which staff came."""
    opts, site = model_admin.opts, model_admin.admin_site.name
    address = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist", current_app=site)
    filters: Any = {"preserved_filters": model_admin.get_preserved_filters(request), "opts": opts}
    return add_preserved_filters(filters, address)


@dataclass(frozen=True, kw_only=True)
class Linker:
    """Makes links for one viewer, to pages that the site has and the viewer may see."""

    site: AdminSite
    request: HttpRequest

    @classmethod
    def of(cls, model_admin: ModelAdmin[Any], request: HttpRequest) -> "Linker":
        return cls(site=model_admin.admin_site, request=request)

    def can_view(self, model: type[Model]) -> bool:
        return self.site.is_registered(model) and self.site.get_model_admin(
            model
        ).has_view_permission(self.request)

    def link(self, model: type[Model], pk: Any, text: str) -> SafeString | str:
        """A link if the host registered the model and the viewer may view it, else the text."""
        if pk is None:
            return NOTHING
        if not self.can_view(model):
            return text
        name = f"{self.site.name}:{model._meta.app_label}_{model._meta.model_name}_change"
        return format_html('<a href="{}">{}</a>', reverse(name, args=[quote(pk)]), text)

    def link_message(self, attachment: Attachment) -> SafeString | str:
        model = Attachment._meta.get_field("message").related_model
        return self.link(model, attachment.message_id, f"#{attachment.message_id}")

    def link_owner(self, attachment: Attachment) -> SafeString | str:
        owner = attachment.user
        return self.link(type(owner), owner.pk, owner.get_username())

    def link_surroundings(self, attachment: Attachment) -> SafeString | str:
        """What the message itself belongs to, such as its conversation and author."""
        message = attachment.message
        if message is None:
            return NOTHING
        links = [
            (field.verbose_name, self.link(field.related_model, pk, f"#{pk}"))
            for field in message._meta.concrete_fields
            if field.related_model and (pk := getattr(message, field.attname)) is not None
        ]
        return format_html_join(", ", "{} {}", links) or NOTHING
