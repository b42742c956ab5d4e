"""Formats in the boxes of ISO/IEC 14496-12, told apart by the brands of their first box.

The brands: https://mp4ra.org/registered-types/brands. The first brand may be a rare one; then the
compatible ones say what the file is.
"""

import re

from attachments.rules.signatures.openings import opens_as_another

_MP4 = re.compile(
    rb"iso[m2-9a-c]|mp4[12]|mp71|avc1|[mM]4[vV][ HP]|dash|ms[dn][hv]|MSNV|XAVC|mmp4|cmf[2c]"
)
_M4A = re.compile(rb"M4[ABP] |F4[AB] ")
_HEIC = re.compile(rb"he[iv][cxms]")
_AVIF = re.compile(rb"avi[fs]")
_HEIF = re.compile(rb"m[is]f[12]|he[iv][cxms]")
_3GPP = re.compile(rb"3g[pregs]")
_3GPP2 = re.compile(rb"3g2")
# Types that name MP4 brands as compatible ones and are no MP4; crx is Canon's raw image.
_OTHERS = re.compile(rb"qt  |crx |jp[2mxh] |mjp2|M4[ABP] |F4[AB] |m[is]f[12]|he[iv][cxms]|avi[fs]")
_BOX = re.compile(rb"[a-zA-Z0-9 ]{4}")
# The boxes that QuickTime files without brands begin with: the QuickTime File Format, atoms.
_OLD_QUICKTIME = re.compile(rb"moov|mdat|wide|pnot|free|skip")
_VIDEO_TRACK = re.compile(rb"hdlr.{8}vide", re.DOTALL)


def is_mp4(head: bytes) -> bool:
    brands = _read_brands(head)
    return _has(brands, _MP4) and not _has(brands[:1], _OTHERS)


def is_mp4_audio(head: bytes) -> bool:
    """M4A, or an MP4 that shows no film in its first bytes."""
    if _has(_read_brands(head)[:1], _M4A):
        return True
    return is_mp4(head) and not _VIDEO_TRACK.search(head)


def is_quicktime(head: bytes) -> bool:
    if brands := _read_brands(head):
        return b"qt  " in brands
    if len(head) <= 16 or opens_as_another(head):  # "<!--free" is HTML
        return False
    size = int.from_bytes(head[:4], "big")
    is_sound = size in (0, 1) or size >= 8  # to the end, a longer length that follows, or this one
    return is_sound and bool(_OLD_QUICKTIME.match(head[4:8]))


def is_3gpp(head: bytes) -> bool:
    return _has(_read_brands(head), _3GPP)


def is_3gpp2(head: bytes) -> bool:
    return _has(_read_brands(head), _3GPP2)


def is_heic(head: bytes) -> bool:
    """HEVC pictures in HEIF."""
    brands = _read_brands(head)
    return _has(brands[:1], _HEIF) and _has(brands, _HEIC)


def is_heif(head: bytes) -> bool:
    """Pictures in HEIF, of any coding but AV1, which is AVIF."""
    brands = _read_brands(head)
    return _has(brands[:1], _HEIF) and not _has(brands, _AVIF)


def is_avif(head: bytes) -> bool:
    brands = _read_brands(head)
    is_picture = _has(brands[:1], _HEIF) or _has(brands[:1], _AVIF)
    return is_picture and _has(brands, _AVIF) and not _has(brands[:1], _HEIC)


def _read_brands(head: bytes) -> list[bytes]:
    """The brands, the major one first, if the file type box comes first and another box follows."""
    size = int.from_bytes(head[:4], "big")
    if head[4:8] != b"ftyp" or size < 16 or not _BOX.match(head[size + 4 : size + 8]):
        return []
    return [head[8:12], *(head[at : at + 4] for at in range(16, size, 4))]


def _has(brands: list[bytes], kind: re.Pattern[bytes]) -> bool:
    return any(kind.match(brand) for brand in brands)
