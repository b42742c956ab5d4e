"""Tiny real files of every type that is allowed by default. ffmpeg makes them when needed."""

import subprocess
from pathlib import Path

import imageio_ffmpeg

_PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=160x120:duration=1:rate=5"]
_SOUND = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]

# Content type: the name of the file, and how ffmpeg makes it.
_RECIPES: dict[str, tuple[str, list[str]]] = {
    "image/jpeg": ("holiday.jpg", [*_PICTURE, "-frames:v", "1"]),
    "image/png": ("diagram.png", [*_PICTURE, "-frames:v", "1"]),
    "image/gif": ("reaction.gif", _PICTURE),
    "image/webp": ("sticker.webp", [*_PICTURE, "-frames:v", "1"]),
    "video/mp4": ("clip.mp4", [*_PICTURE, "-pix_fmt", "yuv420p"]),
    "video/webm": ("screen.webm", [*_PICTURE, "-c:v", "libvpx"]),
    "audio/mpeg": ("song.mp3", [*_SOUND, "-c:a", "libmp3lame"]),
    "audio/ogg": ("voice.ogg", [*_SOUND, "-c:a", "libvorbis"]),
    "audio/opus": ("note.opus", [*_SOUND, "-c:a", "libopus"]),
}


def make_samples(directory: Path) -> dict[str, Path]:
    """Make one file of each type in ``directory``; give their paths by content type."""
    paths = {"application/pdf": directory / "contract.pdf"}
    paths["application/pdf"].write_bytes(make_pdf("Nodus"))
    for content_type, (name, recipe) in _RECIPES.items():
        paths[content_type] = make_media(directory / name, *recipe)
    return paths


def make_film(path: Path) -> Path:
    """Make a second of noise as video/mp4: about 20 MB, enough to watch it being sent."""
    noise = "testsrc2=size=960x540:duration=1:rate=25,noise=alls=90:allf=t"
    quality = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-pix_fmt", "yuv420p"]
    return make_media(path, "-f", "lavfi", "-i", noise, *quality)


def make_media(path: Path, *recipe: str) -> Path:
    """Let ffmpeg write ``path``. Its ending names the container format."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([ffmpeg, "-v", "error", "-y", *recipe, str(path)], check=True)
    return path


def make_pdf(text: str) -> bytes:
    """A page with a line of text, as ISO 32000 says: objects, cross-reference table, trailer."""
    content = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    pdf = b"%PDF-1.7\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(pdf))
        pdf += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return pdf + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\n"
        b"startxref\n%d\n%%%%EOF\n" % (size, table, size, len(pdf))
    )
