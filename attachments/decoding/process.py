"""The process that decodes: takes its limits first, then the file on its standard input.

Whatever goes wrong ends it with a status other than 0, and nothing was found.
"""

import json
import os
import signal
import sys
from typing import Any

from attachments.decoding.kinds import DOCUMENTS, PICTURES, RECORDINGS

_SIGNALS = ("SIGALRM", "SIGXCPU", "SIGXFSZ")


def main() -> None:
    """Do the job that the first argument describes."""
    job = json.loads(sys.argv[1])
    _limit(job)
    with os.fdopen(0, "rb") as file, os.fdopen(os.dup(1), "wb") as output:
        media, content = _do(job, file)
        output.write(json.dumps(media).encode() + b"\n" + content)


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
    for kind, limit in (
        *([] if sys.platform == "darwin" else [(resource.RLIMIT_AS, job["memory_bytes"])]),
        (resource.RLIMIT_CPU, job["cpu_seconds"]),
        (resource.RLIMIT_FSIZE, job["max_output_bytes"]),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _do(job: dict[str, Any], file: Any) -> tuple[dict[str, Any], bytes]:
    content_type = job["content_type"]
    if job["action"] == "strip":
        from attachments.decoding.stripping import strip_picture

        return {}, strip_picture(file, content_type)
    if content_type in PICTURES:
        from attachments.decoding.pictures import inspect_picture

        return inspect_picture(
            file, format_name=PICTURES[content_type], thumbnail_px=job["thumbnail_px"]
        )
    if content_type in RECORDINGS:
        from attachments.decoding.recordings import measure_recording

        return measure_recording(file, demuxer=RECORDINGS[content_type]), b""
    if content_type in DOCUMENTS:
        from attachments.decoding.documents import count_pages

        return {"page_count": count_pages(file)}, b""
    raise ValueError(content_type)
