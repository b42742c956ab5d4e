"""Raster images."""

import re

from attachments.rules.signatures import HEAD_BYTES

_JPEG_START = re.compile(rb"\xff\xd8\xff+[\xc0-\xcf\xda-\xfe]")
# Sizes of the header that follows BITMAPFILEHEADER, by version: OS/2 1 and 2, Windows 3 to 5.
_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)


def is_jpeg(head: bytes) -> bool:
    """SOI and a segment, with fill bytes before its marker (ITU T.81, B.1.1.2), then the next one.

    Restart markers and another SOI are no segments. The first segment may be longer than the head.
    """
    start = _JPEG_START.match(head)
    if start is None:
        return False
    end = start.end() + int.from_bytes(head[start.end() : start.end() + 2], "big")
    if end >= HEAD_BYTES:
        return len(head) >= HEAD_BYTES
    return head[end : end + 1] == b"\xff"


def is_png(head: bytes) -> bool:
    return head.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR") and len(head) >= 33


def is_gif(head: bytes) -> bool:
    """A block follows the screen descriptor and its colours, which "GIF89a<script>" has not."""
    if not head.startswith((b"GIF87a", b"GIF89a")) or len(head) < 14:
        return False
    colours = 3 << (head[10] & 7) + 1 if head[10] & 0x80 else 0
    return head[13 + colours : 14 + colours] in (b"!", b",")


def is_webp(head: bytes) -> bool:
    return head.startswith(b"RIFF") and bool(re.match(rb"WEBPVP8[ LX].{4}", head[8:], re.DOTALL))


def is_icon(head: bytes) -> bool:
    """Type 1, some pictures, and a reserved byte of the first one's entry."""
    is_one = head.startswith(b"\0\0\1\0") and head[4:6] != b"\0\0"
    return is_one and len(head) > 22 and head[9] == 0


def is_bmp(head: bytes) -> bool:
    """Two letters say little: a text may begin with "BM"."""
    header_size = int.from_bytes(head[14:18], "little")
    return head.startswith(b"BM") and len(head) >= 26 and header_size in _BMP_HEADER_SIZES
