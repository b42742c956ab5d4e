"""A form field for files that the browser uploads by itself: the form submits their ids.

docs/forms.md shows how to use it.
"""

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db.models import Q
from django.forms.widgets import Script
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from attachments.models import Attachment
from attachments.policy import User, get_limits
from attachments.rules.content_types import get_extensions


class AttachmentInput(forms.Widget):
    """A file input that uploads what is chosen, and lists what was uploaded."""

    template_name = "attachments/forms/attachment_input.html"

    class Media:
        css = {"all": ["attachments/input.css"]}
        js = [Script("attachments/input.js", type="module")]

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        context["widget"]["base_url"] = reverse("attachments:list").rpartition("/")[0]
        return context

    def format_value(self, value: Any) -> Any:
        """The attachments to list, as the field's ``prepare_value`` gives them."""
        return value

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        given = data.getlist(name) if hasattr(data, "getlist") else data.get(name)
        ids = [item for item in _as_list(given) if item]
        if self.attrs.get("multiple"):
            return ids
        return ids[-1] if ids else None

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """Never: a form without an id says that there is none."""
        return False

    def use_required_attribute(self, initial: Any) -> bool:
        """Only as long as nothing is there: the id is in another input."""
        return super().use_required_attribute(initial) and not initial


class AttachmentField(forms.Field):
    """Gives a ready attachment of ``user`` that hangs on no message, or None.

    With ``multiple`` it gives a list, of ``max_count`` at most. ``content_types`` may have patterns
    as ``image/*``. What the form had initially stays allowed. Set ``user`` before the form is used:
    without one, ``ImproperlyConfigured`` is raised.
    """

    widget = AttachmentInput
    default_error_messages = {
        # The same for what does not exist, is another user's, is not ready or in use.
        "invalid_choice": _("This file cannot be used. Upload it again."),
        "content_type_not_allowed": _("A file of the type %(content_type)s is not allowed here."),
        "max_count": ngettext_lazy(
            "There may be %(max_count)d file at most.",
            "There may be %(max_count)d files at most.",
            "max_count",
        ),
    }

    def __init__(
        self,
        *,
        user: User | None = None,
        multiple: bool = False,
        max_count: int = 20,
        content_types: Collection[str] = ("*",),
        **kwargs: Any,
    ) -> None:
        self.user = user
        self.multiple = multiple
        self.max_count = max_count
        self.content_types = content_types
        self._kept: list[UUID] = []
        super().__init__(**kwargs)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"multiple": True} if self.multiple else {}

    def get_bound_field(self, form: forms.BaseForm, field_name: str) -> Any:
        """Learn what the form had initially, before it is shown or cleaned."""
        self._kept = _parse_ids(form.get_initial_for_field(self, field_name))
        self.widget.attrs["accept"] = ",".join(self._list_accepted())
        return super().get_bound_field(form, field_name)

    def prepare_value(self, value: Any) -> list[Attachment]:
        """The attachments to list again: ids that may not be used tell nothing of theirs."""
        return self._find(_parse_ids(value))

    def to_python(self, value: Any) -> Any:
        ids = list(dict.fromkeys(_as_list(value)))
        found = self._find(_parse_ids(ids))
        if len(found) != len(ids):
            raise ValidationError(self.error_messages["invalid_choice"], code="invalid_choice")
        if self.multiple:
            return found
        return found[0] if found else None

    def validate(self, value: Any) -> None:
        super().validate(value)
        found = _as_list(value)
        if self.multiple and len(found) > self.max_count:
            self._refuse("max_count", max_count=self.max_count)
        for attachment in found:
            if attachment.pk not in self._kept and not self._is_allowed(attachment.content_type):
                self._refuse("content_type_not_allowed", content_type=attachment.content_type)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return not self.disabled and set(_parse_ids(initial)) != set(_parse_ids(data))

    def _refuse(self, code: str, **params: Any) -> None:
        raise ValidationError(self.error_messages[code], code=code, params=params)

    def _find(self, ids: Sequence[UUID]) -> list[Attachment]:
        """Those of these that may be used, in their order."""
        free = Q(user_id=self._get_user().pk, message=None, status=Attachment.Status.READY)
        usable = Attachment.objects.filter(free | Q(pk__in=self._kept), pk__in=ids)
        found = usable.in_bulk() if ids else {}
        return [found[pk] for pk in dict.fromkeys(ids) if pk in found]

    def _get_user(self) -> User:
        if self.user is None:
            raise ImproperlyConfigured(
                "An AttachmentField does not know its user: in the form's __init__, write "
                'self.fields["..."].user = user.'
            )
        return self.user

    def _is_allowed(self, content_type: str) -> bool:
        return any(fnmatchcase(content_type, pattern) for pattern in self.content_types)

    def _list_accepted(self) -> Iterable[str]:
        """Types and extensions: not every system knows the type of an extension."""
        for content_type in get_limits(self._get_user()).content_types:
            if self._is_allowed(content_type):
                yield from (content_type, *get_extensions(content_type))


def _as_list(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _parse_ids(value: Any) -> list[UUID]:
    """The ids of attachments, which may be given themselves; what is no id is left out."""
    ids = []
    for item in _as_list(value):
        try:
            ids.append(UUID(str(getattr(item, "pk", item))))
        except ValueError:
            continue
    return ids
