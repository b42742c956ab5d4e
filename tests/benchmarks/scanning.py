"""`python -m tests.benchmarks.scanning`: MB/s through clamd, memory from 1 MB to 1 GB, and waits.

The same bytes go through the same clamd in turns: by a bare loop over files on the disk, by a bare
loop over the objects, and by the worker's own scan of these objects. Each size has a process of its
own, which shows whether memory grows. It needs Debian's clamd, and is judged by the best of each.

Then it waits for small files, from the confirm until they are ready: without a scanner, with one and
a worker that is called at once, and with a real `db_worker`, which looks once a second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nodus.dev.samples import make_pdf
from tests.benchmarks.memory import measure_peak_mb
from tests.benchmarks.scale import take_time
from tests.benchmarks.server import open_services
from tests.benchmarks.uploads import SMALL_FILE_BYTES
from tests.clamd import RealClamd

MIB = 2**20
CHUNK_BYTES = 2**18
LEAST_RATIO = 0.9
MOST_GROWTH_MB = 30
CONFIG = "AlertExceedsMax yes\nStreamMaxLength 2000M\nMaxFileSize 2000M\nMaxScanSize 2000M"


@dataclass(frozen=True, kw_only=True)
class Figures:
    size_mib: int
    files: int
    disk_mb_per_second: float
    """A bare loop over files on the disk."""
    bare_mb_per_second: float
    """A bare loop over the objects."""
    service_mb_per_second: float
    ratio: float
    """Of the service to the bare loop over the objects."""
    peak_mb: float


@dataclass(frozen=True, kw_only=True)
class Wait:
    name: str
    p50_ms: float
    p95_ms: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 32, 1024], help="in MiB")
    parser.add_argument("--total", type=int, default=256, help="MiB of all files of one size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=40, help="small files to wait for")
    parser.add_argument("--url", help=argparse.SUPPRESS)  # in the process of one size
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)  # of its files
    options = parser.parse_args()
    if options.url:
        (size,) = options.sizes
        print(json.dumps(asdict(measure_size(size, options))))
        return 0
    with open_services() as directory:
        clamd = RealClamd(directory=directory, config=CONFIG)
        clamd.start()
        try:
            runs = [run_size(size, clamd.url, options) for size in options.sizes]
            waits = measure_waits(clamd.url, options.files)
        finally:
            clamd.stop()
    growth = runs[-1].peak_mb - runs[0].peak_mb
    if options.json:
        figures = {"runs": [asdict(run) for run in runs], "growth_mb": growth}
        print(json.dumps({**figures, "waits": [asdict(wait) for wait in waits]}))
    else:
        print_table(runs)
        print(f"Memory {growth:+.0f} MB (less than {MOST_GROWTH_MB}).")
        print_waits(waits)
    return int(growth >= MOST_GROWTH_MB or min(run.ratio for run in runs) < LEAST_RATIO)


def run_size(size: int, url: str, options: argparse.Namespace) -> Figures:
    command = [sys.executable, "-m", "tests.benchmarks.scanning", "--sizes", str(size)]
    command += ["--rounds", str(options.rounds), "--url", url]
    with tempfile.TemporaryDirectory() as name:
        for number in range(max(options.total // size, 1)):
            make_file(f"quarantine/{size}/{number}", Path(name, str(number)), size * MIB)
        command += ["--directory", name]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Figures(**json.loads(run.stdout.splitlines()[-1]))


def measure_size(size_mib: int, options: argparse.Namespace) -> Figures:
    import django

    os.environ["ATTACHMENTS_CLAMAV_URL"] = options.url
    django.setup()
    from attachments.models import Attachment
    from attachments.services.scanned import scan_object
    from attachments.storage import read_object

    paths = sorted(options.directory.iterdir())
    keys = [f"quarantine/{size_mib}/{path.name}" for path in paths]
    rows = [  # most stores tell the SHA-256
        Attachment(storage_key=key, size_bytes=size_mib * MIB, checksum_sha256="known")
        for key in keys
    ]

    def scan_bare(files: Iterable[Iterable[bytes]]) -> None:
        for chunks in files:
            assert scan(options.url, chunks) == b"stream: OK\0"

    def scan_by_service() -> None:
        for row in rows:
            assert scan_object(row).verdict.outcome == "clean"

    works: dict[str, Callable[[], None]] = {
        "disk": lambda: scan_bare(map(read_file, paths)),
        "bare": lambda: scan_bare(map(read_object, keys)),
        "service": scan_by_service,
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.rounds):
        for name, work in works.items():
            seconds[name].append(take_time(work))
    speeds = {name: len(rows) * size_mib / min(times) for name, times in seconds.items()}
    return Figures(
        size_mib=size_mib,
        files=len(rows),
        disk_mb_per_second=speeds["disk"],
        bare_mb_per_second=speeds["bare"],
        service_mb_per_second=speeds["service"],
        ratio=speeds["service"] / speeds["bare"],
        peak_mb=measure_peak_mb(),
    )


def make_file(key: str, path: Path, size_bytes: int) -> None:
    """Random bytes, in an object and on the disk: clamd unpacks and normalises nothing."""
    from attachments.storage.client import get_bucket, get_client

    with path.open("wb") as file:
        for _ in range(size_bytes // MIB):
            file.write(os.urandom(MIB))
    get_client().upload_file(str(path), get_bucket(), key)


def read_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def scan(url: str, chunks: Iterable[bytes]) -> bytes:
    """The least that the protocol takes."""
    with RealClamd(directory=Path(url.removeprefix("unix://")).parent).connect() as connection:
        connection.sendall(b"zINSTREAM\0")
        for chunk in chunks:
            connection.sendall(len(chunk).to_bytes(4, "big") + chunk)
        connection.sendall(bytes(4))
        return connection.recv(4096)


def measure_waits(url: str, files: int) -> list[Wait]:
    """Seconds from the confirm of 10 KB until it is ready."""
    from django.conf import settings

    def use(**keys: str) -> None:
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, **keys}

    waits = [measure_wait("no scanner", files, finish=lambda row: None)]
    use(CLAMAV_URL=url)
    waits.append(measure_wait("scanner, a worker at once", files, finish=process))
    environment = {**os.environ, "ATTACHMENTS_CLAMAV_URL": url}
    command = [sys.executable, "-m", "django", "db_worker", "--no-reload"]
    worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        waits.append(measure_wait("scanner, db_worker", files, finish=await_ready))
    finally:
        worker.terminate()
        worker.wait()
    return waits


def measure_wait(name: str, files: int, *, finish: Callable[[Any], None]) -> Wait:
    from django.contrib.auth import get_user_model

    from attachments import services
    from attachments.storage.client import get_bucket, get_client

    user, _ = get_user_model().objects.get_or_create(username="waiting")
    seconds = []
    for _ in range(files):
        ticket = services.presign_upload(
            user=user, filename="a.pdf", content_type="application/pdf"
        )
        body = make_pdf("Nodus").ljust(SMALL_FILE_BYTES, b"\n")
        key = f"pending/{ticket.attachment_id}"
        get_client().put_object(Bucket=get_bucket(), Key=key, Body=body)

        def bring_in(attachment_id: Any = ticket.attachment_id) -> None:
            row = services.confirm_upload(attachment_id=attachment_id, user=user)
            finish(row)
            row.refresh_from_db()
            assert row.is_ready

        seconds.append(take_time(bring_in))
    seconds.sort()
    return Wait(
        name=name,
        p50_ms=1000 * seconds[len(seconds) // 2],
        p95_ms=1000 * seconds[int(len(seconds) * 0.95)],
    )


def process(row: Any) -> None:
    from attachments import services

    services.process_attachment(attachment_id=row.pk)


def await_ready(row: Any) -> None:
    deadline = time.monotonic() + 60
    while not row.is_ready:
        assert time.monotonic() < deadline
        time.sleep(0.005)
        row.refresh_from_db()


def print_waits(waits: list[Wait]) -> None:
    table = Table("from confirm to ready", "p50 ms", "p95 ms")
    for wait in waits:
        table.add_row(wait.name, f"{wait.p50_ms:.0f}", f"{wait.p95_ms:.0f}")
    Console().print(table)


def print_table(runs: list[Figures]) -> None:
    table = Table("MiB", "files", "disk MB/s", "objects MB/s", "worker MB/s", "ratio", "peak MB")
    for run in runs:
        table.add_row(
            str(run.size_mib),
            str(run.files),
            f"{run.disk_mb_per_second:.0f}",
            f"{run.bare_mb_per_second:.0f}",
            f"{run.service_mb_per_second:.0f}",
            f"{run.ratio:.2f}",
            f"{run.peak_mb:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
