from collections.abc import Sequence
from typing import Any

from django import template

register = template.Library()
TINTS = 6
"""Colours of avatars in the stylesheet."""


@register.inclusion_tag("web/avatar.html", name="avatar")
def show_avatar(others: Sequence[Any], reader: Any) -> dict[str, Any]:
    """A letter on a colour: of the first of the others, or of the reader who is alone."""
    person = others[0] if others else reader
    return {"letter": str(person)[:1].upper(), "tint": person.pk % TINTS}
