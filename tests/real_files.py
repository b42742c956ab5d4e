"""Real files of each known type, from several encoders; and some that no encoder here can make.

Those of ``tests/files`` were written by office suites.
"""

import gzip
import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import pillow_heif
from PIL import Image

from nodus.dev.samples import make_pdf

_OFFICE_FILES = list((Path(__file__).parent / "files").glob("*.*"))
_INPUTS = ["-f", "lavfi", "-i", "testsrc2=size=64x48:duration=1:rate=5", "-f", "lavfi", "-i", "sine=duration=1"]  # fmt: skip
_PICTURE = ["-map", "0", "-pix_fmt", "yuv420p"]
_STILL = [*_PICTURE, "-frames:v", "1"]
_SOUND = ["-map", "1"]
_AV1 = ["-c:v", "libaom-av1", "-cpu-used", "8"]
_AAC = ["-c:a", "aac"]

# One process makes them all. The ending of the name tells the container.
_MEDIA: dict[str, list[str]] = {
    "ffmpeg.jpg": [*_STILL, "-pix_fmt", "yuvj420p"],
    "ffmpeg.png": ["-map", "0", "-frames:v", "1"],
    "ffmpeg.gif": ["-map", "0"],
    "ffmpeg.webp": _STILL,
    "moving.webp": _PICTURE,
    "ffmpeg.bmp": ["-map", "0", "-frames:v", "1"],
    "ffmpeg.avif": [*_STILL, *_AV1],
    "h264.mp4": [*_PICTURE, "-c:v", "libx264"],
    "av1.mp4": [*_PICTURE, *_AV1],
    "fragmented.mp4": [*_PICTURE, "-movflags", "frag_keyframe+empty_moov"],
    "dash.mp4": [*_PICTURE, "-movflags", "dash+frag_keyframe+empty_moov"],
    "film.m4v": [*_PICTURE, "-c:v", "libx264"],
    "film.f4v": [*_PICTURE, "-c:v", "libx264"],
    "h264.mov": [*_PICTURE, "-c:v", "libx264", "-movflags", "faststart"],
    "mjpeg.mov": ["-map", "0", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"],
    "phone.3gp": [*_PICTURE, "-c:v", "libx264"],
    "phone.3g2": [*_PICTURE, "-c:v", "libx264"],
    "aac.m4a": [*_SOUND, *_AAC],
    "lossless.m4a": [*_SOUND, "-c:a", "alac"],
    "sound.mp4": [*_SOUND, *_AAC],
    "vp8.webm": [*_PICTURE, "-c:v", "libvpx"],
    "vp9.webm": [*_PICTURE, *_SOUND, "-c:v", "libvpx-vp9", "-c:a", "libopus"],
    "opus.webm": [*_SOUND, "-c:a", "libopus"],
    "film.mkv": _PICTURE,
    "tagged.mp3": [*_SOUND, "-c:a", "libmp3lame"],
    "bare.mp3": [*_SOUND, "-c:a", "libmp3lame", "-id3v2_version", "0", "-write_xing", "0"],
    "low.mp3": [*_SOUND, "-c:a", "libmp3lame", "-ar", "16000", "-id3v2_version", "0"],
    "layer2.mp2": [*_SOUND, "-c:a", "mp2"],
    "low.mp2": [*_SOUND, "-c:a", "libtwolame", "-ar", "22050"],
    "vorbis.ogg": [*_SOUND, "-c:a", "libvorbis"],
    "flac.ogg": [*_SOUND, "-c:a", "flac"],
    "note.opus": [*_SOUND, "-c:a", "libopus"],
    "theora.ogv": [*_PICTURE, *_SOUND, "-c:v", "libtheora", "-c:a", "libvorbis"],
    "sound.wav": _SOUND,
    "sound.flac": _SOUND,
    "sound.aac": [*_SOUND, *_AAC],
    "film.avi": _PICTURE,
    "mp3.mp4": [*_SOUND, "-c:a", "libmp3lame"],
}  # fmt: skip

_OFFICE = "application/vnd.openxmlformats-officedocument."
DOCX = _OFFICE + "wordprocessingml.document"
XLSX = _OFFICE + "spreadsheetml.sheet"
PPTX = _OFFICE + "presentationml.presentation"
_ODT = "application/vnd.oasis.opendocument.text"
_TEXTS = ["text/plain", "text/csv", "text/markdown", "text/calendar", "text/vcard"]
_JSON = ["application/json", *_TEXTS]
_MARKUP = ["application/xml", "text/html"]

# Names of files, and the types that they are of, but those that take any bytes or any text.
_FILES: list[tuple[str, list[str]]] = [
    ("ffmpeg.jpg pillow.jpg progressive.jpg cmyk.jpg long-exif.jpg fill-bytes.jpg", ["image/jpeg"]),
    ("ffmpeg.png pillow.png palette.png moving.png", ["image/png"]),
    ("ffmpeg.gif pillow.gif", ["image/gif"]),
    ("ffmpeg.webp moving.webp pillow.webp lossless.webp", ["image/webp"]),
    ("ffmpeg.bmp pillow.bmp one-bit.bmp alpha.bmp", ["image/bmp"]),
    ("pillow.ico", ["image/vnd.microsoft.icon"]),
    ("ffmpeg.avif pillow.avif moving.avif", ["image/avif"]),
    ("libheif.heic grey.heic alpha.heic deep.heic album.heic", ["image/heic", "image/heif"]),
    ("iphone.heic burst.heic camera.hif mif1.heic mif2.heic", ["image/heic", "image/heif"]),
    ("h264.mp4 av1.mp4 film.m4v film.f4v", ["video/mp4"]),
    ("hvc1.mp4 av01.mp4 ndsc.mp4 f4v.mp4", ["video/mp4"]),
    ("fragmented.mp4 dash.mp4", ["video/mp4"]),
    ("3gp4.mp4", ["video/mp4", "video/3gpp"]),
    ("phone.3gp", ["video/mp4", "video/3gpp"]),
    ("phone.3g2", ["video/mp4", "video/3gpp2"]),
    ("h264.mov mjpeg.mov old.mov", ["video/quicktime"]),
    ("aac.m4a lossless.m4a", ["audio/mp4"]),
    ("sound.mp4 mp3.mp4", ["audio/mp4", "video/mp4"]),
    ("vp8.webm vp9.webm padded.webm", ["video/webm"]),
    ("opus.webm", ["audio/webm", "video/webm"]),  # browsers call any .webm video/webm
    ("film.mkv", ["video/x-matroska"]),
    ("tagged.mp3 bare.mp3 low.mp3 layer2.mp2 low.mp2", ["audio/mpeg"]),
    ("zeros.mp3 many-zeros.mp3 cut.mp3 ape.mp3 cover.mp3 two-tags.mp3", ["audio/mpeg"]),
    ("vorbis.ogg flac.ogg", ["audio/ogg"]),
    ("note.opus", ["audio/opus", "audio/ogg"]),
    ("theora.ogv", ["video/ogg"]),
    ("sound.wav", ["audio/wav"]),
    ("sound.flac tagged.flac", ["audio/flac"]),
    ("sound.aac film.avi", []),
    ("own.pdf pillow.pdf bom.pdf newlines.pdf printer.pdf mail.pdf late.pdf", ["application/pdf"]),
    ("microsoft.doc near.doc far.doc", ["application/msword"]),
    ("microsoft.xls libreoffice.xls wps.xls book.xls workbook.xls", ["application/vnd.ms-excel"]),
    ("microsoft.ppt slides.ppt hidden.ppt", ["application/vnd.ms-powerpoint"]),
    ("installer.msi", []),
    ("password.xlsx locked.xlsx", [DOCX, XLSX, PPTX]),
    ("template.ott", ["application/zip"]),
    ("word.docx", [DOCX, "application/zip"]),
    ("calc.xlsx", [XLSX, "application/zip"]),
    ("slides.pptx", [PPTX, "application/zip"]),
    ("thumbnail-first.docx", [DOCX, XLSX, PPTX, "application/zip"]),
    ("writer.odt", [_ODT, "application/zip"]),
    ("book.epub", ["application/epub+zip", "application/zip"]),
    ("some.zip empty.zip program.jar", ["application/zip"]),
    ("some.gz", ["application/gzip"]),
    ("unmarked16le.txt unmarked16be.txt", _TEXTS),
    ("utf8.txt bom.txt utf16le.txt utf16be.txt utf32.txt cp1251.txt koi8.txt sjis.txt iso2022.txt", _TEXTS),
    ("id.csv bm.csv brace.txt mz.txt dos.csv log.txt", _TEXTS),
    ("object.json list.json long.json", _JSON),
    ("bare.svg inkscape.svg illustrator.svg", ["image/svg+xml", *_MARKUP]),
    ("feed.xml markdown.md", [*_MARKUP, *_TEXTS]),
]  # fmt: skip
TYPES_OF_FILES = {name: types for names, types in _FILES for name in names.split()}


def make_real_files(directory: Path) -> dict[str, bytes]:
    """The bytes of each file that ``TYPES_OF_FILES`` names."""
    outputs = [word for name, recipe in _MEDIA.items() for word in (*recipe, str(directory / name))]
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([ffmpeg, "-v", "error", "-y", *_INPUTS, *outputs], check=True)
    media = {name: (directory / name).read_bytes() for name in _MEDIA}
    pictures = dict(_make_pictures())
    return {
        **media,
        **pictures,
        **_vary_media(media),
        "own.pdf": make_pdf("Nodus"),
        **_vary_pdf(pictures["pillow.pdf"]),
        **_make_archives(),
        **_make_compound_files(),
        **_make_texts(),
        **_make_heif(),
        **{path.name: path.read_bytes() for path in _OFFICE_FILES if path.suffix != ".md"},
        "fill-bytes.jpg": pictures["pillow.jpg"][:2] + b"\xff\xff\xff" + pictures["pillow.jpg"][2:],
    }


def _make_pictures() -> Iterator[tuple[str, bytes]]:
    picture = Image.effect_noise((64, 48), 90).convert("RGB")
    exif = Image.Exif()
    exif[270] = "long " * 8000  # its segment ends beyond the first 16 KiB
    moving = {"save_all": True, "append_images": [picture.rotate(90)]}
    for name, mode, options in (
        ("pillow.jpg", "RGB", {}),
        ("progressive.jpg", "RGB", {"progressive": True}),
        ("cmyk.jpg", "CMYK", {}),
        ("long-exif.jpg", "RGB", {"exif": exif.tobytes()}),
        ("pillow.png", "RGB", {}),
        ("palette.png", "P", {}),
        ("moving.png", "RGB", moving),
        ("pillow.gif", "P", {}),
        ("pillow.webp", "RGB", {}),
        ("lossless.webp", "RGB", {"lossless": True}),
        ("pillow.bmp", "RGB", {}),
        ("one-bit.bmp", "1", {}),
        ("alpha.bmp", "RGBA", {}),
        ("pillow.ico", "RGBA", {}),
        ("pillow.avif", "RGB", {"speed": 10}),
        ("moving.avif", "RGB", {"speed": 10, **moving}),
        ("pillow.pdf", "RGB", {}),
    ):
        file = io.BytesIO()
        picture.convert(mode).save(file, format=Image.registered_extensions()[Path(name).suffix], **options)  # fmt: skip
        yield name, file.getvalue()


def _make_heif() -> dict[str, bytes]:
    picture = Image.effect_noise((64, 48), 90).convert("RGB")
    album = pillow_heif.from_pillow(picture)
    album.add_from_pillow(picture.rotate(90))
    files = {
        "libheif.heic": pillow_heif.from_pillow(picture),
        "grey.heic": pillow_heif.from_pillow(picture.convert("L")),
        "alpha.heic": pillow_heif.from_pillow(picture.convert("RGBA")),
        "deep.heic": pillow_heif.from_bytes("RGB;16", (64, 48), bytes(64 * 48 * 6)),  # 10 bits
        "album.heic": album,
    }
    return {
        **{name: _save_heif(file) for name, file in files.items()},
        # The brands that devices and other encoders write first.
        "iphone.heic": _make_heif_start("heic", "mif1 MiHE miaf MiHB heic"),
        "burst.heic": _make_heif_start("msf1", "msf1 hevc heic mif1 iso8"),
        "camera.hif": _make_heif_start("heix", "mif1 heix miaf MiHA jpeg SHIF"),
        "mif1.heic": _make_heif_start("mif1", "mif1 heic"),
        "mif2.heic": _make_heif_start("mif2", "mif2 mif1 heic"),
    }


def _save_heif(file: pillow_heif.HeifFile) -> bytes:
    target = io.BytesIO()
    file.save(target)
    return target.getvalue()


def _make_heif_start(major: str, compatible: str) -> bytes:
    brands = f"ftyp{major}\0\0\0\0{compatible.replace(' ', '')}".encode()
    return (4 + len(brands)).to_bytes(4, "big") + brands + b"\0\0\x01Wmeta" + b"\0" * 40


def _vary_media(media: dict[str, bytes]) -> dict[str, bytes]:
    h264, bare = media["h264.mp4"], media["bare.mp3"]
    ape = b"APETAGEX" + b"".join(
        number.to_bytes(4, "little") for number in (2000, 64, 1, 0xA0000000, 0, 0)
    )
    webm = media["vp8.webm"]
    header_size = webm[4] & 0x7F if webm[4] & 0x80 else int.from_bytes(webm[5:12], "big")
    at = webm.index(b"\x42\x82\x84webm")
    assert at < 60 > header_size
    size_at = 11 if webm[4] == 1 else 4
    padded = bytearray(webm)
    padded[size_at] += 3
    padded[at : at + 7] = b"\x42\x82\x87webm\0\0\0"
    return {
        **{
            f"{brand.strip().lower()}.mp4": h264.replace(b"ftypisom", b"ftyp" + brand.encode(), 1)
            for brand in ("3gp4", "hvc1", "av01", "NDSC", "f4v ")
        },
        "old.mov": b"\0\0\0\x08wide" + media["h264.mov"][20:],
        "padded.webm": bytes(padded),
        "zeros.mp3": b"\0" * 5000 + bare,
        "many-zeros.mp3": b"\0" * (16 * 1024 - 1) + bare,
        "cut.mp3": bare[100:],
        "ape.mp3": ape + b"x" * 64 + bare,
        "cover.mp3": make_id3_tag(300_000) + bare,
        "two-tags.mp3": make_id3_tag(20_000) + make_id3_tag(100) + bare,
        "tagged.flac": make_id3_tag(100) + media["sound.flac"],
    }


def make_id3_tag(size: int) -> bytes:
    """A tag of ID3v2.3 that holds ``size`` bytes, as a cover has."""
    return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + b"\xff\xfb" * (size // 2)  # fmt: skip


def _vary_pdf(pdf: bytes) -> dict[str, bytes]:
    return {
        "bom.pdf": b"\xef\xbb\xbf" + pdf,
        "newlines.pdf": b"\r\n\r\n" + pdf,
        "printer.pdf": b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE=PDF\r\n" + pdf,
        "mail.pdf": b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n" + pdf,
        "late.pdf": b" " * 1023 + pdf,
    }  # fmt: skip


def make_zip(*names: str, first: bytes = b"x") -> bytes:
    """An archive of these entries. ``first`` is what the first one holds; it is not compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names):
            stored = zipfile.ZIP_DEFLATED if number else zipfile.ZIP_STORED
            archive.writestr(name, b"<x/>" * 100 if number else first, compress_type=stored)
    return file.getvalue()


def _make_archives() -> dict[str, bytes]:
    return {
        "word.docx": make_zip("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
        "calc.xlsx": make_zip("docProps/app.xml", "docProps/core.xml", "xl/theme/theme1.xml"),
        "slides.pptx": make_zip("[Content_Types].xml", "docProps/app.xml", "ppt/presentation.xml"),
        "thumbnail-first.docx": make_zip(
            "docProps/thumbnail.jpeg", "word/document.xml", first=b"\xff" * 20_000
        ),
        "writer.odt": make_zip("mimetype", "content.xml", first=_ODT.encode()),
        "template.ott": make_zip("mimetype", "content.xml", first=f"{_ODT}-template".encode()),
        "book.epub": make_zip("mimetype", "META-INF/container.xml", first=b"application/epub+zip"),
        "some.zip": make_zip("notes.txt", "more.txt"),
        "empty.zip": make_zip(),
        "program.jar": make_zip("META-INF/MANIFEST.MF", "Main.class"),
        "some.gz": gzip.compress(b"hello"),
    }


def make_compound_file(*streams: str, class_id: str = "0" * 32, directory_at: int = 9) -> bytes:
    """A compound file as [MS-CFB] has it: its header, and its directory in this sector of 512 bytes."""
    header = bytearray(512)
    header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    header[24:32] = b"\x3e\x00\x03\x00\xfe\xff\x09\x00"
    header[48:52] = directory_at.to_bytes(4, "little")
    directory = b""
    for number, name in enumerate(("Root Entry", *streams)):
        entry = bytearray(128)
        spelled = f"{name}\0".encode("utf-16-le")
        entry[: len(spelled)] = spelled
        entry[64:67] = bytes([len(spelled), 0, 2 if number else 5])
        entry[80:96] = bytes(16) if number else bytes.fromhex(class_id)
        directory += entry
    return bytes(header) + b"\xec" * 512 * directory_at + directory


def _make_compound_files() -> dict[str, bytes]:
    return {
        "near.doc": make_compound_file("Data", "1Table", "WordDocument"),
        "far.doc": make_compound_file("1Table", "WordDocument", directory_at=500),
        "book.xls": make_compound_file("Book", directory_at=40),
        "workbook.xls": make_compound_file("Workbook"),
        "slides.ppt": make_compound_file("Pictures", "Current User", "PowerPoint Document"),
        "hidden.ppt": make_compound_file("Pictures", class_id="108d81649b4fcf1186ea00aa00b929e8"),
        "locked.xlsx": make_compound_file("EncryptedPackage", "EncryptionInfo", directory_at=99),
        "installer.msi": make_compound_file(
            "䡀㼿䕷䑬", class_id="84100c0000000000c000000000000046"
        ),
    }


def _make_texts() -> dict[str, bytes]:
    russian = "Привет, мир;как дела?\r\nВторая строка\r\n" * 600  # longer than what is looked at
    japanese = "こんにちは世界\n"
    items = [{"name": 'a "quoted" \\ name', "price": -1.5e3, "sold": None}] * 500
    return {
        "utf8.txt": russian.encode(),
        "bom.txt": russian.encode("utf-8-sig"),
        "utf16le.txt": b"\xff\xfe" + russian.encode("utf-16-le"),
        "utf16be.txt": b"\xfe\xff" + russian.encode("utf-16-be"),
        "unmarked16le.txt": "Name\tЦена\r\n".encode("utf-16-le"),
        "unmarked16be.txt": "Name\tЦена\r\n".encode("utf-16-be"),
        "utf32.txt": russian.encode("utf-32"),
        "cp1251.txt": russian.encode("cp1251"),
        "koi8.txt": russian.encode("koi8-r"),
        "sjis.txt": japanese.encode("shift-jis"),
        "iso2022.txt": japanese.encode("iso-2022-jp"),
        "id.csv": b"ID;Name\r\n1;x\r\n",
        "bm.csv": b"BM,Name\n1,x\n",
        "brace.txt": b"{ no JSON\n",
        "mz.txt": b"MZ and PK are letters too\n",
        "dos.csv": "Имя;Цена\r\n\x1a".encode("cp866"),
        "log.txt": b"\x1b[32mdone\x1b[0m\n",
        "markdown.md": b'<p align="center">A page</p>\n\n# Title\n',
        "object.json": b'{"a": [1, 2.5, true, null], "b": "<>"}',
        "list.json": b"\xef\xbb\xbf  [1]\n",
        "long.json": json.dumps(items).encode(),
        "bare.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "inkscape.svg": b'<?xml version="1.0"?>\n<!-- Inkscape -->\n<svg:svg xmlns:svg="x"/>',
        "illustrator.svg": b"\xef\xbb\xbf<?xml version='1.0'?>\n<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' "
        b"'x' [ <!ENTITY a 'b'> ]>\n<!-- x -->\n<svg></svg>",
        "feed.xml": b'<?xml version="1.0"?><feed/>',
    }  # fmt: skip
