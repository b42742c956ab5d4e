"""What is found in files, real and hostile, by the process that decodes."""

import errno
import io
import itertools
import resource
import signal
import struct
import sys
import tempfile
import zlib
from contextlib import nullcontext, suppress
from dataclasses import asdict

import pytest
from PIL import Image, ImageCms, ImageDraw
from PIL.ExifTags import GPS, IFD, Base
from PIL.PngImagePlugin import PngInfo

from attachments.decoding import process as decoding
from attachments.decoding.pictures import inspect_picture
from attachments.decoding.stripping import strip_picture
from attachments.errors import DecodingUnavailable
from attachments.media import (
    Inspection,
    can_strip,
    inspect_file,
    is_inspectable,
    sandbox,
    strip_file,
)
from attachments.media.sandbox import Job, run_decoder
from tests.real_files import TYPES_OF_FILES

RED, GREEN = (255, 0, 0), (0, 255, 0)
# Their decoders look for their data at places that the file itself does not have.
WITHOUT_FACTS = {"old.mov"}


def inspect(content, content_type, *, px=512):
    with tempfile.TemporaryFile() as file:
        file.write(content)
        return inspect_file(file, content_type=content_type, thumbnail_px=px)


def strip(content, content_type):
    with tempfile.TemporaryFile() as file:
        file.write(content)
        return strip_file(file, content_type=content_type)


def inspect_here(content, content_type, *, px=64):
    """In this process: only for what is no bomb."""
    job = {"action": "inspect", "content_type": content_type, "thumbnail_px": px}
    return decoding.load_decoder(job)(io.BytesIO(content))


def save(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_half_red(mode="RGB", size=(40, 20)):
    """The left half is red, the right half green."""
    image = Image.new("RGB", size, GREEN)
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 2 - 1, size[1] - 1), fill=RED)
    return image.convert(mode)


def make_exif(orientation=1):
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    exif[Base.Make] = "A camera"
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (55.0, 45.0, 21.0)
    return exif


def open_thumbnail(content, kind, *, px=512):
    _media, thumbnail = inspect_picture(io.BytesIO(content), format_name=kind, thumbnail_px=px)
    return Image.open(io.BytesIO(thumbnail), formats=["WEBP"])


def is_close(found, wanted, tolerance=12):
    return all(abs(a - b) <= tolerance for a, b in zip(found, wanted, strict=True))


# Facts


def test_facts_of_real_files(real_files):
    for name, content in real_files.items():
        content_type = next(iter(TYPES_OF_FILES.get(name, [])), "")
        if not is_inspectable(content_type) or name in WITHOUT_FACTS:
            continue
        media, thumbnail = inspect_here(content, content_type)
        is_picture = content_type.startswith(("image/", "video/"))
        if is_picture and name not in ("sound.mp4",):
            assert (media["width"], media["height"]) == (64, 48), name
        if content_type.startswith(("audio/", "video/")):
            assert media["duration_seconds"] == pytest.approx(1, abs=0.1), name
        if content_type == "application/pdf":
            assert media == {"page_count": 1}, name
        assert bool(thumbnail) is content_type.startswith("image/"), name


def test_what_is_asked_of_a_process_of_its_own(real_files):
    assert inspect(real_files["vp9.webm"], "video/webm").media == {
        "width": 64,
        "height": 48,
        "duration_seconds": pytest.approx(1, abs=0.1),
    }
    assert inspect(real_files["own.pdf"], "application/pdf").media == {"page_count": 1}
    found = inspect(real_files["pillow.jpg"], "image/jpeg", px=32)
    assert found.media == {"width": 64, "height": 48}
    assert Image.open(io.BytesIO(found.thumbnail)).size == (32, 24)
    assert inspect(real_files["pillow.jpg"], "image/jpeg", px=0).thumbnail == b""


def test_a_film_is_measured_as_it_is_turned(real_files):
    """A phone writes the turn into the header of the track: 90 degrees, in 16.16 numbers."""
    straight = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)
    turned = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 48 * 65536, 0, 2**30)
    content = real_files["h264.mp4"]
    head, _, tail = content.rpartition(straight)  # the first is that of the whole film
    assert head

    media, _ = inspect_here(head + turned + tail, "video/mp4")

    assert (media["width"], media["height"]) == (48, 64)


