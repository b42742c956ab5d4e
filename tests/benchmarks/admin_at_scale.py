"""The admin's list and search on a million rows, beside the same pages on a thousand.

Both tables are in one database, each in its own schema, and take turns in rounds. A page is judged
by the median of its times, and must ask as many queries on both.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.population import FILL_HOST, make_schema
from tests.benchmarks.server import open_services

SMALL, LARGE = 1_000, 1_000_000
MAX_RATIO = 2.0
ROUNDS = 15
LIST = "/admin/attachments/attachment/"
# Filters that no row passes. They read the whole table: this is reported, but not judged.
EMPTY = {"filter: no infected": "?status__exact=infected", "filter: no videos": "?kind=video"}

# One user per hundred rows; half of the rows are linked; one in 500 was rejected.
FILL = (
    FILL_HOST
    + """
INSERT INTO attachments (id, user_id, message_id, filename, content_type, size_bytes,
    checksum_sha256, storage_key, metadata, status, created_at, confirmed_at, expires_at)
SELECT id, 1 + n % ({rows} / 100), CASE WHEN n % 2 = 0 THEN n / 2 END,
    CASE WHEN n % 10 < 9 THEN 'IMG_' || n || '.jpg' ELSE 'Report ' || n || '.pdf' END,
    CASE WHEN n % 10 < 9 THEN 'image/jpeg' ELSE 'application/pdf' END,
    1 + n::bigint * 7919 % 50000000, '', 'attachments/' || id || '/file', '{{}}',
    CASE WHEN n % 500 = 1 THEN 'rejected' ELSE 'ready' END,
    moment, moment, moment
FROM (
    SELECT n, gen_random_uuid() AS id, now() - interval '2 years' * (n::float / {rows}) AS moment
    FROM generate_series(1, {rows}) AS n
) AS rows;
ANALYZE;
"""
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A page on both tables."""

    name: str
    queries: tuple[int, int]
    milliseconds: tuple[float, float]
    is_judged: bool = True

    @property
    def ratio(self) -> float:
        return self.milliseconds[1] / self.milliseconds[0]

    @property
    def is_met(self) -> bool:
        is_quick = self.ratio <= MAX_RATIO or not self.is_judged
        return is_quick and self.queries[0] == self.queries[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few rows, and no judgement")
    options = parser.parse_args()
    sizes = (100, 1000) if options.smoke else (SMALL, LARGE)
    with open_services():
        figures = measure(sizes, rounds=1 if options.smoke else ROUNDS)
    print_table(figures, sizes)
    return 0 if options.smoke or all(figure.is_met for figure in figures) else 1


def measure(sizes: tuple[int, int], *, rounds: int) -> list[Figure]:
    tables = [open_table(rows) for rows in sizes]
    names = list(tables[0])
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    for _ in range(rounds + 1):  # the first one warms up
        for name in names:
            for index, pages in enumerate(tables):
                times[name][index].append(pages[name]())
    return [
        Figure(
            name=name,
            queries=(count_queries(tables[0][name]), count_queries(tables[1][name])),
            milliseconds=(median(small[1:]) * 1000, median(large[1:]) * 1000),
            is_judged=name not in EMPTY,
        )
        for name, (small, large) in times.items()
    ]


def open_table(rows: int) -> dict[str, Callable[[], float]]:
    """Make a schema with this many rows; give functions that open its pages and time them."""
    from django.db import connection
    from django.test import Client

    schema = f"rows_{rows}"
    client = Client(SERVER_NAME="localhost")

    def choose_schema() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {schema}")

    started_at = time.perf_counter()
    make_schema(schema, FILL.format(rows=rows))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE attachments")
    print(f"{rows:,} rows made in {time.perf_counter() - started_at:.1f} s", flush=True)
    log_in(client)

    def open_page(query: str) -> float:
        choose_schema()
        started_at = time.perf_counter()
        answer = client.get(LIST + query)
        elapsed = time.perf_counter() - started_at
        assert answer.status_code == 200, (query, answer.headers)
        return elapsed

    return {name: (lambda q=query: open_page(q)) for name, query in make_queries(rows).items()}


def log_in(client: Any) -> None:
    from django.contrib.auth import get_user_model

    user_model = get_user_model()
    client.force_login(user_model.objects.create_superuser("root", id=10_000_000))


def make_queries(rows: int) -> dict[str, str]:
    """The pages that are measured, by name. A page shows the same number of rows on both tables."""
    from attachments.models import Attachment

    newest = Attachment.objects.order_by("-created_at")
    deep = newest[rows * 9 // 10 - 5]
    position = f"?p=older.{deep.created_at.isoformat().replace('+', '%2B')}~{deep.pk}"
    return EMPTY | {
        "list": "",
        "a page at nine tenths": position,
        "search: a filename": f"?q=report+{rows // 2 - 1}.",
        "search: a common beginning": "?q=img_",
        "search: no such thing": "?q=nothing",
        "search: an owner": "?q=user-7",
        "search: an id": f"?q={deep.pk.hex}",
        "search: a key": f"?q={deep.key}",
        "a year": f"?created_at__year={newest[5].created_at.year}",
        "filter: ready": "?status__exact=ready",
        "filter: orphans": "?linked=no",
        "filter: documents": "?kind=document",
    }


def count_queries(open_page: Callable[[], float]) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        open_page()
    return len(queries) - 1  # without the one that chooses the schema


def print_table(figures: list[Figure], sizes: tuple[int, int]) -> None:
    table = Table(title=f"The admin on {sizes[0]:,} and {sizes[1]:,} rows")
    for column in ("Page", "Queries", "Queries", "ms", "ms", "Ratio", ""):
        table.add_column(column, justify="left" if column == "Page" else "right")
    for figure in figures:
        small, large = figure.milliseconds
        verdict = "ok" if figure.is_judged else "reads the table"
        if not figure.is_met:
            verdict = f"must be {MAX_RATIO:g} at most, queries equal"
        cells = [*map(str, figure.queries), f"{small:.1f}", f"{large:.1f}", f"{figure.ratio:.2f}"]
        table.add_row(figure.name, *cells, verdict)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
