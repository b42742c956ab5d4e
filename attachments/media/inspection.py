"""Asks the decoder about a file, and keeps of its answer only what can be true."""

import math
from dataclasses import dataclass, field
from typing import IO, Any

from attachments.decoding.kinds import is_picture
from attachments.media.sandbox import MAX_FILE_BYTES, Job, run_decoder
from attachments.rules.content_types import matches_content_type

MAX_ANSWER_BYTES = 2**23
MAX_SIDE = 2**16
MAX_PAGES = 10**6
MAX_DURATION_SECONDS = 7 * 24 * 60 * 60
# What the answer has beside the file: a line, and the orientation in a segment of its own.
_ADDED_BYTES = 2**12


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found in a file."""

    media: dict[str, Any] = field(default_factory=dict)
    """``width``, ``height``, ``duration_seconds``, ``page_count``: each key only where known."""
    thumbnail: bytes = b""
    """A WebP, or empty."""


def inspect_file(file: IO[bytes], *, content_type: str, thumbnail_px: int) -> Inspection:
    """Decode the file elsewhere; a hostile or broken one gives nothing.

    ``file`` is a file of the operating system. With ``thumbnail_px`` 0 there is no thumbnail.
    Raises ``DecodingUnavailable`` if nothing can be told of the file.
    """
    answer = run_decoder(
        Job(
            action="inspect",
            content_type=content_type,
            thumbnail_px=thumbnail_px,
            max_output_bytes=MAX_ANSWER_BYTES,
        ),
        file,
    )
    if answer is None:
        return Inspection()
    media, content = answer
    has_thumbnail = (
        thumbnail_px
        and is_picture(content_type)
        and content
        and matches_content_type(content, "image/webp")
    )
    return Inspection(media=_keep_plausible(media), thumbnail=content if has_thumbnail else b"")


def strip_file(file: IO[bytes], *, content_type: str) -> bytes | None:
    """The picture without metadata, its pixels and how they are shown unchanged.

    None if it cannot be read: it is broken, or hostile, or larger than ``MAX_FILE_BYTES``. Raises
    ``DecodingUnavailable`` if nothing can be told of it.
    """
    file.seek(0, 2)
    size_bytes = file.tell()
    if size_bytes > MAX_FILE_BYTES:
        return None
    answer = run_decoder(
        Job(action="strip", content_type=content_type, max_output_bytes=size_bytes + _ADDED_BYTES),
        file,
    )
    if answer is None:
        return None
    _media, content = answer
    return content if content and matches_content_type(content, content_type) else None


def _keep_plausible(media: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if all(_is_count(media.get(name), MAX_SIDE) for name in ("width", "height")):
        kept |= {"width": media["width"], "height": media["height"]}
    seconds = media.get("duration_seconds")
    if (
        isinstance(seconds, float)
        and math.isfinite(seconds)
        and 0 < seconds <= MAX_DURATION_SECONDS
    ):
        kept["duration_seconds"] = seconds
    if _is_count(media.get("page_count"), MAX_PAGES):
        kept["page_count"] = media["page_count"]
    return kept


def _is_count(value: Any, largest: int) -> bool:
    return type(value) is int and 0 < value <= largest