def test_what_is_cut_short_has_no_wrong_facts(real_files):
    """At each tenth of each type. What plays on its own is as long as what is left of it."""
    for name, content in real_files.items():
        content_type = next(iter(TYPES_OF_FILES.get(name, [])), "")
        if not is_inspectable(content_type):
            continue
        for tenth in range(10):
            media = {}
            with suppress(Exception):
                media, _ = inspect_here(content[: len(content) * tenth // 10], content_type)
            if "width" in media:
                assert (media["width"], media["height"]) == (64, 48), (name, tenth)
            assert media.get("page_count", 1) == 1, (name, tenth)
            assert media.get("duration_seconds", 1) <= 1.1, (name, tenth)


def test_a_still_picture_that_is_cut_short_has_no_facts(real_files):
    for name in ("pillow.jpg", "progressive.jpg", "pillow.png", "pillow.webp", "pillow.gif"):
        content_type = TYPES_OF_FILES[name][0]
        for tenth in range(1, 10):
            with pytest.raises((OSError, SyntaxError, EOFError, ValueError)):
                inspect_here(real_files[name][: len(real_files[name]) * tenth // 10], content_type)


@pytest.mark.parametrize(
    ("name", "content_type"), [("h264.mov", "video/quicktime"), ("opus.webm", "audio/webm")]
)
def test_a_recording_whose_end_is_missing_has_no_facts(real_files, name, content_type):
    content = real_files[name]  # its header comes first, and promises a second

    with pytest.raises((ValueError, OSError)):
        inspect_here(content[: len(content) // 2], content_type)


# Thumbnails


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(orientation):
    content = save(make_half_red(), "JPEG", exif=make_exif(orientation), quality=95)

    media, _ = inspect_picture(io.BytesIO(content), format_name="JPEG", thumbnail_px=64)
    thumbnail = open_thumbnail(content, "JPEG").convert("RGB")

    assert thumbnail.size == ((20, 40) if orientation > 4 else (40, 20))
    assert thumbnail.size == (media["width"], media["height"])
    red_at = {1: (5, 10), 2: (35, 10), 3: (35, 10), 4: (5, 10), 5: (10, 5), 6: (10, 5), 7: (10, 35), 8: (10, 35)}[orientation]  # fmt: skip
    assert is_close(thumbnail.getpixel(red_at), RED)


XMP_TURN = b"http://ns.adobe.com/xap/1.0/\0" + b'<x tiff:Orientation="6"/>'


def make_text_turn():
    """As ImageMagick keeps the EXIF of a photo in a text of a PNG."""
    exif = make_exif(6).tobytes()
    texts = PngInfo()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n")
    return texts


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", "xmp": XMP_TURN[29:]}),
        ("WEBP", {"exif": b"Exif\0\0this is none"}),
        ("PNG", {"pnginfo": make_text_turn()}),
    ],
)
def test_nothing_but_exif_turns_a_picture(kind, options):
    content = save(make_half_red(), kind, **options)

    assert open_thumbnail(content, kind).size == (40, 20)
    stripped = strip_picture(io.BytesIO(content), f"image/{kind.lower()}")
    assert "exif" not in Image.open(io.BytesIO(stripped)).info


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"comment": b"Here"}),
        ("PNG", {}),
        ("WEBP", {"xmp": b"<x:xmpmeta>Here</x:xmpmeta>"}),
    ],
)
def test_thumbnails_hold_nothing_but_pixels(kind, options):
    content = save(make_half_red(), kind, exif=make_exif(), **options)
    assert b"A camera" in content

    _media, thumbnail = inspect_picture(io.BytesIO(content), format_name=kind, thumbnail_px=64)

    assert not any(text in thumbnail for text in (b"A camera", b"Here", b"EXIF", b"XMP ", b"ICCP"))


