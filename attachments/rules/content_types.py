"""Judge by the first 16 KiB of a file whether it is of its declared type.

The ten default types have strict signatures of their own, because a general sniffer cannot tell
Opus from Vorbis, M4A from MP4 or Matroska from WebM (docs/decisions/0003-sniffing.md). puremagic
judges the types that a host adds.
"""

import re
from collections.abc import Callable

import puremagic

HEAD_BYTES = 16 * 1024

_EXTENSIONS: dict[str, tuple[str, ...]] = {
    "image/jpeg": (".jpg", ".jpeg"),
    "image/png": (".png",),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "video/mp4": (".mp4", ".m4v"),
    "video/webm": (".webm",),
    "audio/mpeg": (".mp3",),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "audio/opus": (".opus",),
    "application/pdf": (".pdf",),
}

# Browsers show these types without running anything in them. All others are downloaded.
_INLINE = frozenset(_EXTENSIONS)


def is_inline(content_type: str) -> bool:
    """Whether a browser may show a file of this type. If not, it is served as a download."""
    return content_type in _INLINE


def get_extensions(content_type: str) -> tuple[str, ...]:
    """The usual extensions, the best first; none for a type that is not a default one."""
    return _EXTENSIONS.get(content_type, ())


def matches_content_type(head: bytes, content_type: str) -> bool:
    """Whether ``head``, the first bytes of a file, are of ``content_type``."""
    signature = _SIGNATURES.get(content_type)
    return signature(head) if signature else _puremagic_agrees(head, content_type)


def _is_jpeg(head: bytes) -> bool:
    # SOI, then a marker: a segment (C0-FE), never a restart or another SOI/EOI.
    return bool(re.match(rb"\xff\xd8\xff[\xc0-\xcf\xda-\xfe]", head))


def _is_png(head: bytes) -> bool:
    return head.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")


def _is_gif(head: bytes) -> bool:
    # The logical screen descriptor must follow, which "GIF89a<script>" does not have.
    return (
        head.startswith((b"GIF87a", b"GIF89a"))
        and len(head) >= 14
        and (bool(head[10] & 0x80) or head[13:14] in (b"!", b","))
    )


def _is_webp(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP" and head[12:15] == b"VP8"


# https://mp4ra.org/registered-types/brands; QuickTime ("qt  "), HEIF, AVIF and M4A are other types.
_MP4_BRANDS = re.compile(
    rb"iso[m2-9a-c]|mp4[12]|avc1|M4V[ HP]|dash|ms[dn][hv]|MSNV|XAVC|mmp4|cmf[2c]"
)


def _is_mp4(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and bool(_MP4_BRANDS.match(head[8:12]))


# Element 0x4282 with a length of 4. The length itself may take one to eight bytes.
_WEBM_DOC_TYPE = re.compile(rb"\x42\x82(?:\x84|[\x01-\x40]\x00{0,6}\x04)webm")


def _is_webm(head: bytes) -> bool:
    # The EBML header's DocType tells WebM from Matroska: RFC 8794, section 11.2.4.
    return head.startswith(b"\x1a\x45\xdf\xa3") and bool(_WEBM_DOC_TYPE.search(head[:128]))


def _is_mp3(head: bytes) -> bool:
    if head.startswith(b"ID3"):
        # ID3v2.2 to 2.4, and a size of four seven-bit bytes: https://id3.org/id3v2.4.0-structure
        return len(head) > 10 and head[3] in (2, 3, 4) and max(head[6:10]) < 0x80
    return _has_mpeg_audio_frames(head)


# Kilobits per second by (is MPEG-1, layer): ISO/IEC 11172-3 and 13818-3, table of bit rates.
_BIT_RATES = {
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _has_mpeg_audio_frames(head: bytes) -> bool:
    """A second frame must follow: the 11 bits of a sync word may be there by chance."""
    length = _measure_mp3_frame(head)
    if length is None:
        return False
    return len(head) < length + 4 or _measure_mp3_frame(head[length:]) is not None


def _measure_mp3_frame(data: bytes) -> int | None:
    """Give the length in bytes of the layer III frame that starts here, or None if none does."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    bit_rate_index, sample_rate_index = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer != 3 or sample_rate_index == 3 or not 0 < bit_rate_index < 15:
        return None
    bit_rate = _BIT_RATES[version == 3, layer][bit_rate_index - 1] * 1000
    sample_rate = _SAMPLE_RATES[version][sample_rate_index]
    padding = data[2] >> 1 & 1
    return (144 if version == 3 else 72) * bit_rate // sample_rate + padding


def _is_ogg_audio(head: bytes) -> bool:
    return _get_ogg_packet(head).startswith((b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   "))


def _is_opus(head: bytes) -> bool:
    return _get_ogg_packet(head).startswith(b"OpusHead")


def _get_ogg_packet(head: bytes) -> bytes:
    """The first packet of an Ogg stream, which names its codec (RFC 3533, section 6)."""
    is_first_page = head.startswith(b"OggS\x00") and len(head) > 27 and bool(head[5] & 2)
    return head[27 + head[26] :] if is_first_page else b""


def _is_pdf(head: bytes) -> bool:
    return bool(re.match(rb"%PDF-[12]\.\d", head))


_SIGNATURES: dict[str, Callable[[bytes], bool]] = {
    "image/jpeg": _is_jpeg,
    "image/png": _is_png,
    "image/gif": _is_gif,
    "image/webp": _is_webp,
    "video/mp4": _is_mp4,
    "video/webm": _is_webm,
    "audio/mpeg": _is_mp3,
    "audio/ogg": _is_ogg_audio,
    "audio/opus": _is_opus,
    "application/pdf": _is_pdf,
}


def _puremagic_agrees(head: bytes, content_type: str) -> bool:
    """Whether puremagic has the type among those that fit these bytes.

    Bytes without a known signature can only be a text type, and only if they are text.
    """
    try:
        found = {match.mime_type for match in puremagic.magic_string(head)}
    except (puremagic.PureError, ValueError):
        return content_type.startswith("text/") and _is_text(head)
    return content_type in found


def _is_text(head: bytes) -> bool:
    # A multi-byte character may be cut at the end of the head.
    text = head.decode("utf-8", errors="replace")[: -1 if len(head) == HEAD_BYTES else None]
    return "\0" not in text and "\ufffd" not in text
