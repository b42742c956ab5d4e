from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _


class StartForm(forms.Form):
    """Whom to write to; ``cleaned_data["username"]`` is the user."""

    username = forms.CharField(
        label=_("Whom to write to"),
        max_length=150,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "placeholder": _("Write to (username)"),
                "list": "people",
            }
        ),
    )

    def clean_username(self) -> Any:
        name = self.cleaned_data["username"]
        users = get_user_model()._default_manager
        user = users.filter(username=name, is_active=True).first()
        if user is None:
            raise forms.ValidationError(_("There is no user “%(name)s”."), params={"name": name})
        return user
