import itertools

import pytest

from attachments.conf import DEFAULTS
from attachments.rules.content_types import (
    HEAD_BYTES,
    get_extensions,
    is_inline,
    matches_content_type,
)
from nodus.dev.samples import make_media

TYPES = DEFAULTS["ALLOWED_CONTENT_TYPES"]
SOUND = ["-f", "lavfi", "-i", "sine=duration=1"]
PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=64x48:duration=1:rate=5"]

# Ogg Opus is an Ogg file: no other two default types share bytes.
SAME = {("audio/opus", "audio/ogg")}


@pytest.mark.parametrize(("actual", "declared"), list(itertools.product(TYPES, TYPES)))
def test_real_files_match_their_own_type_alone(samples, actual, declared):
    matches = matches_content_type(samples[actual][:HEAD_BYTES], declared)

    assert matches == (actual == declared or (actual, declared) in SAME)


@pytest.mark.parametrize(
    ("name", "recipe", "declared"),
    [
        ("a.mkv", PICTURE, "video/webm"),
        ("a.mov", [*PICTURE, "-pix_fmt", "yuv420p"], "video/mp4"),
        ("a.m4a", [*SOUND, "-c:a", "aac"], "video/mp4"),
        ("a.aac", [*SOUND, "-c:a", "aac"], "audio/mpeg"),
        ("a.mp2", [*SOUND, "-c:a", "mp2"], "audio/mpeg"),
        ("a.ogv", [*PICTURE, "-c:v", "libtheora"], "audio/ogg"),
        ("a.wav", SOUND, "image/webp"),
        ("a.avi", PICTURE, "image/webp"),
        ("a.bmp", [*PICTURE, "-frames:v", "1"], "image/png"),
    ],
)
def test_relatives_are_told_apart(tmp_path, name, recipe, declared):
    head = make_media(tmp_path / name, *recipe).read_bytes()[:HEAD_BYTES]

    assert not matches_content_type(head, declared)


@pytest.mark.parametrize(
    ("name", "recipe", "declared"),
    [
        ("bare.mp3", [*SOUND, "-c:a", "libmp3lame", "-id3v2_version", "0", "-write_xing", "0"], "audio/mpeg"),
        ("low.mp3", [*SOUND, "-c:a", "libmp3lame", "-ar", "16000", "-id3v2_version", "0"], "audio/mpeg"),
        ("flac.ogg", [*SOUND, "-c:a", "flac"], "audio/ogg"),
        ("sound.webm", [*SOUND, "-c:a", "libopus"], "video/webm"),
        ("vp9.webm", [*PICTURE, "-c:v", "libvpx-vp9"], "video/webm"),
        ("fragmented.mp4", [*PICTURE, "-pix_fmt", "yuv420p", "-movflags", "frag_keyframe+empty_moov"], "video/mp4"),
        ("lossless.webp", [*PICTURE, "-frames:v", "1", "-lossless", "1"], "image/webp"),
        ("animated.webp", PICTURE, "image/webp"),
    ],
)  # fmt: skip
def test_other_encodings_of_a_type_match(tmp_path, name, recipe, declared):
    head = make_media(tmp_path / name, *recipe).read_bytes()[:HEAD_BYTES]

    assert matches_content_type(head, declared)


@pytest.mark.parametrize("declared", TYPES)
@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\0" * 100,
        b"<!doctype html><script>alert(1)</script>",
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b"GIF89a<script>alert(1)</script>",
        b"\xff\xd8\xff\xd8<script>",
        b"\x89PNG\r\n\x1a\n<script>alert(1)</script>",
        b"RIFF\x10\x00\x00\x00WEBP<script>",
        b"\n%PDF-1.7",
        b"%PDF-x",
        b"OggS\x00\x02" + b"\0" * 22,
        b"ID3<script>",
        b"MZ\x90\x00",
        b"PK\x03\x04",
    ],
)
def test_disguises_are_seen_through(head, declared):
    assert not matches_content_type(head, declared)


@pytest.mark.parametrize("content_type", TYPES)
def test_cut_files_break_nothing(samples, content_type):
    for length in range(64):
        matches_content_type(samples[content_type][:length], content_type)


@pytest.mark.parametrize(
    ("head", "declared", "matches"),
    [
        (b"PK\x03\x04" + b"\0" * 30, "application/zip", True),
        (b"plain words", "text/plain", True),
        ("Привет, мир".encode() * 1000, "text/plain", True),
        (b"a,b\n1,2\n", "text/csv", True),
        (b"binary\0", "text/plain", False),
        (b"\x80\x81\x82", "text/plain", False),
        (b"<html><script>alert(1)</script>", "text/plain", False),
        (b"%PDF-1.7\n", "application/zip", False),
        (b"plain words", "application/zip", False),
        (b"", "application/zip", False),
    ],
)
def test_types_that_a_host_adds_are_left_to_puremagic(head, declared, matches):
    assert matches_content_type(head[:HEAD_BYTES], declared) == matches


def test_only_what_browsers_show_safely_is_shown_in_place():
    assert all(is_inline(content_type) for content_type in TYPES)
    for content_type in ("text/html", "image/svg+xml", "text/xml", "application/zip"):
        assert not is_inline(content_type)
        assert get_extensions(content_type) == ()