def make_swapped_profile():
    """sRGB in which red and green changed places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")


@pytest.mark.parametrize(
    ("mode", "kind", "options", "wanted"),
    [
        ("RGB", "JPEG", {"quality": 95}, RED),
        ("CMYK", "JPEG", {"quality": 95}, RED),
        ("P", "PNG", {}, RED),
        ("P", "GIF", {}, RED),
        ("RGB", "PNG", {"icc_profile": make_swapped_profile()}, GREEN),
        ("RGBA", "PNG", {"icc_profile": make_swapped_profile()}, GREEN),
        ("P", "PNG", {"icc_profile": make_swapped_profile()}, GREEN),
        ("RGB", "PNG", {"icc_profile": b"not a profile"}, RED),
        ("CMYK", "JPEG", {"icc_profile": make_swapped_profile(), "quality": 95}, RED),
    ],
)
def test_colours_are_those_that_people_see(mode, kind, options, wanted):
    content = save(make_half_red(mode), kind, **options)

    thumbnail = open_thumbnail(content, kind)

    assert is_close(thumbnail.convert("RGB").getpixel((5, 10)), wanted)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "RGB"])
def test_what_is_transparent_stays_so(mode):
    if mode in ("P", "RGB"):  # one colour is transparent
        transparent = 0 if mode == "P" else GREEN
        image = Image.new(mode, (20, 20), transparent)
        content = save(image, "PNG", transparency=transparent)
    else:
        content = save(Image.new(mode, (20, 20), (0,) * len(mode)), "PNG")

    assert open_thumbnail(content, "PNG").getpixel((5, 5))[3] == 0


def test_16_bits_become_8():
    image = Image.new("I;16", (2, 1))
    image.putpixel((0, 0), 128 * 257)
    image.putpixel((1, 0), 65535)

    thumbnail = open_thumbnail(save(image.resize((40, 20), Image.Resampling.NEAREST), "PNG"), "PNG")

    assert abs(thumbnail.convert("L").getpixel((5, 10)) - 128) < 3
    assert thumbnail.convert("L").getpixel((35, 10)) > 250


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (20, 20), GREEN), Image.new("RGB", (20, 20), RED)]
    content = save(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)

    assert is_close(open_thumbnail(content, kind).convert("RGB").getpixel((5, 5)), GREEN)


def test_small_pictures_are_not_made_larger():
    assert open_thumbnail(save(make_half_red(), "PNG"), "PNG", px=512).size == (40, 20)
    assert open_thumbnail(save(make_half_red(size=(400, 4)), "PNG"), "PNG", px=64).size == (64, 1)


# Hostile files


def make_png_bomb(width, height):
    """A header, and some of the rows that it promises."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 10**6)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    )


def make_gif_bomb():
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
        + b",\0\0\0\0\x01\0\x01\0\0\x02\x02L\x01\0;"
    )


def make_pdf_bomb():
    """A tree of pages that is its own child."""
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Count 1000000/Kids[2 0 R 2 0 R]>>endobj\n"
        b"xref\n0 3\n0000000000 65535 f \n0000000009 00000 n \n0000000054 00000 n \n"
        b"trailer<</Size 3/Root 1 0 R>>\nstartxref\n115\n%%EOF"
    )


def make_deep_pdf():
    return (
        b"%PDF-1.4\n"
        + b"1 0 obj"
        + b"[" * 10**5
        + b"endobj\ntrailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF"
    )


HOSTILE = {
    "pixels.png": ("image/png", make_png_bomb(60000, 60000)),
    "more pixels.png": ("image/png", make_png_bomb(2**31 - 1, 2**31 - 1)),
    "fewer rows than it says.png": ("image/png", make_png_bomb(10000, 10000)),
    "screen.gif": ("image/gif", make_gif_bomb()),
    "circle.pdf": ("application/pdf", make_pdf_bomb()),
    "deep.pdf": ("application/pdf", make_deep_pdf()),
    "boxes.mp4": ("video/mp4", b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + b"\xff\xff\xff\xffmoov" * 10**4),
    "nested.webm": ("video/webm", b"\x1aE\xdf\xa3\x87B\x82\x84webm" + b"\x18S\x80g\x01\xff\xff\xff\xff\xff\xff\xff" * 10**3),
    "another type.jpg": ("image/jpeg", save(make_half_red(), "PNG")),
    "empty.png": ("image/png", b""),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_nothing(name):
    content_type, content = HOSTILE[name]

    assert inspect(content, content_type) == Inspection()
    assert not can_strip(content_type) or strip(content, content_type) is None


def test_only_the_first_of_many_frames_costs_time():
    frame = b",\0\0\0\0\x01\0\x01\0\0\x02\x02L\x01\0"
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)

    found = inspect(head + frame * 500_000 + b";", "image/gif")

    assert found.media == {"width": 1, "height": 1}


BEGIN = "import os, signal, sys; os.write(1, b'begun\\n'); "


def run_program(monkeypatch, program, **limits):
    """Let another program answer, as it would if a file had taken the decoder over."""
    monkeypatch.setattr(sandbox, "_START", program)
    job = Job(action="inspect", content_type="image/png", max_output_bytes=2**12, **limits)
    with tempfile.TemporaryFile() as file:
        return run_decoder(job, file)


