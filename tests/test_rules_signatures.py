"""Where each signature begins and ends. tests/test_rules_content_types.py has whole files."""

import pytest

from attachments.rules.content_types import ENOUGH_BYTES, MAX_LOOKS, matches_content_type
from attachments.rules.file_types import TYPES
from attachments.rules.signatures import HEAD_BYTES
from tests.real_files import DOCX, make_compound_file, make_id3_tag, make_zip

DOC, XLS, PPT = "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"
OPEN_DOCUMENT = [f"application/vnd.oasis.opendocument.{kind}" for kind in ("spreadsheet", "presentation", "graphics")]  # fmt: skip
ICON = b"\0\0\1\0\1\0\x10\x10\0\0" + bytes(13)
FLAC = b"fLaC\0\0\0\x22" + b"\0" * 34
JPEG_START = b"\xff\xd8\xff\xe1"


def matches(content, declared, reads=None):
    def read_at(offset):
        if reads is not None:
            reads.append(offset)
        return content[offset : offset + HEAD_BYTES]

    return matches_content_type(content[:HEAD_BYTES], declared, read_at=read_at)


def make_bmp(header_size):
    return b"BM" + bytes(12) + header_size.to_bytes(4, "little") + bytes(8)


def make_new_compound_file(*streams, shift=12):
    """Of version 4, whose sectors have 4096 bytes, with a transaction signature."""
    file = bytearray(make_compound_file(*streams, directory_at=0))
    header, directory = file[:512], file[512:]
    header[30], header[52] = shift, 1
    return bytes(header).ljust(1 << shift, b"\0") + bytes(directory)


def make_ogg_page(packet, *, kind=2):
    return b"OggS\0" + bytes([kind, *bytes(20), 1, len(packet)]) + packet


VORBIS, OPUS, THEORA = map(make_ogg_page, (b"\x01vorbis", b"OpusHead", b"\x80theora"))


def make_frame(*, version=3, layer=3, bit_rate=9, sample_rate=0, bits=0):
    """The header of a frame of MPEG audio; the numbers as they stand in it, but the layer's."""
    return bytes((0xFF, 0xE1 | version << 3 | 4 - layer << 1, bit_rate << 4 | sample_rate << 2 | bits, 0))  # fmt: skip


MP3 = make_frame().ljust(417, b"\0")  # 128 kbit/s at 44.1 kHz
FREE = make_frame(bit_rate=0).ljust(1044, b"\0")

