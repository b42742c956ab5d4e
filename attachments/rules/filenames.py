"""The user's filename: what is accepted, and how it is spelled in a key."""

import re
import unicodedata
from pathlib import PurePosixPath

from django.utils.http import content_disposition_header
from django.utils.translation import gettext_lazy as _

from attachments.errors import InvalidFilename

MAX_FILENAME_LENGTH = 255
# Short enough for any file system on which a store keeps its keys, with any prefix.
MAX_SAFE_NAME_LENGTH = 100

# Stores keep 2 KiB of such headers, names included, and 255 characters may take 3 KiB. The rest is
# for Content-Type and Cache-Control. https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
MAX_DISPOSITION_BYTES = 1800
MAX_SUFFIX_LENGTH = 16  # what is longer is no extension

# Control characters, lone surrogates, and characters that would break a line of a list or a log.
_FORBIDDEN_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
# Embeddings, overrides and isolates make "exe.gpj" read as "jpg.exe". https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing
_BIDI_OVERRIDES = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE
)

_EXTENSION = re.compile(r"\.[a-z][a-z0-9]{0,9}", re.IGNORECASE | re.ASCII)


def clean_filename(value: str) -> str:
    """Give the name in NFC without outer spaces, or raise ``InvalidFilename``.

    Names may be in any language. They must not have path parts, control characters or bidi
    overrides, and must not be reserved names.
    """
    name = unicodedata.normalize("NFC", value).strip()
    reason = None
    if not name:
        reason = _("it is empty.")
    elif len(name) > MAX_FILENAME_LENGTH:
        reason = _("it is longer than 255 characters.")
    elif "/" in name or "\\" in name or not name.strip("."):
        reason = _("it must be a name, not a path.")
    elif any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES for char in name):
        reason = _("it has control characters.")
    elif _BIDI_OVERRIDES & set(name):
        reason = _("it has characters that change the direction of text.")
    elif _RESERVED.match(name):
        reason = _("the name is reserved by operating systems.")
    if reason is not None:
        raise InvalidFilename(attr="filename", reason=reason)
    return name


def make_disposition(filename: str, *, as_attachment: bool) -> str:
    """The header Content-Disposition, by RFC 6266, with as much of the name as stores keep.

    The name keeps its extension, so that programs still know the file.
    """
    suffix = PurePosixPath(filename).suffix
    suffix = suffix if len(suffix) <= MAX_SUFFIX_LENGTH else ""
    stem = filename.removesuffix(suffix)
    while len(header := _spell_disposition(stem + suffix, as_attachment)) > MAX_DISPOSITION_BYTES:
        stem = stem[:-1]
    return header


def _spell_disposition(filename: str, as_attachment: bool) -> str:
    return content_disposition_header(as_attachment, filename) or "inline"


def make_safe_name(filename: str, *, extensions: tuple[str, ...]) -> str:
    """Spell a cleaned filename in ASCII for a key, ending in one of the type's extensions.

    For a type of which any extension will do, it has none.
    """
    path = PurePosixPath(make_served_name(filename, extensions=extensions))
    suffix = path.suffix.lower() if extensions else ""
    ascii_stem = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_stem).strip("-_")
    return (stem[: MAX_SAFE_NAME_LENGTH - len(suffix)] or "file") + suffix


def make_served_name(filename: str, *, extensions: tuple[str, ...]) -> str:
    """Give the user's name of a file with an extension of its verified type, the best one first.

    So a program that goes by the extension finds what was verified: ``report.hta`` is served as
    ``report.pdf``. What does not look like an extension, as in "Draft 1.2", stays and gets one.
    """
    path = PurePosixPath(filename)
    if not extensions or path.suffix.lower() in extensions:
        return filename
    stem = path.stem if _EXTENSION.fullmatch(path.suffix) else filename
    return stem[: MAX_FILENAME_LENGTH - len(extensions[0])] + extensions[0]