def test_a_file_that_needs_more_memory_than_it_gets_gives_nothing():
    job = Job(
        action="inspect", content_type="image/png", max_output_bytes=2**20, memory_bytes=2**28
    )
    with tempfile.TemporaryFile() as file:
        file.write(make_png_bomb(10000, 10000))
        assert run_decoder(job, file) is None


@pytest.mark.parametrize(
    ("program", "limits"),
    [
        ("any(iter(int, 1))", {"cpu_seconds": 1}),
        ("os.write(1, bytes(2**13))", {}),
        ("os.kill(os.getpid(), signal.SIGSEGV)", {}),
        ("os.abort()", {}),
        ("print('not json')", {}),
        ("print('[]')", {}),
        ("print('{')", {}),
        ("print('[' * 1000)", {}),
        ("", {}),
    ],
)
def test_a_file_that_breaks_the_decoder_gives_nothing(monkeypatch, program, limits):
    take_limits = "import json; from attachments.decoding.process import _limit; "
    start = f"import sys; sys.path[:] = sys.argv[2:]; {take_limits}_limit(json.loads(sys.argv[1])); {BEGIN}"

    assert run_program(monkeypatch, start + program, **limits) is None


def test_a_process_that_was_taken_over_is_not_believed(real_files, monkeypatch):
    answer = """print('{"width": 100000000, "height": 5, "duration_seconds": 1e999, "page_count": true}\\nMZ')"""
    monkeypatch.setattr(sandbox, "_START", BEGIN + answer)

    assert inspect(real_files["pillow.png"], "image/png") == Inspection()
    assert strip(real_files["pillow.png"], "image/png") is None


# What tells nothing of the file


@pytest.mark.parametrize(
    ("program", "limits"),
    [
        ("import sys; sys.exit(1)", {}),  # such as a library that is broken
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", {}),  # it had not begun
        ("import time; time.sleep(9)", {"wall_seconds": 0.01}),
        (BEGIN + "sys.stdin.close(); sys.exit(1)", {}),  # no room for the answer
        *((f"{BEGIN}os.kill(os.getpid(), signal.{name})", {}) for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGALRM")),
    ],
)  # fmt: skip
def test_a_process_that_was_stopped_tells_nothing(monkeypatch, program, limits):
    with pytest.raises(DecodingUnavailable):
        run_program(monkeypatch, program, **limits)


def test_a_process_that_cannot_load_its_decoder_tells_nothing(real_files):
    job = Job(action="inspect", content_type="image/png", max_output_bytes=2**20, memory_bytes=2**24)  # fmt: skip
    with tempfile.TemporaryFile() as file, pytest.raises(DecodingUnavailable):
        run_decoder(job, file)


def refuse(*args, **kwargs):
    raise BlockingIOError(errno.EAGAIN, "no more processes")


def refuse_thread(*args):
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    "break_host",
    [
        lambda patch: patch.setattr(sandbox.subprocess, "Popen", refuse),
        lambda patch: patch.setattr(sandbox.tempfile, "TemporaryFile", refuse),
        lambda patch: patch.setattr(sandbox.Timer, "start", refuse_thread),
        lambda patch: patch.setattr(sys, "executable", "/nowhere/python"),
    ],
)
def test_a_host_that_can_start_no_process_tells_nothing(monkeypatch, real_files, break_host):
    with tempfile.TemporaryFile() as file:
        file.write(real_files["pillow.png"])
        break_host(monkeypatch)
        with pytest.raises(DecodingUnavailable):
            strip_file(file, content_type="image/png")


@pytest.mark.parametrize(("name", "is_optional"), [("av", True), ("PIL", False)])
def test_what_the_host_did_not_install(monkeypatch, name, is_optional):
    """Sound, video and PDF are read by the extra `media`; without Pillow nothing works."""

    def fail(*args):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(decoding, "_load", fail)
    job = asdict(Job(action="inspect", content_type="video/mp4", max_output_bytes=1))

    with nullcontext() if is_optional else pytest.raises(ModuleNotFoundError):
        assert decoding.load_decoder(job)(io.BytesIO()) == ({}, b"")


