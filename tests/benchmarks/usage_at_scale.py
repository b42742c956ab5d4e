"""The usage page on a million rows and on a thousand, and what keeping usage costs.

The page must open in time from kept figures. Both tables are in one database, each in its own
schema, and take turns. A refresh runs in a process of its own, which shows whether memory grows.
Writes are measured in pairs, with and without the triggers that count.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.memory import measure_peak_mb
from tests.benchmarks.options import make_parser
from tests.benchmarks.population import FILL_HOST, make_schema
from tests.benchmarks.server import open_services

SMALL, LARGE = 1_000, 1_000_000
MAX_PAGE_MS = 300
MAX_RATIO = 2.0  # of a page with kept figures on both tables
MAX_GROWTH_MB = 30
ROUNDS = 15
PAGE = "/admin/attachments/attachment/usage/"

# One user per hundred rows, but for a tenth of the rows, which one user has; half of the rows hang
# on nothing; one in 500 was rejected, one in 300 is pending.
FILL = (
    FILL_HOST
    + """
INSERT INTO attachments (id, user_id, message_id, filename, content_type, size_bytes,
    checksum_sha256, storage_key, metadata, status, created_at, confirmed_at, expires_at,
    is_inspected)
SELECT gen_random_uuid(), CASE WHEN n % 10 = 0 THEN 1 ELSE 1 + n % ({rows} / 100) END,
    CASE WHEN n % 2 = 0 THEN n / 2 END, 'IMG_' || n || '.jpg',
    CASE WHEN n % 10 < 9 THEN 'image/jpeg' ELSE 'application/pdf' END,
    1 + n::bigint * 7919 % 50000000, repeat('A', 43) || '=', 'attachments/' || n || '/file', '{{}}',
    CASE WHEN n % 500 = 1 THEN 'rejected' WHEN n % 300 = 1 THEN 'pending' ELSE 'ready' END,
    moment, moment, moment, true
