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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from threading import Timer
from typing import IO, Any

from attachments.decoding.process import BEGUN, BROKEN
from attachments.errors import DecodingUnavailable

MAX_FILE_BYTES = 256 * 2**20
"""Larger files are not looked into."""
WALL_SECONDS = 60
CPU_SECONDS = 30
MEMORY_BYTES = 2**30
# Without environment, hooks of site-packages, or bytecode: the limit on files would cut that short.
_START = (
    "import sys; sys.path[:] = sys.argv[2:]; from attachments.decoding.process import main; main()"
)
# The file is to blame for these: a crash, or a limit. Any other signal came from elsewhere.
_FAULTS = tuple(
    -getattr(signal, name)
    for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGXCPU", "SIGXFSZ")
    if hasattr(signal, name)
)
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
    """Its JSON and its bytes; None if the file is broken or hostile, or the answer is nonsense.

    ``file`` is a file of the operating system, read from its start. Raises ``DecodingUnavailable``
    if nothing can be told of the file: the process could not start, was stopped, had no room for
    its answer, or got too little of the processor in its time.
    """
    with translate_host_errors(), tempfile.TemporaryFile() as output:
        file.seek(0)
        status = _run(job, file, output)
        output.seek(0)
        answer = output.read(job.max_output_bytes + 1)
    if not answer.startswith(BEGUN):
        raise DecodingUnavailable(reason=f"the decoder did not start ({_spell(status)})")
    if status in (BROKEN, *_FAULTS):
        return None
    if status:
        raise DecodingUnavailable(reason=f"the decoder was stopped ({_spell(status)})")
    # A system without a limit on files lets it be longer.
    is_complete = len(answer) <= job.max_output_bytes
    return _read(answer.removeprefix(BEGUN)) if is_complete else None


@contextmanager
def translate_host_errors() -> Iterator[None]:
    """Raise ``DecodingUnavailable`` instead: no memory, no room, no thread, no interpreter."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        raise DecodingUnavailable(reason=str(error) or type(error).__name__) from error


def _run(job: Job, file: IO[bytes], output: IO[bytes]) -> int:
    """Its status; that of a signal is below 0."""
    arguments = ["-I", "-S", "-B", "-c", _START, json.dumps(asdict(job)), *_get_path()]
    process = subprocess.Popen(  # noqa: S603 (our own code, no shell)
        [sys.executable, *arguments],
        stdin=file.fileno(),
        stdout=output,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
    )
    # A wait with a timeout would look only each 50 ms whether it is over.
    deadline = Timer(job.wall_seconds, process.kill)
    try:
        deadline.start()
        return process.wait()
    finally:
        deadline.cancel()
        process.kill()  # if the wait was interrupted
        process.wait()


def _spell(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.strsignal(-status) or str(status)


def _get_path() -> list[str]:
    """Where modules are found here, spelled so that it holds in any folder."""
    return [os.path.abspath(entry) for entry in sys.path]


def _read(answer: bytes) -> tuple[dict[str, Any], bytes] | None:
    line, _, content = answer.partition(b"\n")
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return (header, content) if isinstance(header, dict) else None
