"""What is known of a content type, and whether the bytes of a file are of it.

``file_types`` is the table. Types that say themselves what they are made of, and those that
puremagic knows, need no row in it.
"""

import re
from collections.abc import Callable, Collection
from functools import cache
from mimetypes import MimeTypes

from puremagic.main import PureError, magic_header_array, magic_string, multi_part_dict

from attachments.rules.file_types import TYPES, FileType
from attachments.rules.signatures import HEAD_BYTES, texts

MAX_LOOKS = 4
# What any signature needs of the bytes that decide.
ENOUGH_BYTES = 4096

# In many of puremagic's rows the escapes are letters: these match no file.
_BROKEN_SIGNATURE = re.compile(rb"\\[0-7nx]")

_ALIASES = {alias: name for name, file_type in TYPES.items() for alias in file_type.aliases}
# https://www.iana.org/assignments/media-type-structured-suffix
_SUFFIXES = {
    "json": TYPES["application/json"],
    "xml": TYPES["application/xml"],
    "zip": TYPES["application/zip"],
}


def choose_content_type(value: str, allowed: Collection[str]) -> str | None:
    """The one of ``allowed`` that a client means by ``value``; None if it means no such one.

    Clients add parameters, write capitals and use other names. A name that is in ``allowed`` stays;
    any other name of the same type becomes the one that the table has.
    """
    name = value.partition(";")[0].strip().lower()
    names = {item.lower() for item in allowed}
    if name in names:
        return name
    wanted = _ALIASES.get(name, name)
    return wanted if wanted in {_ALIASES.get(item, item) for item in names} else None


def get_file_type(content_type: str) -> FileType | None:
    """What is known of this type; None if nothing can recognise its files."""
    name = content_type.lower()
    name = _ALIASES.get(name, name)
    return TYPES.get(name) or _derive_type(name) or (_ask_puremagic(name) if name else None)


def is_inline(content_type: str) -> bool:
    """Whether a browser may show a file of this type. If not, it is served as a download."""
    file_type = get_file_type(content_type)
    return file_type is not None and file_type.is_inline


def get_extensions(content_type: str) -> tuple[str, ...]:
    """The usual extensions, the best first; none for a type of which any will do."""
    file_type = get_file_type(content_type)
    return file_type.extensions if file_type else ()


def matches_content_type(
    head: bytes, content_type: str, *, read_at: Callable[[int], bytes] | None = None
) -> bool:
    """Whether a file that begins with ``head`` is of ``content_type``.

    Some formats begin with how much comes before what decides. ``read_at`` gives the bytes there, a
    few times at most; without it there are none but the head.
    """
    file_type = get_file_type(content_type)
    if file_type is None:
        return False
    position, data = 0, head
    for _ in range(MAX_LOOKS):
        step = file_type.skip(data)
        if not step:
            break
        position += step
        is_cut = len(data) >= HEAD_BYTES and len(data) - step < ENOUGH_BYTES
        data = read_at(position) if is_cut and read_at else data[step:]
    return file_type.matches(data)


def _derive_type(content_type: str) -> FileType | None:
    """A type that says itself what it is made of: ``text/x-log``, ``application/gpx+xml``."""
    main, _, sub = content_type.partition("/")
    base = _SUFFIXES.get(sub.partition("+")[2])
    if base is None and not (main == "text" and sub):
        return None
    matches, usual = (base.matches, base.extensions) if base else (texts.is_text, (".txt",))
    name, _, suffix = re.split(r"[.-]", sub)[-1].partition("+")
    extensions = (*_list_extensions(content_type), *usual, f".{name}", f".{name}{suffix}")
    return FileType(matches=matches, extensions=tuple(dict.fromkeys(extensions)))


@cache
def _ask_puremagic(content_type: str) -> FileType | None:
    """A type that is not in the table, if puremagic has a signature for it."""
    parts = [row for rows in multi_part_dict.values() for row in rows]
    rows = [
        row for row in (*magic_header_array, *parts) if not _BROKEN_SIGNATURE.search(row.byte_match)
    ]
    own = sorted({row.extension for row in rows if row.mime_type.lower() == content_type})
    if not own:
        return None

    def matches(head: bytes) -> bool:
        try:
            found = magic_string(head)
        except (PureError, ValueError):
            return False
        return any(match.mime_type.lower() == content_type for match in found)

    extensions = dict.fromkeys((*_list_extensions(content_type), *filter(None, own)))
    return FileType(matches=matches, extensions=tuple(extensions))


def _list_extensions(content_type: str) -> tuple[str, ...]:
    """What Python knows, whatever the files of this system say."""
    return tuple(MimeTypes().guess_all_extensions(content_type))
