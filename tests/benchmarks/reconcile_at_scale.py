"""Reconcile against a bare listing of the bucket, and its memory; `make bench-large` runs it.

Both read the same objects, turn by turn in one process, so that they meet the same machine.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.benchmarks.memory import measure_peak_mb

LEAST_RATIO = 0.8
MOST_GROWTH_MB = 30
ROUNDS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="rows, and objects, to compare")
    parser.add_argument("--small", type=int, default=20_000, help="to compare memory with")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return run_worker(options.worker)

    from tests.benchmarks.server import open_services

    with open_services():
        from django.db import connection

        from tests.benchmarks.population import make_objects, make_rows

        results = []
        for count in (options.small, options.count):
            connection.cursor().execute("TRUNCATE attachments")
            make_rows(count)
            make_objects(count)
            command = [sys.executable, "-m", "tests.benchmarks.reconcile_at_scale"]
            worker = subprocess.run(
                [*command, f"--worker={count}"], check=True, stdout=subprocess.PIPE, text=True
            )
            results.append(json.loads(worker.stdout))
    return report(*results, as_json=options.json)


def run_worker(count: int) -> int:
    """List ``count`` objects, and reconcile them with as many rows, in turns."""
    import django

    django.setup()
    from attachments import services
    from attachments.storage.client import get_bucket, get_client

    def list_bare() -> None:
        pages = get_client().get_paginator("list_objects_v2").paginate(Bucket=get_bucket())
        assert sum(page["KeyCount"] for page in pages) == count

    def reconcile() -> None:
        report = services.reconcile_storage()
        assert report == services.ReconcileReport(rows=count, objects=count)

    listings, reconciles = [], []
    for _ in range(ROUNDS):
        listings.append(measure(list_bare))
        reconciles.append(measure(reconcile))
    peak = measure_peak_mb()
    ratio = median(bare / ours for bare, ours in zip(listings, reconciles, strict=True))
    result = {"count": count, "listings": listings, "reconciles": reconciles, "ratio": ratio}
    print(json.dumps({**result, "peak_mb": peak}))
    return 0


def measure(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def report(small: dict, large: dict, *, as_json: bool) -> int:
    ratio = large["ratio"]
    growth = large["peak_mb"] - small["peak_mb"]
    is_reached = ratio >= LEAST_RATIO and growth < MOST_GROWTH_MB
    if as_json:
        print(json.dumps({"ratio": ratio, "growth_mb": growth, "runs": [small, large]}))
        return not is_reached
    table = Table("Objects", "listing /s", "reconcile /s", "ratio", "peak MB")
    for run in (small, large):
        table.add_row(
            f"{run['count']:,}",
            f"{run['count'] / median(run['listings']):,.0f}",
            f"{run['count'] / median(run['reconciles']):,.0f}",
            f"{run['ratio']:.2f}",
            f"{run['peak_mb']:.0f}",
        )
    Console().print(table)
    print(f"Ratio {ratio:.2f} (at least {LEAST_RATIO}), ", end="")
    print(f"memory {growth:+.0f} MB (less than {MOST_GROWTH_MB}).")
    return not is_reached


if __name__ == "__main__":
    sys.exit(main())
