import itertools
import re

import pytest

from attachments.conf import DEFAULTS
from attachments.rules.content_types import (
    choose_content_type,
    get_extensions,
    get_file_type,
    is_inline,
    matches_content_type,
)
from attachments.rules.file_types import TYPES
from attachments.rules.signatures import HEAD_BYTES
from tests.real_files import (
    DOCX,
    TYPES_OF_FILES,
    make_compound_file,
    make_id3_tag,
    make_zip,
)

ALLOWED = DEFAULTS["ALLOWED_CONTENT_TYPES"]
XLS = "application/vnd.ms-excel"
ANY = "application/octet-stream"
LOOSE = {ANY, "text/javascript"}  # these take any bytes, and any text
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
HTML = b"<!doctype html><script>alert(1)</script>"


def matches(content, declared):
    def read_at(offset):
        return content[offset : offset + HEAD_BYTES]

    return matches_content_type(content[:HEAD_BYTES], declared, read_at=read_at)


def find_types(content):
    return {declared for declared in TYPES.keys() - LOOSE if matches(content, declared)}


def test_real_files_are_of_their_own_types_alone(real_files):
    found = {name: find_types(content) for name, content in real_files.items()}

    assert found == {name: set(types) for name, types in TYPES_OF_FILES.items()}


def test_there_is_a_real_file_of_each_type():
    made = {content_type for types in TYPES_OF_FILES.values() for content_type in types}

    # They are as OpenDocument texts.
    siblings = {name for name in TYPES if "opendocument" in name} - made
    assert set(TYPES) == made | siblings | LOOSE
    assert len(siblings) == 3


def test_what_is_cut_in_its_header_is_of_no_type_that_is_shown_in_place(real_files):
    for name, content in real_files.items():
        for length in range(17):
            shown = [declared for declared in find_types(content[:length]) if is_inline(declared)]
            assert not shown, f"{length} bytes of {name}"


