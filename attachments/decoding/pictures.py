"""Pictures, by Pillow: their size as shown, and a small WebP of them."""

import warnings
from io import BytesIO
from struct import error as unpack_error
from typing import IO, Any

# WebPImagePlugin is named so that saving finds it: else Pillow loads its fifty formats for that.
from PIL import Image, ImageCms, ImageFile, WebPImagePlugin  # noqa: F401
from PIL.ExifTags import Base

MAX_PIXELS = 2**27
"""A picture with more is not decoded: 512 MiB, where each pixel takes four bytes."""
QUALITY = 80
_TURNED = (5, 6, 7, 8)
# How a picture comes to stand upright, by its orientation in EXIF.
_TRANSPOSITIONS = dict(
    enumerate(
        (
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        ),
        start=2,
    )
)
# Others are brought to one of these, in which pixels can be mixed.
_MIXABLE = ("L", "LA", "RGB", "RGBA", "CMYK")
_COLOUR_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK"}

ImageFile.LOAD_TRUNCATED_IMAGES = False
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)


def inspect_picture(
    file: IO[bytes], *, format_name: str, thumbnail_px: int
) -> tuple[dict[str, Any], bytes]:
    """Its size as shown, and the first frame as a WebP of at most ``thumbnail_px`` each way.

    Raises whatever Pillow does of a picture that cannot be decoded, which then has no size either.
    """
    with Image.open(file, formats=[format_name]) as image:
        width, height = image.size
        wanted = thumbnail_px or 1
        image.draft(None, (wanted * 2, wanted * 2))  # JPEG can be decoded to an eighth
        image.load()
        orientation = read_orientation(image)
        if orientation in _TURNED:
            width, height = height, width
        small = make_small(image, wanted, orientation) if thumbnail_px else None
    return {"width": width, "height": height}, encode(small) if small else b""


def read_orientation(image: Image.Image) -> int:
    """As EXIF has it, once the picture is loaded; 1 if it says nothing that counts.

    XMP, and texts of PNG, may name one too, which Pillow would take, but no browser does.
    """
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        value = exif.get(Base.Orientation, 1)
    except (SyntaxError, ValueError, unpack_error):  # not EXIF at all; the picture is shown
        return 1
    return value if value in range(1, 9) else 1


def make_small(image: Image.Image, px: int, orientation: int) -> Image.Image:
    """Shown upright, in sRGB, with no more pixels than that; it is not made larger."""
    small = _make_mixable(image)
    profile = image.info.get("icc_profile")
    small.thumbnail((px, px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if orientation in _TRANSPOSITIONS:
        small = small.transpose(_TRANSPOSITIONS[orientation])
    return _convert_to_srgb(small, profile)


def encode(small: Image.Image) -> bytes:
    """As WebP, with nothing but pixels."""
    small.info = {}
    file = BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=4, exif=b"", xmp=b"", icc_profile=b"")
    return file.getvalue()


def _make_mixable(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: Pillow would cut them off at 255
        return _shorten_to_8_bits(image)
    if image.mode in _MIXABLE and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _shorten_to_8_bits(image: Image.Image) -> Image.Image:
    wide = image.convert("I")
    return wide.point(lambda value: value * (1 / 257) + 0).convert("L")


def _convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """By the profile, if it is one of such pixels; else as Pillow does without one."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    opaque = image.convert(image.mode[:-1]) if alpha else image
    converted = _apply_profile(opaque, profile) if profile else None
    result = converted or opaque.convert("RGB")
    if alpha:
        result.putalpha(alpha)
    return result


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space != _COLOUR_SPACES[image.mode]:
            return None
        return ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):  # many cameras and editors write broken ones
        return None