# A type, bytes that are of it, and nearly the same ones that are not.
EDGES = [
    ("image/jpeg", b"\xff\xd8\xff\xe0\0\2\xff", b"\xff\xd8\xff\xe0\0\1\xff"),
    ("image/jpeg", (JPEG_START + b"\xff\xff").ljust(HEAD_BYTES, b"\0"), (JPEG_START + b"\xff\xff").ljust(HEAD_BYTES - 1, b"\0")),
    ("image/jpeg", (JPEG_START + b"\x3f\xfc").ljust(HEAD_BYTES, b"\0"), (JPEG_START + b"\x3f\xfb").ljust(HEAD_BYTES, b"\0")),
    ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(17), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(16)),
    ("image/gif", b"GIF87a\1\0\1\0\x07\0\0,", b"GIF87a\1\0\1\0\x07\0\0"),
    ("image/webp", b"RIFF\0\0\0\0WEBPVP8 " + bytes(4), b"RIFX\0\0\0\0WEBPVP8 " + bytes(4)),
    *[("image/bmp", make_bmp(size), make_bmp(size)[:-1]) for size in (12, 16, 40, 52, 56, 64, 108, 124)],
    ("image/bmp", make_bmp(40), b"XX" + make_bmp(40)[2:]),
    *[("image/vnd.microsoft.icon", ICON, wrong) for wrong in (ICON[:-1], ICON[:4] + b"\0\0" + ICON[6:], ICON[:9] + b"\1" + ICON[10:])],
    ("audio/wav", b"RF64\0\0\0\0WAVE" + bytes(9), b"RF64\0\0\0\0WAVE" + bytes(8)),
    ("audio/wav", b"RIFF\0\0\0\0WAVE" + bytes(9), b"RIFX\0\0\0\0WAVE" + bytes(9)),
    ("audio/flac", FLAC, FLAC[:-1]),
    ("audio/flac", b"\0\0\0" + FLAC, b"\0X" + FLAC),
    ("audio/flac", b"ID3\4\0\x10\0\0\0\1x3DI\4\0\x10\0\0\0\1" + FLAC, b"ID3\4\0\x10\0\0\0\1x" + FLAC),
    ("audio/flac", b"ID3\4\0\x20\0\0\0\1x" + FLAC, b"ID3\4\0\x20\0\0\0\1" + FLAC),
    ("audio/flac", b"ID3\3\0\x10\0\0\0\1x" + FLAC, b"ID3\5\0\0\0\0\0\1x" + FLAC),
    ("audio/flac", make_id3_tag(0x204080) + FLAC, make_id3_tag(0x204080)[:-1] + FLAC),
    ("audio/flac", b"APETAGEX\xd0\7\0\0\3\0\0\0" + bytes(16) + b"abc" + FLAC, b"APETAGEX\xd0\7\0\0\3\0\0\0" + bytes(16) + FLAC),
    ("audio/flac", make_id3_tag(8) * MAX_LOOKS + FLAC, make_id3_tag(8) * (MAX_LOOKS + 1) + FLAC),
    ("audio/mpeg", MP3 + make_frame(), MP3 + make_frame()[:3]),
    ("audio/mpeg", MP3 + b"\xff\xfa\x90\0", MP3 + b"\xff\x1b\x90\0"),
    ("audio/mpeg", MP3 + make_frame(bits=1), MP3 + make_frame(version=2)),
    ("audio/mpeg", make_frame(bits=1).ljust(417, b"\0") + make_frame(), MP3 + b"\0" + make_frame()[1:]),
    ("audio/mpeg", MP3 + make_frame(bit_rate=1), MP3 + make_frame(layer=2)),
    ("audio/mpeg", MP3 + make_frame(bit_rate=14), MP3 + make_frame(bit_rate=15)),
    ("audio/mpeg", MP3 + make_frame(), MP3 + make_frame(sample_rate=1)),
    ("audio/mpeg", MP3 + make_frame(), FREE + FREE),
    ("audio/mpeg", b"x" * 1727 + MP3 + make_frame(), b"x" * 1729 + MP3 + make_frame()),
    ("audio/ogg", make_ogg_page(b"Speex   "), make_ogg_page(b"Speex   ", kind=1)),
    ("audio/ogg", make_ogg_page(b"\x7fFLAC"), b"OggX" + make_ogg_page(b"\x7fFLAC")[4:]),
    ("audio/ogg", VORBIS + make_ogg_page(b"\x80theora", kind=0), VORBIS + THEORA),
    ("audio/opus", VORBIS + OPUS, OPUS + THEORA),
    *[("video/ogg", VORBIS + make_ogg_page(packet), VORBIS + make_ogg_page(packet, kind=0))
      for packet in (b"\x80theora", b"BBCD\0", b"\x01video\0\0\0", b"OVP80")],
    ("video/webm", b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm", b"\x1a\x45\xdf\xa3\x86\x42\x82\x84webm"),
    ("application/pdf", b"%PDF-1.7" + bytes(32), b"%PDF-1.7" + bytes(31)),
    ("application/pdf", b"%PDF-2.0" + bytes(32), b"%PDF-3.0" + bytes(32)),
    ("application/pdf", b"%!PS-Adobe-3.0 PDF-1.4" + bytes(32), b"%!PS-Adobe-3.0 EPSF-1.4" + bytes(32)),
    *[(declared, make_compound_file("Other"), make_compound_file("Other", class_id="1" * 32)) for declared in (DOC, XLS, PPT)],
    *[(declared, make_compound_file("Other", class_id=class_id), make_compound_file("Other", class_id=f"{class_id[:-1]}7"))
      for declared, class_id in [(DOC, "0609020000000000c000000000000046"), (XLS, "2008020000000000c000000000000046"), (XLS, "1008020000000000c000000000000046")]],
    (DOC, make_new_compound_file("WordDocument"), make_new_compound_file("WordDocument", shift=11)),
    (DOC, make_compound_file("WordDocument"), b"Nodus it" + make_compound_file("WordDocument")[8:]),
    (DOCX, make_zip("[Content_Types].xml"), make_zip("[Content_Types]")),
    (DOCX, make_zip("_rels/.rels"), make_zip("_rels")),
    (DOCX, make_zip("docProps/app.xml"), make_zip("docProps")),
    (DOCX, make_zip("word/a.xml")[:66] + b"\5" + bytes(99), make_zip("xl/a.xml")),
    *[(declared, make_zip("mimetype", first=declared.encode()), make_zip("mimetype", first=declared.encode() + b"-template")) for declared in OPEN_DOCUMENT],
    ("application/zip", b"PK\5\6" + bytes(16) + b"\5\0hello", b"PK\5\6" + bytes(15) + b"x"),
    ("application/zip", b"PK\7\x08PK\3\4", b"PK\7\x08PK\5\6"),
    ("application/gzip", b"\x1f\x8b\x08\x1f" + bytes(14), b"\x1f\x8b\x08\x1f" + bytes(13)),
    ("application/gzip", b"\x1f\x8b\x08" + bytes(15), b"\x1f\x8b\x08\x20" + bytes(14)),
    ("text/plain", "\ufeffwords".encode("utf-32-be"), b"\0\0\xfe\xff\0\0\0\0"),
    ("text/plain", b"\xef\xbb\xbfwords", b"\xef\xbb\xbf\xff\xfew\0"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "right", "wrong"), EDGES, ids=[edge[0] for edge in EDGES])
