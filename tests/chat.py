"""A conversation between two people, with every kind of file: what a picture of the page shows."""

import math
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from attachments import services
from attachments.models import Attachment
from nodus.dev.samples import make_media, make_pdf
from nodus.messaging.models import Conversation
from nodus.messaging.services import post_message, start_conversation

_SIZES = {
    "First evening.jpg": (1200, 800),
    "Morning above the lake.jpg": (1200, 800),
    "The last hut.jpg": (1000, 640),
    "Mist over the pass.mp4": (640, 360),
}
_SKIES = {
    "evening": ((58, 46, 92), (244, 162, 97), (38, 52, 66)),
    "morning": ((120, 176, 214), (252, 236, 214), (62, 104, 92)),
    "dusk": ((32, 60, 86), (214, 120, 120), (24, 34, 52)),
}


def draw_landscape(name: str, *, size: tuple[int, int] = (1200, 800)) -> bytes:
    """Hills under a sky, as JPEG."""
    top, bottom, hill = _SKIES[name]
    width, height = size
    picture = Image.linear_gradient("L").resize(size)
    sky = Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), picture)
    draw = ImageDraw.Draw(sky)
    radius, x, y = height // 9, int(width * 0.68), int(height * 0.46)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 238, 205))
    for layer in range(4):
        base, share = height * (0.58 + 0.11 * layer), (4 - layer) / 6
        color = tuple(int(h + (b - h) * share) for h, b in zip(hill, bottom, strict=True))
        points = [
            (place, base - math.sin(place / width * (5 + layer * 2) + layer * 1.7) * height * 0.06)
            for place in range(0, width + 1, 8)
        ]
        draw.polygon([(0, height), *points, (width, height)], fill=color)
    content = BytesIO()
    sky.filter(ImageFilter.GaussianBlur(1)).save(content, "JPEG", quality=88)
    return content.getvalue()


def make_files(directory: Path) -> dict[str, tuple[str, bytes]]:
    """Content type and bytes of files by their names."""
    film = directory / "Mist over the pass.mp4"
    still = directory / "mist.jpg"
    still.write_bytes(draw_landscape("dusk", size=_SIZES[film.name]))
    make_media(film, "-loop", "1", "-i", str(still), "-t", "4", "-r", "5", "-pix_fmt", "yuv420p")
    voice = make_media(
        directory / "voice.mp3", "-f", "lavfi", "-i", "sine=frequency=330:duration=12"
    )
    return {
        "First evening.jpg": ("image/jpeg", draw_landscape("evening")),
        "Morning above the lake.jpg": ("image/jpeg", draw_landscape("morning")),
        "The last hut.jpg": ("image/jpeg", draw_landscape("dusk", size=_SIZES["The last hut.jpg"])),
        "Mist over the pass.mp4": ("video/mp4", film.read_bytes()),
        "How the cuckoo sounded.mp3": ("audio/mpeg", voice.read_bytes()),
        "Route and huts.pdf": ("application/pdf", make_pdf("Route and huts")),
    }


def hold_chat(
    *, user: Any, friend: Any, files: dict[str, tuple[str, bytes]], upload: Callable[..., Any]
) -> Conversation:
    """Let the two talk about a walk. The sizes of pictures are known, as if a worker had looked."""
    chat = start_conversation(participant_ids={user.pk, friend.pk})
    for author, text, names in (
        (friend, "Back home! The pictures come in a minute.", []),
        (user, "Take your time. Here is the route for next year:", ["Route and huts.pdf"]),
        (friend, "The pass, an hour before the rain", ["Mist over the pass.mp4"]),
        (user, "And this one is for you ☀", ["The last hut.jpg"]),
        (friend, "Do you remember the bird?", ["How the cuckoo sounded.mp3"]),
        (friend, "", ["First evening.jpg", "Morning above the lake.jpg"]),
        (user, "How beautiful.", []),
    ):
        tickets = [
            upload(author, files[name][0], content=files[name][1], filename=name) for name in names
        ]
        for ticket in tickets:
            services.confirm_upload(attachment_id=ticket.attachment_id, user=author)
        ids = [ticket.attachment_id for ticket in tickets]
        post_message(conversation_id=chat.pk, author=author, text=text, attachment_ids=ids)
    services.remove_now()
    for name, (width, height) in _SIZES.items():
        media = {"width": width, "height": height}
        Attachment.objects.filter(filename=name).update(media=media, is_inspected=True)
    return chat


def find_facts(chat: Conversation) -> None:
    """Let a worker look into all files of the talk."""
    for attachment in Attachment.objects.filter(message__conversation=chat):
        attachment.change(where={}, is_inspected=False)
        services.process_attachment(attachment_id=attachment.pk)
