"""`python -m tests.benchmarks.thumbnails`: what it costs to look into photos of 12 megapixels.

A worker does one after the other: fetch, decode in a process of its own, write, name on the row.
Beside it, in the same run, bare Pillow in this process makes thumbnails of the same photos.
"""

import io
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any

import requests
from PIL import Image

from tests.benchmarks.memory import measure_peak_mb
from tests.benchmarks.options import make_parser
from tests.benchmarks.server import open_services

LEAST_RATIO = 0.25
"""Of the worker to bare Pillow, 0.37 on a quiet machine: the rest is the process, the store and the
database."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    photos: int
    photo_bytes: int
    ready_ms: tuple[float, float]
    """p50 and p95 from the confirm until it is served."""
    shown_ms: tuple[float, float]
    """The same until its thumbnail is served, by a worker that waits for it."""
    thumbnails_per_second: float
    bare_per_second: float
    peak_mb: float

    @property
    def ratio(self) -> float:
        return self.thumbnails_per_second / self.bare_per_second


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--photos", type=int, default=40)
    options = parser.parse_args()
    size = (400, 300) if options.smoke else (4000, 3000)
    with open_services():
        figures = measure(make_photo(size), photos=3 if options.smoke else options.photos)
    if options.json:
        print(json.dumps({**asdict(figures), "ratio": figures.ratio}))
    else:
        for name, value in {**asdict(figures), "ratio": figures.ratio}.items():
            print(f"{name:24} {value}")
    return 0 if options.smoke else int(figures.ratio < LEAST_RATIO)


def make_photo(size: tuple[int, int]) -> bytes:
    """Smooth, with some noise, as photos are."""
    picture = Image.linear_gradient("L").resize(size)
    noise = Image.effect_noise(size, 20)
    file = io.BytesIO()
    Image.merge("RGB", (picture, noise, picture)).save(file, "JPEG", quality=85)
    return file.getvalue()


def measure(photo: bytes, *, photos: int) -> Figures:
    from django.contrib.auth import get_user_model

    from attachments import services

    user, _ = get_user_model().objects.get_or_create(username="photographer")
    ready, inspected = [], []
    for _number in range(photos):
        ticket = put(user, photo)

        def confirm(attachment_id: Any = ticket.attachment_id) -> None:
            services.confirm_upload(attachment_id=attachment_id, user=user)

        def inspect(attachment_id: Any = ticket.attachment_id) -> None:
            services.process_attachment(attachment_id=attachment_id)

        ready.append(take_ms(confirm))
        inspected.append(take_ms(inspect))
    services.remove_now()
    bare = [take_ms(lambda: make_bare_thumbnail(photo)) for _number in range(photos)]
    return Figures(
        photos=photos,
        photo_bytes=len(photo),
        ready_ms=summarize(ready),
        shown_ms=summarize([a + b for a, b in zip(ready, inspected, strict=True)]),
        thumbnails_per_second=round(1000 * photos / sum(inspected), 2),
        bare_per_second=round(1000 * photos / sum(bare), 2),
        peak_mb=measure_peak_mb(),
    )


def put(user: Any, photo: bytes) -> Any:
    from attachments import services

    ticket = services.presign_upload(user=user, filename="a.jpg", content_type="image/jpeg")
    files = {"file": ("a.jpg", photo)}
    requests.post(ticket.url, data=ticket.fields, files=files, timeout=60).raise_for_status()
    return ticket


def make_bare_thumbnail(photo: bytes) -> None:
    image = Image.open(io.BytesIO(photo))
    image.thumbnail((512, 512))
    image.save(io.BytesIO(), "WEBP", quality=80, method=4)


def take_ms(act: Callable[[], None]) -> float:
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1000


def summarize(times_ms: list[float]) -> tuple[float, float]:
    """p50 and p95."""
    steps = quantiles(times_ms, n=20)
    return round(steps[9], 1), round(steps[18], 1)


if __name__ == "__main__":
    sys.exit(main())
