"""Files that clients post, what they know of their uploads, and what is logged."""

import logging
from dataclasses import dataclass, field
from typing import Any

from nodus.dev.samples import make_pdf
from tests import clamd

# A little over what a confirm copies itself, as the machine has it.
LARGE_BYTES = 100 * 1024


def make_files(png: bytes) -> dict[str, bytes]:
    """What clients post: three that are what they say, one with a virus, two that are not."""
    return {
        "picture": png,
        "other": png + b"other",
        "large": png + b"\0" * LARGE_BYTES,
        "virus": png + clamd.EICAR,
        "page": b"<html><script>alert(1)</script>" + b" " * len(png),
        "pdf": make_pdf("Nodus"),
    }


PICTURES = ("picture", "other", "large", "virus")


@dataclass
class Upload:
    """What a client knows of one upload."""

    pk: str
    user: int
    form: dict[str, Any]
    declared: dict[str, Any]
    posted: list[bytes] = field(default_factory=list)
    links: set[str] = field(default_factory=set)
    is_unscanned: bool = False
    """It was there while no scanner was asked."""


class Listener(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
