"""Formats in the boxes of ISO/IEC 14496-12, told apart by the brands of their first box.

The brands: https://mp4ra.org/registered-types/brands. The first brand may be a rare one; then the
compatible ones say what the file is.
"""

import re
from dataclasses import dataclass

_MP4 = re.compile(
    rb"iso[m2-9a-c]|mp4[12]|mp71|avc1|[mM]4[vV][ HP]|dash|ms[dn][hv]|MSNV|XAVC|mmp4|cmf[2c]"
)
_M4A = re.compile(rb"M4[ABP] |F4[AB] ")
_HEIC = re.compile(rb"he[iv][cxms]")
_AVIF = re.compile(rb"avi[fs]")
_HEIF = re.compile(rb"m[is]f1|he[iv][cxms]")
# Types that name MP4 brands as compatible ones and are no MP4; crx is Canon's raw image.
_OTHERS = re.compile(rb"qt  |crx |jp[2mxh] |mjp2|" + b"|".join(
    kind.pattern for kind in (_M4A, _HEIF, _AVIF)
))  # fmt: skip
_BOX = re.compile(rb"[a-zA-Z0-9 ]{4}")
# The boxes that QuickTime files without brands begin with: the QuickTime File Format, atoms.
_OLD_QUICKTIME = re.compile(rb"moov|mdat|wide|pnot|free|skip")
_VIDEO_TRACK = re.compile(rb"hdlr.{8}vide", re.DOTALL)


@dataclass(frozen=True)
class _Brands:
    major: bytes
    compatible: tuple[bytes, ...]

    def name(self, kind: re.Pattern[bytes]) -> bool:
        """Whether any brand is of this kind."""
        return any(kind.match(brand) for brand in (self.major, *self.compatible))


def _read_brands(head: bytes) -> _Brands | None:
    """The brands, if the file type box is the first one and another box follows."""
    size = int.from_bytes(head[:4], "big")
    if head[4:8] != b"ftyp" or size < 16 or not _BOX.match(head[size + 4 : size + 8]):
        return None
    compatible = tuple(head[at : at + 4] for at in range(16, size, 4))
    return _Brands(major=head[8:12], compatible=compatible)


def is_mp4(head: bytes) -> bool:
    brands = _read_brands(head)
    return brands is not None and not _OTHERS.match(brands.major) and brands.name(_MP4)


def is_mp4_audio(head: bytes) -> bool:
    """M4A, or an MP4 that shows no film in its first bytes."""
    brands = _read_brands(head)
    if brands is not None and _M4A.match(brands.major):
        return True
    return is_mp4(head) and not _VIDEO_TRACK.search(head)


def is_quicktime(head: bytes) -> bool:
    brands = _read_brands(head)
    if brands is not None:
        return b"qt  " in (brands.major, *brands.compatible)
    size = int.from_bytes(head[:4], "big")
    is_sound = size in (0, 1) or size >= 8  # to the end, a longer length that follows, or this one
    return len(head) > 16 and is_sound and bool(_OLD_QUICKTIME.match(head[4:8]))


def is_3gpp(head: bytes) -> bool:
    brands = _read_brands(head)
    return brands is not None and brands.name(re.compile(rb"3g[pregs]"))


def is_3gpp2(head: bytes) -> bool:
    brands = _read_brands(head)
    return brands is not None and brands.name(re.compile(rb"3g2"))


def is_heic(head: bytes) -> bool:
    """HEVC pictures in HEIF."""
    brands = _read_brands(head)
    return brands is not None and bool(_HEIF.match(brands.major)) and brands.name(_HEIC)


def is_heif(head: bytes) -> bool:
    """Pictures in HEIF, of any coding but AV1, which is AVIF."""
    brands = _read_brands(head)
    return brands is not None and bool(_HEIF.match(brands.major)) and not brands.name(_AVIF)


def is_avif(head: bytes) -> bool:
    brands = _read_brands(head)
    if brands is None or _HEIC.match(brands.major):
        return False
    return bool(_HEIF.match(brands.major) or _AVIF.match(brands.major)) and brands.name(_AVIF)