def test_what_is_just_of_a_type_and_what_is_not(declared, right, wrong):
    assert matches(right, declared)
    assert not matches(wrong, declared)


def test_the_marker_of_a_segment_follows_the_start_of_a_jpeg():
    """No restart, no end and no second start: ITU T.81, table B.1."""
    heads = {marker: bytes((0xFF, 0xD8, 0xFF, marker, 0, 2, 0xFF)) for marker in range(0xFF)}

    found = [marker for marker in heads if matches(heads[marker], "image/jpeg")]

    assert found == [*range(0xC0, 0xD0), *range(0xDA, 0xFF)]


MP4 = "video/mp4 audio/mp4"
# The major brands, the compatible ones, and the types of a file that begins with them.
BRANDS = [
    (
        "isom iso2 iso3 iso4 iso5 iso6 iso7 iso8 iso9 isoa isob isoc mp41 mp42 mp71 avc1 mmp4",
        "",
        MP4,
    ),
    ("M4V_ m4v_ M4VH M4VP dash msdh msnv MSNV XAVC cmfc cmf2", "", MP4),
    ("mp42 abcd", "M4A_ isom", MP4),
    ("M4A_ M4B_ M4P_ F4A_ F4B_", "isom mp42", "audio/mp4"),
    ("qt__ abcd", "qt__ abcd", "video/quicktime"),
    ("qt__", "mp42", "video/quicktime"),
    ("crx_ jp2_ jpm_ jpx_ jph_ mjp2", "isom", ""),
    ("3gp4 3gr6 3ge6 3gg6 3gs6", "", "video/3gpp"),
    ("3gp4", "isom", f"video/3gpp {MP4}"),
    ("3g2a", "", "video/3gpp2"),
    ("heic heix heim heis hevc hevx hevm hevs", "mif1 isom", "image/heic image/heif"),
    ("mif1 msf1", "heic", "image/heic image/heif"),
    ("mif1 msf1", "jpeg", "image/heif"),
    ("mif1 msf1 avif avis", "avif mif1 isom", "image/avif"),
    ("heic", "mif1 avif", "image/heic"),
    ("mif1", "heic avif", "image/heic image/avif"),
    ("abcd", "mif1 heic", ""),
    ("abcd", "mif1 avif", ""),
    ("abcd", "avif mif1", ""),
]