def test_macos_takes_no_limit_on_addresses(monkeypatch):
    limits = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(resource, "setrlimit", lambda kind, _limits: limits.append(kind))
    monkeypatch.setattr(signal, "alarm", limits.append)
    monkeypatch.setattr(signal, "signal", lambda *args: None)

    decoding._limit(asdict(Job(action="inspect", content_type="image/png", max_output_bytes=1)))

    assert resource.RLIMIT_AS not in limits
    assert {resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, sandbox.WALL_SECONDS} <= set(limits)


def test_the_process_has_no_secrets(monkeypatch):
    monkeypatch.setenv("DJANGO_SECRET_KEY", "secret")
    tell = BEGIN + "import json; print(json.dumps(dict(os.environ)))"

    environment, _ = run_program(monkeypatch, tell)

    assert environment.keys() <= {"LC_CTYPE", *sandbox._KEPT_VARIABLES}


# Without metadata

NAMES = [
    "pillow.jpg", "progressive.jpg", "cmyk.jpg", "long-exif.jpg", "fill-bytes.jpg", "pillow.png", "palette.png",
    "moving.png", "pillow.gif", "ffmpeg.gif", "pillow.webp", "lossless.webp", "moving.webp",
]  # fmt: skip


def read_frames(content):
    image = Image.open(io.BytesIO(content))
    for number in itertools.count():
        try:
            image.seek(number)
        except EOFError:
            return
        yield image.convert("RGBA").tobytes(), image.info.get("duration")


def test_stripping_changes_no_pixel(real_files):
    for name in NAMES:
        content = real_files[name]
        stripped = strip_picture(io.BytesIO(content), TYPES_OF_FILES[name][0])
        assert list(read_frames(stripped)) == list(read_frames(content)), name
        assert strip_picture(io.BytesIO(stripped), TYPES_OF_FILES[name][0]) == stripped, name


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_stripping_leaves_the_turn_and_nothing_else(kind, orientation):
    profile = make_swapped_profile()
    content = save(make_half_red(), kind, exif=make_exif(orientation), icc_profile=profile)

    stripped = strip_picture(io.BytesIO(content), f"image/{kind.lower()}")

    assert b"A camera" not in stripped
    image = Image.open(io.BytesIO(stripped))
    image.load()
    assert dict(image.getexif()) == ({Base.Orientation: 6} if orientation == 6 else {})
    assert image.info["icc_profile"] == profile
    assert open_thumbnail(stripped, kind).size == open_thumbnail(content, kind).size


def test_stripping_drops_texts_and_what_lies_behind_the_picture():
    picture = make_half_red()
    jpeg = save(picture, "JPEG", comment=b"Here", xmp=b"Here") + b"Here: a film"
    webp = save(picture, "WEBP", xmp=b"Here") + b"Here"
    gif = save(picture, "GIF", comment=b"Here") + b"Here"
    xmp = b"!\xff\x0bXMP DataXMP\x04Here\0"
    texts = PngInfo()
    texts.add_text("Place", "Here")
    texts.add_itxt("Place", "Here")
    png = save(picture, "PNG", pnginfo=texts) + b"Here"

    for content, content_type in (
        (jpeg, "image/jpeg"),
        (webp, "image/webp"),
        (gif, "image/gif"),
        (gif.replace(b"Here;", b"Here;", 1)[:-5] + xmp + b";", "image/gif"),
        (png, "image/png"),
    ):
        assert b"Here" in content
        stripped = strip_picture(io.BytesIO(content), content_type)
        assert b"Here" not in stripped
        assert list(read_frames(stripped)) == list(read_frames(content))


def test_a_picture_of_two_is_one_when_stripped():
    """MPO, as some phones write portraits: each picture has its own EXIF."""
    frames = [make_half_red(), make_half_red()]
    content = save(frames[0], "MPO", save_all=True, append_images=frames[1:], exif=make_exif())
    assert content.count(b"\xff\xd8\xff") > 1

    stripped = strip_picture(io.BytesIO(content), "image/jpeg")

    assert stripped.count(b"\xff\xd8\xff") == 1
    assert b"A camera" not in stripped


def test_what_is_cut_short_is_not_stripped(real_files):
    for name in ("pillow.jpg", "pillow.png", "pillow.webp", "ffmpeg.gif", "moving.webp"):
        content = real_files[name]
        for tenth in range(10):
            with pytest.raises((OSError, SyntaxError, EOFError, ValueError)):
                strip_picture(
                    io.BytesIO(content[: len(content) * tenth // 10]), TYPES_OF_FILES[name][0]
                )
