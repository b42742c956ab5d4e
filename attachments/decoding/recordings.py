"""Sound and video, by FFmpeg: how long it lasts, and how large the picture is as shown.

Only what is in the file counts. A header may promise more, as when the end is missing.
"""

from fractions import Fraction
from typing import IO, Any

import av

# Their headers say how long the recording is. Those of others are guesses from the bit rate.
_DECLARING = ("mov", "matroska")
_TOLERANCE_SECONDS = 0.5
_TOLERANCE = 0.05


def measure_recording(file: IO[bytes], *, demuxer: str) -> dict[str, Any]:
    """Raises what FFmpeg does of what cannot be read, ``ValueError`` if the end is missing."""
    with av.open(file, mode="r", format=demuxer, metadata_errors="ignore") as container:
        video = next((s for s in container.streams.video if not _is_cover(s)), None)
        size = _measure_picture(container, video) if video else {}
        if video:
            container.seek(0)
        seconds = _measure_extent(container)
        declared = (container.duration or 0) / av.time_base
    if demuxer in _DECLARING and declared - seconds > max(
        _TOLERANCE_SECONDS, declared * _TOLERANCE
    ):
        raise ValueError("it ends too early")
    return {**size, "duration_seconds": round(seconds, 3)}


def _is_cover(stream: Any) -> bool:
    """Whether it is the picture of an album."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _measure_picture(container: Any, video: Any) -> dict[str, int]:
    """Of the first frame that can be decoded: it says how it is turned."""
    video.codec_context.thread_count = 1
    frame = next(container.decode(video))
    width, height = frame.width, frame.height
    return (
        {"width": height, "height": width}
        if frame.rotation % 180
        else {"width": width, "height": height}
    )


def _measure_extent(container: Any) -> float:
    """Seconds from the first packet to the end of the last, of all streams."""
    starts: list[Fraction] = []
    ends: list[Fraction] = []
    for packet in container.demux():
        if packet.pts is None or not packet.size or _is_cover(packet.stream):
            continue
        starts = [min([packet.pts * packet.time_base, *starts])]
        ends = [max([(packet.pts + (packet.duration or 0)) * packet.time_base, *ends])]
    return float(ends[0] - max(starts[0], Fraction(0)))