def make_first_boxes(*brands, size=None):
    major, *others = (brand.replace("_", " ").encode() for brand in brands)
    box = b"ftyp" + major + bytes(4) + b"".join(others)
    return (size or len(box) + 4).to_bytes(4, "big") + box + b"\0\0\0\x08free"


@pytest.mark.parametrize(("majors", "others", "types"), BRANDS)
def test_the_brands_say_the_type(majors, others, types):
    for major in majors.split():
        content = make_first_boxes(major, *others.split())

        found = {declared for declared in TYPES if matches(content, declared)}

        assert found - {"application/octet-stream"} == set(types.split()), major


@pytest.mark.parametrize("size", [1, 8, 12])
def test_a_first_box_that_cannot_hold_a_brand(size):
    content = bytearray(make_first_boxes("isom", "isom", size=size))
    content[3] = size

    assert not matches(bytes(content), "video/mp4")


def test_brands_stand_in_a_box_of_their_own():
    assert not matches(make_first_boxes("isom").replace(b"ftyp", b"free"), "video/mp4")


def test_a_film_that_plays_as_sound_too_is_a_film():
    film = make_first_boxes("mp42", "M4A_") + b"hdlr" + bytes(8) + b"vide"

    assert matches(film, "video/mp4")
    assert not matches(film, "audio/mp4")


@pytest.mark.parametrize("box", [b"moov", b"mdat", b"wide", b"pnot", b"free", b"skip"])
def test_old_films_have_no_brands(box):
    content = {size: size.to_bytes(4, "big") + box + bytes(9) for size in range(10)}

    sound = [size for size in content if matches(content[size], "video/quicktime")]

    assert sound == [0, 1, 8, 9]
    assert not matches(content[8][:-1], "video/quicktime")


def test_films_of_other_boxes_are_none():
    assert not matches(b"\0\0\0\x08abcd" + bytes(9), "video/quicktime")


OTHER_OPENINGS = [
    *(b"<!-", b" \n<?x", b"</a", b"<B", b"\xef\xbb\xbf<a", b"#!", b"MZ", b"\x7fELF", b"\xca\xfe\xba\xbe"),
    *(b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"PK\3", b"PK\5", b"PK\7", b"\x1f\x8b\x08", b"Rar!"),
    *(b"7z\xbc\xaf", b"\xd0\xcf\x11\xe0", b"GIF8", b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"OggS"),
    *(b"fLaC", b"\x1a\x45\xdf\xa3", b"\n\0\0 ftyp", b"%PDF-"),
]  # fmt: skip


@pytest.mark.parametrize("opening", OTHER_OPENINGS)
def test_what_opens_as_another_format_is_neither_mp3_nor_pdf(opening):
    pdf = b"%PDF-1.7" + bytes(32)

    assert not matches(opening + MP3 + make_frame(), "audio/mpeg")
    assert opening == b"%PDF-" or not matches(opening + pdf, "application/pdf")


@pytest.mark.parametrize(
    ("size", "length", "reads"),
    [
        (HEAD_BYTES - ENOUGH_BYTES, 2 * HEAD_BYTES, 0),
        (HEAD_BYTES - ENOUGH_BYTES + 1, 2 * HEAD_BYTES, 1),
        (HEAD_BYTES - ENOUGH_BYTES + 1, HEAD_BYTES, 1),
        (HEAD_BYTES - ENOUGH_BYTES + 1, HEAD_BYTES - 1, 0),
        (3 * HEAD_BYTES, 4 * HEAD_BYTES, 1),
    ],
)
def test_a_file_is_read_again_where_the_head_has_too_little(size, length, reads):
    content = (make_id3_tag(size - 10).ljust(size, b"x") + FLAC).ljust(length, b"\0")
    read = []

    assert matches(content, "audio/flac", read)
    assert read == [size] * reads
    assert matches_content_type(content[:HEAD_BYTES], "audio/flac") == (size < HEAD_BYTES)


