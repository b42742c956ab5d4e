import re
import unicodedata
from urllib.parse import unquote

import pytest

from attachments.errors import InvalidFilename
from attachments.rules.filenames import (
    clean_filename,
    make_disposition,
    make_safe_name,
    make_served_name,
)


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "Отчёт за 2026 год.pdf",
        "写真.jpg",
        "صورة.png",
        "👩‍👩‍👧.gif",
        "no extension",
        "X",
        ".hidden",
        'quo"te.png',
        "100% <real>?*|:.png",
        "console.log",
        "com.png",
        "conin.txt",
        "a" * 255,
        "a\u200fb.png",
    ],
)
def test_any_language_is_welcome(name):
    assert clean_filename(name) == name


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("  a.png \n", "a.png"),
        (unicodedata.normalize("NFD", "й.png"), "й.png"),
    ],
)
def test_names_are_put_in_order(name, cleaned):
    assert clean_filename(name) == cleaned


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        ".",
        "..",
        "a/b.png",
        "/etc/passwd",
        "..\\a.png",
        "C:\\a.png",
        "a\0.png",
        "a\nb.png",
        "a\x1b[31m.png",
        "a\x7f.png",
        "a\u2028b.png",
        "a\u2029b.png",
        "a\ud800.png",
        "photo\u202egnp.exe",
        "photo\u2066x.png",
        "CON",
        "nul.txt",
        "com1.png",
        "LPT9 .png",
        "prn",
        "AUX.h",
        "conin$",
        "CONOUT$.txt",
        "com0",
        "com¹",
        "com²",
        "lpt³.txt",
        "a" * 256,
    ],
)
def test_what_is_odd_is_refused(name):
    with pytest.raises(InvalidFilename) as raised:
        clean_filename(name)

    assert raised.value.attr == "filename"
    assert re.match("Invalid filename: (it|the name) ", raised.value.detail)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Cat photo.PNG", "Cat-photo.png"),
        ("Отчёт.png", "file.png"),
        ("café.png", "cafe.png"),
        ("evil.html", "evil.png"),
        ("evil.png.html", "evil-png.png"),
        ("a b/../c", "c.png"),
        (".png", "png.png"),
        ("_XXL-.png", "XXL.png"),
        ("x" * 255, "x" * 96 + ".png"),
        ("Draft 1.2", "Draft-1-2.png"),
        ("%2e%2e\"'<>&.png", "2e-2e.png"),
        ("a_b-c  d.png", "a_b-c-d.png"),
    ],
)
def test_keys_are_spelled_in_ascii_with_the_types_extension(name, safe):
    assert make_safe_name(name, extensions=(".png",)) == safe


def test_a_types_own_other_extension_stays():
    assert make_safe_name("a.JPEG", extensions=(".jpg", ".jpeg")) == "a.jpeg"


def test_an_unknown_type_gets_no_extension():
    assert make_safe_name("run.exe", extensions=()) == "run"


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("a.pdf", "a.pdf"),
        ("A.PDF", "A.PDF"),
        ("Отчёт за год.hta", "Отчёт за год.pdf"),
        ("a.pdf.exe", "a.pdf.pdf"),
        ("a.png", "a.pdf"),
        ("a", "a.pdf"),
        ("a.mp4", "a.pdf"),
        ("a.abcdefghij", "a.pdf"),
        ("a.abcdefghijk", "a.abcdefghijk.pdf"),
        ("Draft 1.2", "Draft 1.2.pdf"),
        ("Mr. Smith", "Mr. Smith.pdf"),
        ("a.hta.", "a.hta..pdf"),
        (".hta", ".hta.pdf"),
        ("x" * 255, "x" * 251 + ".pdf"),
    ],
)
def test_a_file_is_called_as_its_type_is(name, served):
    assert make_served_name(name, extensions=(".pdf",)) == served


def test_where_any_extension_will_do_the_name_stays():
    assert make_served_name("run.exe", extensions=()) == "run.exe"


@pytest.mark.parametrize(
    ("filename", "end"),
    [
        ("中" * 251 + ".png", ".png"),
        ("😀" * 251 + ".png", ".png"),
        ("a." + "中" * 253, "%AD"),  # that is no extension
    ],
)
def test_a_disposition_is_no_longer_than_stores_keep(filename, end):
    header = make_disposition(filename, as_attachment=True)

    assert 1700 < len(header) <= 1800
    assert header.startswith("attachment; filename*=utf-8''")
    assert header.endswith(end)


def test_a_name_that_fits_is_whole_in_its_disposition():
    cyrillic = "я" * 250 + ".png"

    assert unquote(make_disposition(cyrillic, as_attachment=False)).endswith(cyrillic)
    assert make_disposition("a.png", as_attachment=False) == 'inline; filename="a.png"'
