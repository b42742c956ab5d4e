"""What a probe is, and what it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from attachments.doctor.examination import Examination

POLICIES = _(
    "Compare the policy of the key with what “manage.py setup_storage --print-policies” prints."
)
"""How a key is mended that may do too little, or too much."""
COPIES = _("A form or a link lets its holder copy files of others.")

Level = Literal["ok", "warning", "error"]
Text = str | Promise


class Seen(NamedTuple):
    """What one look at the store gave. Its own meaning and mend go before those of the probe."""

    level: Level
    text: str
    meaning: Text = ""
    mend: Text = ""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One question to the store."""

    name: str
    """For programs; it never changes."""
    what: Text
    look: Callable[[Examination], Seen]
    meaning: Text = ""
    """What it means if it is not well."""
    mend: Text = ""
    must_fail: bool = False
    needs: tuple[str, ...] = ()
    """The names of the probes without which this one tells nothing."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a probe found, in the active language."""

    level: Level
    name: str
    what: str
    seen: str
    meaning: str = ""
    mend: str = ""