FROM (
    SELECT n, now() - interval '1 year' * (n::float / {rows}) AS moment
    FROM generate_series(1, {rows}) AS n
) AS rows;
ANALYZE;
"""
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    rows: tuple[int, int]
    page_ms: tuple[float, float]
    """The page, medians, from kept figures on both tables."""
    first_page_ms: float
    """The page of the large table when nothing is kept yet, and a worker is asked."""
    refresh_seconds: tuple[float, float]
    refresh_peak_mb: tuple[float, float]
    write_us: dict[str, tuple[float, float]]
    """Microseconds of each write: without the triggers that count, and with them."""

    @property
    def ratio(self) -> float:
        return self.page_ms[1] / self.page_ms[0]

    @property
    def growth_mb(self) -> float:
        return self.refresh_peak_mb[1] - self.refresh_peak_mb[0]

    @property
    def is_met(self) -> bool:
        slowest = max(*self.page_ms, self.first_page_ms)
        is_quick = slowest <= MAX_PAGE_MS and self.ratio <= MAX_RATIO
        return is_quick and self.growth_mb <= MAX_GROWTH_MB


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--refresh", metavar="SCHEMA", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.refresh:
        return refresh(options.refresh)
    sizes = (100, 1_000) if options.smoke else (SMALL, LARGE)
    with open_services():
        figures = measure(sizes, rounds=2 if options.smoke else ROUNDS)
    if options.json:
        print(json.dumps({**asdict(figures), "ratio": figures.ratio, "is_met": figures.is_met}))
    else:
        print_table(figures)
    return 0 if options.smoke or figures.is_met else 1


def measure(sizes: tuple[int, int], *, rounds: int) -> Figures:
    from attachments.services import kept_usage

    kept_usage.MAX_COUNTED_AT_ONCE = 0  # both pages do the same
    open_small, open_large = (open_table(rows) for rows in sizes)
    open_small()  # warms up
    first_page = open_large()
    refreshes = [refresh_apart(rows) for rows in sizes]
    pages = [(open_small(), open_large()) for _ in range(rounds + 1)][1:]
    return Figures(
        rows=sizes,
        page_ms=(median(small for small, _ in pages), median(large for _, large in pages)),
        first_page_ms=first_page,
        refresh_seconds=(refreshes[0]["seconds"], refreshes[1]["seconds"]),
        refresh_peak_mb=(refreshes[0]["peak_mb"], refreshes[1]["peak_mb"]),
        write_us=measure_writes(count=20 * rounds),
    )


def open_table(rows: int) -> Callable[[], float]:
    """Make a schema with this many rows; give a function that opens its page: milliseconds."""
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client

    schema = f"usage_{rows}"
    client = Client(SERVER_NAME="localhost")
    make_schema(schema, FILL.format(rows=rows))
    client.force_login(get_user_model().objects.create_superuser("root", id=10_000_000))

    def open_page() -> float:
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {schema}")
        started_at = time.perf_counter()
        answer = client.get(PAGE)
        elapsed = time.perf_counter() - started_at
        assert answer.status_code == 200, answer.headers
        return elapsed * 1000

    return open_page


def refresh_apart(rows: int) -> dict[str, float]:
    """Refresh the figures of a table in a process of its own: seconds, and its peak of memory."""
    command = [sys.executable, "-m", "tests.benchmarks.usage_at_scale", f"--refresh=usage_{rows}"]
    environment = {**os.environ, "PGOPTIONS": f"-c search_path=usage_{rows}"}
    worker = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return dict(json.loads(worker.stdout))


def refresh(schema: str) -> int:
    import django

    django.setup()
    from attachments import services

    started_at = time.perf_counter()
    services.refresh_usage()
    seconds = time.perf_counter() - started_at
    print(json.dumps({"seconds": seconds, "peak_mb": measure_peak_mb()}))
    return 0


# What keeping usage costs


def measure_writes(*, count: int) -> dict[str, tuple[float, float]]:
    """Each write on the large table, in turns of 20: microseconds, medians.

    Commits do not wait for the disk, which would hide what they cost.
    """
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.utils import timezone

    from attachments.models import Attachment

    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    user = get_user_model().objects.get(username="user-2")
    now = timezone.now()
    waiting: list[Attachment] = []

    def make() -> Attachment:
        attachment = Attachment(
            user=user, filename="a", content_type="image/png", size_bytes=5, expires_at=now
        )
        attachment.storage_key = attachment.pending_key
        return attachment

    def presign() -> None:
        waiting.append(attachment := make())
        attachment.save(force_insert=True)

    def presign_batch() -> None:
        Attachment.objects.bulk_create([make() for _ in range(20)])

    def take() -> None:
        rows = Attachment.objects.filter(pk=waiting[-1].pk)
        rows.update(status="verifying", lease_expires_at=now)

    def renew() -> None:
        Attachment.objects.filter(pk=waiting[-1].pk).update(lease_expires_at=now)

    def publish() -> None:
        rows = Attachment.objects.filter(pk=waiting[-1].pk)
        rows.update(status="ready", size_bytes=7, lease_expires_at=None)

    def delete() -> None:
        Attachment.objects.filter(pk=waiting.pop().pk)._raw_delete("default")

    steps = (presign, take, renew, publish, delete, presign_batch)
    times: dict[str, tuple[list[float], list[float]]] = {step.__name__: ([], []) for step in steps}
    for turn in range(2 * count // 20):
        with counting(connection, is_on=turn % 2 == 1):
            for _ in range(20):
                for step in steps:
                    started_at = time.perf_counter()
                    step()
                    elapsed = time.perf_counter() - started_at
                    times[step.__name__][turn % 2].append(elapsed * 1_000_000)
    return {name: (median(off), median(on)) for name, (off, on) in times.items()}


@contextmanager
def counting(connection: Any, *, is_on: bool) -> Iterator[None]:
    """Turn the triggers that count off, or leave them on."""
    switch = "ENABLE" if is_on else "DISABLE"
    with connection.cursor() as cursor:
        for event in ("insert", "update", "delete"):
            cursor.execute(f"ALTER TABLE attachments {switch} TRIGGER attachments_count_{event}")
    yield


def print_table(figures: Figures) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    small, large = (f"{rows:,}" for rows in figures.rows)
    table = Table(title=f"Usage on {small} and {large} rows")
    for column in ("What", small, large, ""):
        table.add_column(column, justify="left" if column == "What" else "right")
    pages = [f"{ms:.1f} ms" for ms in figures.page_ms]
    seconds = [f"{seconds:.2f} s" for seconds in figures.refresh_seconds]
    peaks = [f"{peak:.0f} MB" for peak in figures.refresh_peak_mb]
    first_page = f"{figures.first_page_ms:.1f} ms"
    table.add_row("page", *pages, f"{figures.ratio:.2f} (at most {MAX_RATIO:g})")
    table.add_row("page, nothing kept", "", first_page, f"at most {MAX_PAGE_MS} ms")
    table.add_row("refresh", *seconds, "")
    table.add_row("its memory", *peaks, f"{figures.growth_mb:+.0f} MB (at most {MAX_GROWTH_MB})")
    console.print(table)
    writes = Table("Write", "bare", "counted", "", title="Microseconds of a write and its commit")
    for name, (bare, counted) in figures.write_us.items():
        writes.add_row(name, f"{bare:.0f}", f"{counted:.0f}", f"{counted - bare:+.0f}")
    console.print(writes)


if __name__ == "__main__":
    sys.exit(main())
