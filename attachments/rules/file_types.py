"""The one table of file types: other names, bytes, extensions, and whether browsers show them.

docs/decisions/0017-file-types.md says why it is our own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from attachments.rules.signatures import (
    documents,
    images,
    iso_media,
    matroska,
    mpeg_audio,
    ogg,
    texts,
)


def _skip_nothing(data: bytes) -> int:
    return 0


@dataclass(frozen=True, kw_only=True)
class FileType:
    """What is known of a content type."""

    matches: Callable[[bytes], bool]
    """Whether these bytes, the first or those that ``skip`` leads to, are of the type."""
    extensions: tuple[str, ...] = ()
    """The best first; none if any will do."""
    aliases: tuple[str, ...] = ()
    """What clients call it, too."""
    is_inline: bool = False
    """Whether browsers show it without running anything in it. If not, it is a download."""
    skip: Callable[[bytes], int] = _skip_nothing
    """How many bytes lie before those that decide."""


TYPES: dict[str, FileType] = {
    "image/jpeg": FileType(
        matches=images.is_jpeg,
        extensions=(".jpg", ".jpeg", ".jpe", ".jfif"),
        aliases=("image/jpg", "image/pjpeg"),
        is_inline=True,
    ),
    "image/png": FileType(
        matches=images.is_png,
        extensions=(".png", ".apng"),
        aliases=("image/x-png", "image/apng"),
        is_inline=True,
    ),
    "image/gif": FileType(matches=images.is_gif, extensions=(".gif",), is_inline=True),
    "image/webp": FileType(matches=images.is_webp, extensions=(".webp",), is_inline=True),
    "image/bmp": FileType(
        matches=images.is_bmp,
        extensions=(".bmp", ".dib"),
        aliases=("image/x-bmp", "image/x-ms-bmp", "image/x-windows-bmp"),
        is_inline=True,
    ),
    "image/vnd.microsoft.icon": FileType(
        matches=images.is_icon,
        extensions=(".ico",),
        aliases=("image/x-icon", "image/ico"),
        is_inline=True,
    ),
    "image/avif": FileType(
        matches=iso_media.is_avif,
        extensions=(".avif", ".avifs"),
        aliases=("image/avif-sequence",),
        is_inline=True,
    ),
    "image/heic": FileType(
        matches=iso_media.is_heic,
        extensions=(".heic", ".heics"),
        aliases=("image/heic-sequence",),
        is_inline=True,
    ),
    "image/heif": FileType(
        matches=iso_media.is_heif,
        extensions=(".heif", ".heic", ".hif", ".heifs"),
        aliases=("image/heif-sequence",),
        is_inline=True,
    ),
    "image/svg+xml": FileType(
        matches=texts.is_svg, extensions=(".svg",), aliases=("image/svg", "image/svg-xml")
    ),
    "video/mp4": FileType(
        matches=iso_media.is_mp4,
        extensions=(".mp4", ".m4v", ".f4v", ".mpg4"),
        aliases=("video/x-m4v", "video/m4v", "video/x-mp4", "application/mp4"),
        is_inline=True,
    ),
    "video/webm": FileType(matches=matroska.is_webm, extensions=(".webm",), is_inline=True),
    "video/quicktime": FileType(
        matches=iso_media.is_quicktime,
        extensions=(".mov", ".qt"),
        aliases=("video/x-quicktime", "video/mov"),
        is_inline=True,
    ),
    "video/3gpp": FileType(
        matches=iso_media.is_3gpp, extensions=(".3gp", ".3gpp"), aliases=("video/3gp",)
    ),
    "video/3gpp2": FileType(matches=iso_media.is_3gpp2, extensions=(".3g2", ".3gpp2")),
    "video/x-matroska": FileType(
        matches=matroska.is_matroska,
        extensions=(".mkv", ".mk3d"),
        aliases=("video/matroska", "video/mkv"),
    ),
    "video/ogg": FileType(matches=ogg.is_ogg_video, extensions=(".ogv",), aliases=("video/x-ogg",)),
    "audio/mpeg": FileType(
        matches=mpeg_audio.is_mpeg_audio,
        skip=mpeg_audio.skip_tags,
        extensions=(".mp3", ".mp2", ".mpga", ".m2a", ".mpa"),
        aliases=(
            "audio/mp3",
            "audio/x-mp3",
            "audio/mpeg3",
            "audio/x-mpeg",
            "audio/x-mpeg-3",
            "audio/mpg",
            "audio/x-mpg",
            "audio/mp2",
        ),
        is_inline=True,
    ),
    "audio/ogg": FileType(
        matches=ogg.is_ogg_audio,
        extensions=(".ogg", ".oga", ".opus", ".spx"),
        aliases=("application/ogg", "application/x-ogg", "audio/x-ogg", "audio/vorbis"),
        is_inline=True,
    ),
    "audio/opus": FileType(
        matches=ogg.is_opus,
        extensions=(".opus", ".ogg"),
        aliases=("audio/x-opus", "audio/x-opus+ogg"),
        is_inline=True,
    ),
    "audio/webm": FileType(
        matches=matroska.is_webm_audio, extensions=(".webm", ".weba"), is_inline=True
    ),
    "audio/mp4": FileType(
        matches=iso_media.is_mp4_audio,
        extensions=(".m4a", ".m4b", ".mp4", ".f4a"),
        aliases=("audio/x-m4a", "audio/m4a", "audio/x-m4b", "audio/x-mp4"),
        is_inline=True,
    ),
    "audio/wav": FileType(
        matches=mpeg_audio.is_wav,
        extensions=(".wav",),
        aliases=("audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav"),
        is_inline=True,
    ),
    "audio/flac": FileType(
        matches=mpeg_audio.is_flac,
        skip=mpeg_audio.skip_tags,
        extensions=(".flac",),
        aliases=("audio/x-flac",),
        is_inline=True,
    ),
    "application/pdf": FileType(
        matches=documents.is_pdf,
        extensions=(".pdf",),
        aliases=("application/x-pdf", "application/acrobat", "text/pdf", "text/x-pdf"),
        is_inline=True,
    ),
    "application/msword": FileType(
        matches=documents.is_compound_file(
            "WordDocument", class_ids="0609020000000000c000000000000046"
        ),
        skip=documents.skip_to_directory,
        extensions=(".doc", ".dot"),
        aliases=("application/x-msword", "application/doc", "application/vnd.ms-word"),
    ),
    "application/vnd.ms-excel": FileType(
        matches=documents.is_compound_file(
            "Workbook",
            "Book",
            class_ids="2008020000000000c000000000000046 1008020000000000c000000000000046",
        ),
        skip=documents.skip_to_directory,
        extensions=(".xls", ".xlt"),
        aliases=("application/msexcel", "application/x-msexcel", "application/excel"),
    ),
    "application/vnd.ms-powerpoint": FileType(
        matches=documents.is_compound_file(
            "PowerPoint Document", class_ids="108d81649b4fcf1186ea00aa00b929e8"
        ),
        skip=documents.skip_to_directory,
        extensions=(".ppt", ".pps", ".pot"),
        aliases=("application/mspowerpoint", "application/x-mspowerpoint"),
    ),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": FileType(
        matches=documents.is_office_package(b"word/"),
        skip=documents.skip_to_directory,
        extensions=(".docx",),
    ),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": FileType(
        matches=documents.is_office_package(b"xl/"),
        skip=documents.skip_to_directory,
        extensions=(".xlsx",),
    ),
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": FileType(
        matches=documents.is_office_package(b"ppt/"),
        skip=documents.skip_to_directory,
        extensions=(".pptx",),
    ),
    "application/vnd.oasis.opendocument.text": FileType(
        matches=documents.is_zip_of(b"application/vnd.oasis.opendocument.text"),
        extensions=(".odt",),
    ),
    "application/vnd.oasis.opendocument.spreadsheet": FileType(
        matches=documents.is_zip_of(b"application/vnd.oasis.opendocument.spreadsheet"),
        extensions=(".ods",),
    ),
    "application/vnd.oasis.opendocument.presentation": FileType(
        matches=documents.is_zip_of(b"application/vnd.oasis.opendocument.presentation"),
        extensions=(".odp",),
    ),
    "application/vnd.oasis.opendocument.graphics": FileType(
        matches=documents.is_zip_of(b"application/vnd.oasis.opendocument.graphics"),
        extensions=(".odg",),
    ),
    "application/epub+zip": FileType(
        matches=documents.is_zip_of(b"application/epub+zip"), extensions=(".epub",)
    ),
    "application/zip": FileType(
        matches=documents.is_zip,
        extensions=(".zip",),
        aliases=("application/x-zip-compressed", "application/x-zip", "application/zip-compressed"),
    ),
    "application/gzip": FileType(
        matches=documents.is_gzip,
        extensions=(".gz", ".tgz"),
        aliases=("application/x-gzip", "application/x-gunzip", "application/gzipped"),
    ),
    "text/plain": FileType(
        matches=texts.is_plain_text,
        extensions=(
            *(".txt", ".text", ".log", ".md", ".csv", ".tsv", ".ini", ".conf", ".cfg"),
            *(".yaml", ".yml", ".toml", ".sql", ".srt", ".tex", ".rst", ".diff", ".patch"),
        ),
    ),
    "text/csv": FileType(
        matches=texts.is_plain_text,
        extensions=(".csv",),
        aliases=("application/csv", "text/x-csv", "text/comma-separated-values"),
    ),
    "text/markdown": FileType(
        matches=texts.is_plain_text, extensions=(".md", ".markdown"), aliases=("text/x-markdown",)
    ),
    "text/calendar": FileType(matches=texts.is_plain_text, extensions=(".ics", ".ifb")),
    "text/vcard": FileType(
        matches=texts.is_plain_text, extensions=(".vcf",), aliases=("text/x-vcard",)
    ),
    "text/javascript": FileType(
        matches=texts.is_text,
        extensions=(".js", ".mjs"),
        aliases=("application/javascript", "application/x-javascript"),
    ),
    "text/html": FileType(matches=texts.is_html, extensions=(".html", ".htm")),
    "application/json": FileType(
        matches=texts.is_json, extensions=(".json",), aliases=("text/json", "application/x-json")
    ),
    "application/xml": FileType(matches=texts.is_xml, extensions=(".xml",), aliases=("text/xml",)),
    "application/octet-stream": FileType(matches=bool, aliases=("binary/octet-stream",)),
}
