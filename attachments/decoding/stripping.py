"""Pictures without metadata: what is needed to show them is copied, all else is left out.

No pixel is decoded and encoded again, so that nothing of the picture is lost. What is kept is a
list, so that a place, a name or a second picture in some part that nobody thought of goes too. How
the picture is turned stays, in EXIF that says nothing else.
"""

from collections.abc import Iterator
from struct import error as unpack_error
from struct import pack, unpack_from
from typing import IO
from zlib import crc32

from PIL import Image

from attachments.decoding.kinds import PICTURES
from attachments.decoding.pictures import read_orientation

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs "
    b"cICP mDCV cLLI acTL fcTL fdAT".split()
)
_WEBP_KEPT = frozenset([b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"])
_WEBP_FRAME_KEPT = frozenset([b"VP8 ", b"VP8L", b"ALPH"])
_WEBP_HAS_EXIF, _WEBP_HAS_XMP = 0x08, 0x04
_GIF_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
# JPEG's markers
_EOI, _SOS, _APP0, _APP1, _APP2, _APP14, _COM = 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_ALONE = (0x01, *range(0xD0, 0xD8))
_JPEG_KEPT_APPS = {_APP0: b"JFIF\0", _APP2: b"ICC_PROFILE\0", _APP14: b"Adobe"}


def strip_picture(file: IO[bytes], content_type: str) -> bytes:
    """The bytes of the picture without metadata. Raises ``ValueError`` if it is not whole."""
    with Image.open(file, formats=[PICTURES[content_type]]) as image:
        image.load()
        orientation = read_orientation(image)
    file.seek(0)
    data = file.read()
    exif = _make_exif(orientation) if orientation > 1 else b""
    try:
        return b"".join(_STRIPPERS[content_type](data, exif))
    except (IndexError, unpack_error) as error:
        raise ValueError("it ends too early") from error


def _make_exif(orientation: int) -> bytes:
    """TIFF of one entry: tag 0x112, one number of 16 bits."""
    return b"MM\0*\0\0\0\x08" + pack(">HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)


def _strip_jpeg(data: bytes, exif: bytes) -> Iterator[bytes]:
    """The first picture alone: phones put a film, or more pictures, behind its end."""
    yield data[:2]
    if exif:
        content = b"Exif\0\0" + exif
        yield pack(">BBH", 0xFF, _APP1, len(content) + 2) + content
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("no marker where one must be")
        while data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        if marker == _EOI:
            yield b"\xff\xd9"
            return
        end = at + 2 if marker in _ALONE else at + 2 + unpack_from(">H", data, at + 2)[0]
        if end > len(data):
            raise ValueError("it ends too early")
        if _is_kept(marker, data[at + 4 : end]):
            yield data[at:end]
        at = end
        if marker == _SOS:
            at = _find_marker(data, end)
            yield data[end:at]


def _is_kept(marker: int, content: bytes) -> bool:
    if _APP0 <= marker <= 0xEF:
        start = _JPEG_KEPT_APPS.get(marker)
        return start is not None and content.startswith(start)
    return marker != _COM


def _find_marker(data: bytes, at: int) -> int:
    """The end of entropy-coded bytes: 0xFF that is not followed by 0, nor by a restart."""
    while True:
        at = data.index(0xFF, at)
        if data[at + 1] and not 0xD0 <= data[at + 1] <= 0xD7 and data[at + 1] != 0xFF:
            return at
        at += 1 if data[at + 1] == 0xFF else 2


def _strip_png(data: bytes, exif: bytes) -> Iterator[bytes]:
    yield _PNG_SIGNATURE
    at = len(_PNG_SIGNATURE)
    while True:
        size, name = unpack_from(">I4s", data, at)
        end = at + 12 + size
        if end > len(data):
            raise ValueError("it ends too early")
        if name in _PNG_KEPT:
            yield data[at:end]
        if name == b"IHDR" and exif:
            yield pack(">I", len(exif)) + b"eXIf" + exif + pack(">I", crc32(b"eXIf" + exif))
        if name == b"IEND":
            return
        at = end


def _strip_webp(data: bytes, exif: bytes) -> Iterator[bytes]:
    size = unpack_from("<I", data, 4)[0]
    chunks = []
    for name, content in _read_riff(data[12 : 8 + size]):
        if name == b"VP8X":
            flags = content[0] & ~(_WEBP_HAS_EXIF | _WEBP_HAS_XMP)
            content = bytes([flags | (_WEBP_HAS_EXIF if exif else 0)]) + content[1:]  # noqa: PLW2901
        if name == b"ANMF":
            inner = [chunk for chunk in _read_riff(content[16:]) if chunk[0] in _WEBP_FRAME_KEPT]
            content = content[:16] + b"".join(_write_riff(*chunk) for chunk in inner)  # noqa: PLW2901
        if name in _WEBP_KEPT:
            chunks.append(_write_riff(name, content))
    if exif:  # it had some before, so there is a VP8X
        chunks.append(_write_riff(b"EXIF", exif))
    body = b"WEBP" + b"".join(chunks)
    yield b"RIFF" + pack("<I", len(body)) + body


def _read_riff(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        name, size = unpack_from("<4sI", data, at)
        if at + 8 + size > len(data):
            raise ValueError("it ends too early")
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _write_riff(name: bytes, content: bytes) -> bytes:
    return name + pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _strip_gif(data: bytes, exif: bytes) -> Iterator[bytes]:
    at = 13 + _get_table_size(data[10])
    yield data[:at]
    while data[at] != 0x3B:
        if data[at] == 0x21:
            end = _skip_blocks(data, at + 2)
            is_control = data[at + 1] == 0xF9
            if is_control or (data[at + 1] == 0xFF and data[at + 3 : at + 14] in _GIF_LOOPS):
                yield data[at:end]
        elif data[at] == 0x2C:
            end = _skip_blocks(data, at + 11 + _get_table_size(data[at + 9]))
            yield data[at:end]
        else:
            raise ValueError("no block where one must be")
        at = end
    yield b";"


def _get_table_size(flags: int) -> int:
    """Bytes of the table of colours that these flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    return at + 1


_STRIPPERS = {
    "image/jpeg": _strip_jpeg,
    "image/png": _strip_png,
    "image/webp": _strip_webp,
    "image/gif": _strip_gif,
}
