"""`python -m tests.benchmarks.scanning`: MB/s through clamd, and memory from 1 MB to 1 GB.

The same bytes go through the same clamd in turns: by a bare loop over files on the disk, by a bare
loop over the objects, and by the worker's own scan of these objects. Each size has a process of its
own, which shows whether memory grows. It needs Debian's clamd, and is judged by the best of each.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.memory import measure_peak_mb
from tests.benchmarks.scale import take_time
from tests.benchmarks.server import open_services
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 32, 1024], help="in MiB")
    parser.add_argument("--total", type=int, default=256, help="MiB of all files of one size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", help=argparse.SUPPRESS)  # of the process of one size
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
        finally:
            clamd.stop()
    growth = runs[-1].peak_mb - runs[0].peak_mb
    if options.json:
        print(json.dumps({"runs": [asdict(run) for run in runs], "growth_mb": growth}))
    else:
        print_table(runs)
        print(f"Memory {growth:+.0f} MB (less than {MOST_GROWTH_MB}).")
    return int(growth >= MOST_GROWTH_MB or min(run.ratio for run in runs) < LEAST_RATIO)


def run_size(size: int, url: str, options: argparse.Namespace) -> Figures:
    command = [sys.executable, "-m", "tests.benchmarks.scanning", "--sizes", str(size)]
    command += ["--total", str(options.total), "--rounds", str(options.rounds), "--url", url]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Figures(**json.loads(run.stdout.splitlines()[-1]))


def measure_size(size_mib: int, options: argparse.Namespace) -> Figures:
    import django

    os.environ["ATTACHMENTS_CLAMAV_URL"] = options.url
    django.setup()
    from attachments.models import Attachment
    from attachments.services.scanned import scan_object
    from attachments.storage import read_object

    count = max(options.total // size_mib, 1)
    keys = [f"quarantine/{size_mib}/{number}" for number in range(count)]
    rows = [Attachment(storage_key=key, size_bytes=size_mib * MIB) for key in keys]
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name, str(number)) for number in range(count)]
        for row, path in zip(rows, paths, strict=True):
            make_file(row.key, path, size_mib * MIB)
            row.checksum_sha256 = "known"  # most stores tell it

        def scan_bare(files: Iterable[Iterable[bytes]]) -> None:
            for chunks in files:
                assert scan(options.url, chunks) == b"stream: OK\0"

        def scan_by_service() -> None:
            for row in rows:
                assert scan_object(row).verdict.outcome == "clean"

        works: dict[str, Callable[[], None]] = {
            "disk": lambda: scan_bare(map(read_file, paths)),
            "bare": lambda: scan_bare(read_object(row.key) for row in rows),
            "service": scan_by_service,
        }
        seconds = {name: [] for name in works}
        for _ in range(options.rounds):
            for kind, work in works.items():
                seconds[kind].append(take_time(work))
    speeds = {name: count * size_mib / min(times) for name, times in seconds.items()}
    return Figures(
        size_mib=size_mib,
        files=count,
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
