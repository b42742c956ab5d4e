"""What a scanner is asked, and what it answers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from django.db.models import TextChoices
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from attachments.conf import conf
from attachments.errors import ScannerUnavailable


class Outcome(TextChoices):
    CLEAN = "clean", _("clean")
    INFECTED = "infected", _("infected")
    UNSCANNABLE = "unscannable", _("could not be scanned")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a scanner found."""

    outcome: Outcome
    reason: str = ""
    """The signature that was found, or why the file could not be scanned."""
    scanner: str = ""
    """Name and version of the scanner, at most 100 characters."""
    signatures_version: int | None = None
    """The version of its signatures, where it has one. Newer ones have larger numbers."""


class Scanner(Protocol):
    """One is made for each file, without arguments."""

    def scan(self, chunks: Iterable[bytes]) -> Verdict:
        """Judge a file of these bytes. A clean one has to be read to its end.

        Raises ``ScannerUnavailable`` if there is no verdict: the file waits, and is scanned again
        later. What taking the next chunk raises has to be passed on.
        """
        ...


def can_ping() -> bool:
    """Whether there is a scanner that can be asked if it answers: it has a method ``ping``."""
    return bool(conf.scanner) and hasattr(import_string(conf.scanner), "ping")


def ping_scanner() -> None:
    """Raises ``ScannerUnavailable`` if it does not answer."""
    get_scanner().ping()  # type: ignore[attr-defined]


def get_scanner() -> Scanner:
    """A new scanner of the class that the settings name. Raises ``ScannerUnavailable``."""
    if not conf.scanner:
        raise ScannerUnavailable(reason="none is set up")
    scanner: Scanner = import_string(conf.scanner)()
    return scanner
