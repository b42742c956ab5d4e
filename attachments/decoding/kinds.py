"""The content types that can be looked into, and by which decoder alone.

A file is opened as what it was verified to be, so that no other decoder of a library sees it.
"""

PICTURES = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/avif": "AVIF",
}
"""Names of Pillow's formats."""
RECORDINGS = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/3gpp": "mov",
    "video/3gpp2": "mov",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
    "video/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/mp4": "mov",
    "audio/webm": "matroska",
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/wav": "wav",
    "audio/flac": "flac",
}
"""Names of FFmpeg's demuxers."""
DOCUMENTS = frozenset({"application/pdf"})
STRIPPABLE = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def is_inspectable(content_type: str) -> bool:
    """Whether anything can be found out of such a file."""
    return content_type in PICTURES or content_type in RECORDINGS or content_type in DOCUMENTS


def is_picture(content_type: str) -> bool:
    """Whether a thumbnail of such a file can be made."""
    return content_type in PICTURES


def can_strip(content_type: str) -> bool:
    """Whether metadata can be taken out of such a file."""
    return content_type in STRIPPABLE