# Their bytes, and the types that they are of.
HOSTILE = {
    "empty": (b"", set()),
    "one byte": (b"\0", set()),
    "zeros": (b"\0" * 40_000, set()),
    "HTML": (HTML, {"text/html", "application/xml"}),
    "HTML with spaces": (b"\r\n  <HTML><body onload=alert(1)>", {"text/html", "application/xml"}),
    "HTML in a comment": (b"<!-- x --><script>alert(1)</script>", {"text/html", "application/xml"}),
    "HTML in UTF-16": ("\ufeff<html>".encode("utf-16-le"), {"text/html", "application/xml"}),
    "HTML in UTF-16 without a mark": ("<html> ".encode("utf-16-be"), {"text/html", "application/xml"}),
    "HTML behind two marks": (b"\xef\xbb\xbf\xef\xbb\xbf<html>", {"text/html"}),
    "HTML that opens as a film": (b"<!--free--><script>alert(1)</script>", {"text/html", "application/xml"}),
    "a picture that runs": (b"<img src=x onerror=alert(1)>", {"text/html", "application/xml"}),
    "a title": (b"<title>x</title>", {"text/html", "application/xml"}),
    "SVG by prefix in a text": (b"<x:svg/>", {"text/html", "application/xml", "image/svg+xml"}),
    "PHP by its short tag": (b"<? system($_GET[0]) ?>", {"text/html", "application/xml"}),
    "ASP": (b"<% Response.Write(1) %>", set()),
    "the mark of a ZIP alone": (b"PK\x03\x04", set()),
    "SVG": (b'<svg onload="alert(1)"/>', {"text/html", "application/xml", "image/svg+xml"}),
    "PHP": (b"<?php system($_GET[0]); ?>", {"text/html", "application/xml"}),
    "short PHP": (b"<?= `id` ?>", {"text/html", "application/xml"}),
    "ZIP": (make_zip("evil.exe"), {"application/zip"}),
    "EXE": (b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0" + b"\0" * 200, set()),
    "ELF": (b"\x7fELF\x02\x01\x01" + b"\0" * 200, set()),
    "Java": (b"\xca\xfe\xba\xbe\0\0\0\x34" + b"\0" * 200, set()),
    "an OLE file of another program": (make_compound_file("Catalog", class_id="1" * 32), set()),
    "an OLE header alone": (make_compound_file()[:600], set()),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_of_no_other_type(name):
    content, types = HOSTILE[name]

    assert find_types(content) == types
    assert matches(content, ANY) == bool(content)


POLYGLOTS = {
    "HTML, then PDF": HTML + PDF,
    "spaces, HTML, then PDF": b" \xef\xbb\xbf\n <svg>" + PDF,
    "ZIP, then PDF": make_zip("a") + PDF,
    "EXE, then PDF": b"MZ\x90\0" + PDF,
    "GIF, then PDF": b"GIF89a" + PDF,
    "PDF too late": b" " * 1024 + PDF,
    "PDF without a version": b"%PDF-x",
    "GIF that is HTML": b"GIF89a<script>alert(1)</script>",
    "GIF that is JavaScript": b"GIF89a=1;/*" + b" " * 900 + b"*/alert(1)",
    "JPEG that is HTML": b"\xff\xd8\xff\xe0<script>alert(1)</script>",
    "JPEG of two starts": b"\xff\xd8\xff\xd8<script>",
    "PNG that is HTML": b"\x89PNG\r\n\x1a\n<script>alert(1)</script>",
    "WebP that is HTML": b"RIFF\x10\0\0\0WEBP<script>",
    "BMP that is a text": b"BM<script>alert(1)</script>",
    "ID3, then HTML": make_id3_tag(40) + HTML,
    "ID3, then HTML, far": make_id3_tag(40_000) + HTML,
    "ID3 without an end": b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + b"\0" * 20_000,
    "ID3 that is HTML": b"ID3<script>",
    "one frame of MP3": b"\xff\xfb\x90\x64" + b"\0" * 413,
    "MP4 that is HTML": b"\0\0\0\x18ftypisom\0\0\0\0isommp42<script>alert(1)</script>",
    "a first box without an end": b"\0\0\x90\0ftypisom\0\0\0\0isommp42" + b"\0" * 200,
    "a raw photo": b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom\0\0\0\x18moov" + b"\0" * 99,
    "Ogg without a codec": b"OggS\0\x02" + b"\0" * 22,
    "Matroska without a type": b"\x1a\x45\xdf\xa3\x84\x42\x82\x81w",
    "a compound file that points at nothing": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 600,
    "gzip with odd flags": b"\x1f\x8b\x08\xff" + b"\0" * 30,
}


@pytest.mark.parametrize("name", POLYGLOTS)
def test_polyglots_are_of_no_type_that_is_shown_in_place(name):
    assert not {declared for declared in find_types(POLYGLOTS[name]) if is_inline(declared)}


def test_html_and_mp3_in_one_file_is_no_mp3(samples):
    mp3 = samples["audio/mpeg"]
    for start in (HTML, b"PK\x03\x04", b"MZ", b"\x7fELF", b"#!/bin/sh\n", make_id3_tag(50) + HTML):
        assert not matches(start + mp3, "audio/mpeg")


@pytest.mark.parametrize(
    ("content", "is_json"),
    [
        (b"", False),
        (b"{", False),
        (b"words", False),
        (b'{"a": 1}{"b": 2}', False),
        (b'"\xc0"', False),
        (b"1" * 5000, True),
        (b"[" * 10_000, False),
        (b"[" * 20_000, True),  # what is not looked at may close them
        (b'["' + b"<script>" * 3000, True),
        (b'["a"] and words' * 2000, False),
    ],
)
def test_json_is_read_as_far_as_it_is_looked_at(content, is_json):
    assert matches(content, "application/json") == is_json


@pytest.mark.parametrize(
    ("content", "declared", "expected"),
    [
        (b"Rar!\x1a\x07\x01\x00" + b"\0" * 30, "application/vnd.rar", True),
        (b"7z\xbc\xaf\x27\x1c" + b"\0" * 30, "application/x-7z-compressed", True),
        (b"II*\0" + b"\0" * 30, "image/tiff", True),
        (PDF, "image/tiff", False),
        (HTML, "image/tiff", False),
        (b"", "image/tiff", False),
        (b"words", "application/x-nothing", False),
        (b"words", "image/tiff", False),
        (make_zip("a"), "application/vnd.ms-word.document.macroEnabled.12", True),
        (b"BEGIN:X", "text/x-anything", True),
        (b"binary\0", "text/x-anything", False),
        (b'{"type": "Point"}', "application/geo+json", True),
        (HTML, "application/geo+json", False),
        (b"<?xml version='1.0'?><gpx/>", "application/gpx+xml", True),
        (make_zip("a"), "application/x-mine+zip", True),
    ],
)
def test_types_that_have_no_row_of_their_own(content, declared, expected):
    assert matches(content, declared) == expected
    assert not is_inline(declared)


def test_what_is_shown_in_place():
    shown = {
        "image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/avif",
        "image/heic", "image/heif", "video/mp4", "video/webm", "video/quicktime", "audio/mpeg",
        "audio/ogg", "audio/opus", "audio/webm", "audio/mp4", "audio/wav", "audio/flac",
        "application/pdf", "image/vnd.microsoft.icon",
    }  # fmt: skip

    assert {content_type for content_type in TYPES if is_inline(content_type)} == shown
    assert set(ALLOWED) < shown


@pytest.mark.parametrize(
    "content_type",
    ["text/html", "text/plain", "text/csv", "text/css", "text/xml", "image/svg+xml", "application/xml",
     "application/xhtml+xml", "application/json", "application/javascript", ANY, XLS, DOCX,
     "application/zip", "application/x-nothing"],
)  # fmt: skip
def test_what_a_browser_might_run_or_cannot_show_is_a_download(content_type):
    assert not is_inline(content_type)


def test_the_table_is_in_order():
    names = list(itertools.chain(TYPES, *(file_type.aliases for file_type in TYPES.values())))
    extensions = {name: file_type.extensions for name, file_type in TYPES.items()}

    assert len(names) == len(set(names))
    assert all(
        re.fullmatch(r"(application|audio|binary|image|text|video)/[a-z0-9.+-]+", name)
        for name in names
    )
    assert [name for name in TYPES if not extensions[name]] == [ANY]
    assert all(
        re.fullmatch(r"\.[a-z0-9]+", item) for items in extensions.values() for item in items
    )


@pytest.mark.parametrize(
    "names",
    ["image/jpeg image/jpg", "image/png image/x-png", "image/bmp image/x-ms-bmp",
     "image/vnd.microsoft.icon image/x-icon",
     "image/avif image/avif-sequence", "image/heic image/heic-sequence",
     "image/heif image/heif-sequence", "image/svg+xml image/svg", "video/mp4 video/x-m4v",
     "video/quicktime video/mov", "video/3gpp video/3gp", "video/x-matroska video/mkv",
     "video/ogg video/x-ogg", "audio/mpeg audio/mp3", "audio/ogg application/ogg",
     "audio/opus audio/x-opus+ogg", "audio/mp4 audio/x-m4a", "audio/wav audio/x-wav",
     "audio/flac audio/x-flac", "application/pdf application/x-pdf",
     "application/msword application/vnd.ms-word", f"{XLS} application/x-msexcel",
     "application/vnd.ms-powerpoint application/mspowerpoint",
     "application/zip application/x-zip-compressed", "application/gzip application/x-gzip",
     "text/csv text/comma-separated-values", "text/markdown text/x-markdown",
     "text/vcard text/x-vcard", "text/javascript application/javascript",
     "application/json text/json", "application/xml text/xml", f"{ANY} binary/octet-stream"],
)  # fmt: skip
def test_other_names_that_clients_use(names):
    canonical, other = names.split()

    assert choose_content_type(other, [canonical]) == canonical
    assert choose_content_type(canonical, [other.upper()]) == canonical
    assert get_file_type(other) is TYPES[canonical]


@pytest.mark.parametrize(
    ("content_type", "extensions"),
    [
        ("application/pdf", (".pdf",)),
        ("application/x-pdf", (".pdf",)),
        (ANY, ()),
        ("image/tiff", (".tiff", ".tif")),
        ("application/gpx+xml", (".xml", ".gpx", ".gpxxml")),
        ("text/x-log", (".txt", ".log")),
        ("application/vnd.ms-word.document.macroEnabled.12", (".docm",)),
        ("application/x-nothing", ()),
    ],
)
def test_extensions(content_type, extensions):
    assert get_extensions(content_type) == extensions


@pytest.mark.parametrize(
    ("value", "allowed", "chosen"),
    [
        ("image/png", ["image/png"], "image/png"),
        ("Image/PNG ", ["IMAGE/png"], "image/png"),
        ("audio/ogg; codecs=opus", ["audio/ogg"], "audio/ogg"),
        ("application/ogg", ["audio/ogg"], "audio/ogg"),
        ("image/jpg", ["image/jpeg"], "image/jpeg"),
        ("audio/mp3", ["audio/mpeg"], "audio/mpeg"),
        ("application/x-pdf", ["application/pdf"], "application/pdf"),
        ("audio/x-m4a", ["audio/mp4"], "audio/mp4"),
        ("audio/x-m4a", ["audio/x-m4a"], "audio/x-m4a"),
        ("audio/mp4", ["audio/x-m4a"], "audio/mp4"),
        ("video/mp4", ["audio/mp4"], None),
        ("image/svg+xml", ["image/png"], None),
        ("", ["image/png"], None),
        (";", ["image/png"], None),
    ],
)
def test_the_type_that_a_client_means(value, allowed, chosen):
    assert choose_content_type(value, allowed) == chosen


# puremagic has the last two, with signatures that match no file.
@pytest.mark.parametrize(
    "content_type",
    ["", "image", "image/*", "text/", "application/x-nothing",
     "image/openraster", "audio/amr"],
)  # fmt: skip
def test_what_nothing_can_recognise(content_type):
    assert get_file_type(content_type) is None
