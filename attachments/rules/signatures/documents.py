"""PDF, Office files old and new, and archives."""

import re
from collections.abc import Callable

from attachments.rules.signatures.openings import opens_as_another

# Readers look for the header in the first 1024 bytes: ISO 32000, annex H, notes 13 and 14.
_PDF_HEADER = re.compile(rb"%(?:PDF|!PS-Adobe-\d\.\d PDF)-[12]\.\d")
_PDF_REACH = 1024
_LEAST_PDF = 32  # a catalog and a trailer take more

_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_DIRECTORY_BYTES = 4096

_ZIP_ENTRY = re.compile(rb"PK\x03\x04.{22}(.{2}).{2}", re.DOTALL)
# An empty archive, and one of several parts.
_OTHER_ZIP_STARTS = (b"PK\x05\x06" + b"\0" * 16, b"PK\x07\x08PK\x03\x04")
_PACKAGE_PARTS = (b"[Content_Types].xml", b"_rels/", b"docProps/")


def is_pdf(head: bytes) -> bool:
    """Mail headers, printer commands or a BOM may come first, but no other format."""
    header = _PDF_HEADER.search(head[: _PDF_REACH + 24])
    if header is None or header.start() >= _PDF_REACH or len(head) < header.end() + _LEAST_PDF:
        return False
    return not opens_as_another(head[: header.start()])


def skip_to_directory(head: bytes) -> int:
    """Where the directory of a compound file is: [MS-CFB], section 2.2. 0 if it is none."""
    if not head.startswith(_COMPOUND_FILE) or head[30:32] not in (b"\x09\x00", b"\x0c\x00"):
        return 0
    return int.from_bytes(head[48:52], "little") + 1 << head[30]


def is_compound_file(*streams: str, class_ids: str) -> Callable[[bytes], bool]:
    """Make the signature of the compound files that have one of these streams.

    A directory may go on elsewhere. Where its beginning has no known stream, the class id of its
    root decides, in the hexadecimal digits of the file. A file that has neither may be any.
    """
    own = _compile_streams(*streams)

    def matches(directory: bytes) -> bool:
        if not _is_directory(directory):
            return False
        if _KNOWN_STREAMS.search(directory, 0, _DIRECTORY_BYTES):
            return bool(own.search(directory, 0, _DIRECTORY_BYTES))
        class_id = directory[80:96].hex()
        return class_id in (*class_ids.split(), "0" * 32)

    return matches


def _compile_streams(*names: str) -> re.Pattern[bytes]:
    return re.compile(b"|".join(re.escape(f"{name}\0".encode("utf-16-le")) for name in names))


_KNOWN_STREAMS = _compile_streams(
    "WordDocument", "Workbook", "Book", "PowerPoint Document", "EncryptedPackage"
)
_ENCRYPTED = _compile_streams("EncryptedPackage")


def _is_directory(data: bytes) -> bool:
    return data[66:67] == b"\x05" and not data.startswith(b"PK")  # the first entry is the root


def is_zip(head: bytes) -> bool:
    return bool(_ZIP_ENTRY.match(head)) or head.startswith(_OTHER_ZIP_STARTS)


def is_office_package(folder: bytes) -> Callable[[bytes], bool]:
    """Make the signature of Office Open XML whose main part is in ``folder``: ECMA-376, part 2.

    Where the first entries are those that all packages have, the file may be any of them. So may
    one with a password, which is in a compound file: [MS-OFFCRYPTO], section 1.3.
    """

    def matches(head: bytes) -> bool:
        if _is_directory(head):
            return bool(_ENCRYPTED.search(head, 0, _DIRECTORY_BYTES))
        names = _list_entries(head)
        mains = [name for name in names if name.startswith((b"word/", b"xl/", b"ppt/"))]
        if mains:
            return mains[0].startswith(folder)
        return any(name.startswith(_PACKAGE_PARTS) for name in names)

    return matches


def is_zip_of(media_type: bytes) -> Callable[[bytes], bool]:
    """Make the signature of OpenDocument and EPUB: the first entry is the type, uncompressed."""
    entry = re.compile(
        rb"PK\x03\x04.{22}\x08\0..mimetype" + re.escape(media_type) + rb"(?![a-z-])", re.DOTALL
    )
    return lambda head: bool(entry.match(head))


def _list_entries(head: bytes) -> list[bytes]:
    if not head.startswith(b"PK\x03\x04"):
        return []
    return [
        head[entry.end() : entry.end() + int.from_bytes(entry[1], "little")]
        for entry in _ZIP_ENTRY.finditer(head)
    ]


def is_gzip(head: bytes) -> bool:
    # Deflate, and no reserved flag: RFC 1952.
    return head.startswith(b"\x1f\x8b\x08") and len(head) >= 18 and head[3] < 0x20
