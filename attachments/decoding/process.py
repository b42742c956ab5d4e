"""The process that decodes: takes its limits first, then the file on its standard input.

It says when it begins with the file, and its status says when that cannot be decoded. Whatever else
goes wrong tells nothing of the file.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from attachments.decoding.kinds import DOCUMENTS, PICTURES, RECORDINGS

BEGUN = b"begun\n"
"""What the answer begins with, once all is loaded and no byte of the file was read."""
BROKEN = 65
"""The status if the file cannot be decoded; as ``EX_DATAERR`` of sysexits.h."""
# Of the extra `media`, which a host need not install.
_OPTIONAL = ("av", "pypdf")
_SIGNALS = ("SIGALRM", "SIGXCPU", "SIGXFSZ")

Decoder = Callable[[IO[bytes]], tuple[dict[str, Any], bytes]]


def main() -> None:
    """Do the job that the first argument describes."""
    job = json.loads(sys.argv[1])
    _limit(job)
    decode = load_decoder(job)
    with os.fdopen(0, "rb") as file, os.fdopen(1, "wb") as output:
        output.write(BEGUN)
        output.flush()
        try:
            media, content = decode(file)
        except Exception:  # noqa: BLE001 (decoders raise anything)
            os._exit(BROKEN)  # at once, however little memory is left
        output.write(json.dumps(media).encode() + b"\n" + content)
        output.flush()
        os._exit(0)  # what is in memory need not be tidied up


def _limit(job: dict[str, Any]) -> None:
    """Nothing here may be raised again. Where the system has no such limits, time is one.

    macOS refuses any limit on addresses: what it maps into each process is larger already.
    """
    for name in _SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        import resource
    except ImportError:
        return
    signal.alarm(job["wall_seconds"])  # the worker may die, and stop no one
    # SIGXCPU tells what it was; a second later the kernel sends SIGKILL, as others may do too.
    for kind, limit, grace in (
        *([] if sys.platform == "darwin" else [(resource.RLIMIT_AS, job["memory_bytes"], 0)]),
        (resource.RLIMIT_CPU, job["cpu_seconds"], 1),
        (resource.RLIMIT_FSIZE, job["max_output_bytes"], 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(kind, (min(limit, most), min(limit + grace, most)))


def load_decoder(job: dict[str, Any]) -> Decoder:
    """What does the job, with all that it imports; it finds nothing if that is not installed."""
    try:
        return _load(job["action"], job["content_type"], job["thumbnail_px"])
    except ModuleNotFoundError as error:
        if error.name not in _OPTIONAL:
            raise
        return lambda file: ({}, b"")


def _load(action: str, content_type: str, thumbnail_px: int) -> Decoder:
    if action == "strip":
        from attachments.decoding.stripping import strip_picture

        return lambda file: ({}, strip_picture(file, content_type))
    if content_type in PICTURES:
        from attachments.decoding.pictures import inspect_picture

        format_name = PICTURES[content_type]
        return partial(inspect_picture, format_name=format_name, thumbnail_px=thumbnail_px)
    if content_type in RECORDINGS:
        from attachments.decoding.recordings import measure_recording

        return lambda file: (measure_recording(file, demuxer=RECORDINGS[content_type]), b"")
    if content_type in DOCUMENTS:
        from attachments.decoding.documents import count_pages

        return lambda file: ({"page_count": count_pages(file)}, b"")
    raise ValueError(content_type)