# Bytes in a frame, by version, layer, sample rate and the index of the bit rate.
FRAMES = [
    *[(3, 3, 0, index, size) for index, size in enumerate((104, 130, 156, 182, 208, 261, 313, 365, 417, 522, 626, 731, 835, 1044), 1)],
    *[(2, 3, 0, index, size) for index, size in enumerate((26, 52, 78, 104, 130, 156, 182, 208, 261, 313, 365, 417, 470, 522), 1)],
    *[(3, 2, 0, index, size) for index, size in enumerate((104, 156, 182, 208, 261, 313, 365, 417, 522, 626, 731, 835, 1044, 1253), 1)],
    *[(2, 2, 0, index, size) for index, size in enumerate((52, 104, 156, 208, 261, 313, 365, 417, 522, 626, 731, 835, 940, 1044), 1)],
    (3, 3, 1, 9, 384), (3, 3, 2, 9, 576), (2, 3, 1, 12, 384), (2, 3, 2, 12, 576),
    (0, 3, 0, 12, 835), (0, 3, 1, 12, 768), (0, 3, 2, 12, 1152),
]  # fmt: skip


@pytest.mark.parametrize(("version", "layer", "sample_rate", "bit_rate", "size"), FRAMES)
def test_the_next_frame_is_found_where_this_one_ends(version, layer, sample_rate, bit_rate, size):
    for padding in (0, 1):
        frame = make_frame(
            version=version,
            layer=layer,
            sample_rate=sample_rate,
            bit_rate=bit_rate,
            bits=padding << 1,
        )
        one_off = [frame.ljust(size + padding + off, b"\0") + frame for off in (-1, 0, 1)]

        assert [matches(head, "audio/mpeg") for head in one_off] == [False, True, False]


@pytest.mark.parametrize(
    "opening",
    ["<!doctype html>", "<!DOCTYPE  svg", "<html>", "<head>", "<body x>", "<script>", "<svg>", "<x:svg ",
     "<title>", "<meta ", "<link/>", "<base ", "<iframe ", "<object ", "<embed ", "<frameset>",
     "<b onclick=x>", "<img/onerror = x", "<?=", "<?php ", "<%", "%PDF-1",
     "<!-- a --><!-- b -->\n<script>", "<?xml a?> <?xml b?><html>", "\ufeff\ufeff <html>"],
)  # fmt: skip
def test_what_opens_as_another_language_is_no_plain_text(opening):
    assert not matches(f"\n {opening}".encode("utf-16"), "text/plain")


@pytest.mark.parametrize(
    "opening", ["<p align=x>", "<?xml version='1.0'?><a>", "<header>", "<metadata>", "<b on>", "a <script>"]
)  # fmt: skip
def test_markdown_and_other_texts_may_have_elements(opening):
    assert matches(opening.encode(), "text/plain")


def test_json_may_be_cut_anywhere():
    tokens = b'[true, false, null, -1.5E+30, 2e-7, "a\\"b\\\\ \\n", {"k": [-0]}]'

    for cut in range(1, len(tokens)):
        content = b" " * (HEAD_BYTES - cut) + tokens
        assert matches(content, "application/json"), tokens[:cut]


@pytest.mark.parametrize(
    "wrong", [b"[nothing]", b'["a\nb"]', b"[trues]", b"[+1]", b"(1)", b"[a", b"['a"]
)
def test_json_that_is_cut_has_tokens_of_json_alone(wrong):
    content = b" " * (HEAD_BYTES - 12) + wrong.ljust(12) + b"]"

    assert not matches(content, "application/json")
