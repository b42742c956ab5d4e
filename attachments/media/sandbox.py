"""Runs the decoder in a process of its own, with limits, and believes little of what it says.

The process gets the file as its standard input and no environment, so that it has no secret. It
writes one line of JSON and then bytes, into a file whose size is limited as well.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from typing import IO, Any

MAX_FILE_BYTES = 256 * 2**20
"""Larger files are not looked into."""
WALL_SECONDS = 60
CPU_SECONDS = 30
MEMORY_BYTES = 2**30
# Without environment, hooks of site-packages, or bytecode: the limit on files would cut that short.
_START = (
    "import sys; sys.path[:] = sys.argv[2:]; from attachments.decoding.process import main; main()"
)
# Whoever stops a worker may send these to all its processes: systemd does, and so does Ctrl+C.
_STOPPED = (-signal.SIGTERM, -signal.SIGINT)
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the process is to do."""

    action: str
    """``inspect`` or ``strip``."""
    content_type: str
    max_output_bytes: int
    """Of its line of JSON and its bytes together."""
    thumbnail_px: int = 0
    wall_seconds: int = WALL_SECONDS
    cpu_seconds: int = CPU_SECONDS
    memory_bytes: int = MEMORY_BYTES


def run_decoder(job: Job, file: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Its JSON and its bytes; None if it failed, was killed, took too long or said nonsense.

    ``file`` is a file of the operating system, read from its start. A process that was stopped
    with its worker tells nothing of the file: while the worker finishes, it is started once more.
    """
    status, answer = _run(job, file)
    if status in _STOPPED:
        _status, answer = _run(job, file)
    return answer


def _run(job: Job, file: IO[bytes]) -> tuple[int | None, tuple[dict[str, Any], bytes] | None]:
    """Its status, and its answer if that is 0; the status is None if it took too long."""
    file.seek(0)
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(  # noqa: S603 (our own code, no shell)
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-B",
                    "-c",
                    _START,
                    json.dumps(asdict(job)),
                    *_get_path(),
                ],
                stdin=file.fileno(),
                stdout=output,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                timeout=job.wall_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, None
        answer = None if done.returncode else _read_answer(output, job.max_output_bytes)
        return done.returncode, answer


def _get_path() -> list[str]:
    """Where modules are found here, spelled so that it holds in any folder."""
    return [os.path.abspath(entry) for entry in sys.path]


def _read_answer(output: IO[bytes], max_bytes: int) -> tuple[dict[str, Any], bytes] | None:
    output.seek(0)
    answer = output.read(max_bytes + 1)
    if len(answer) > max_bytes:  # where the system has no limit on files
        return None
    line, _, content = answer.partition(b"\n")
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return (header, content) if isinstance(header, dict) else None
