"""Purge against a bare DeleteObjects loop, and its memory; `make bench-large` runs it.

Both delete equally many objects, turn by turn in one process, so that they meet the same machine.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from tests.benchmarks.memory import measure_peak_mb

LEAST_RATIO = 0.8
MOST_GROWTH_MB = 30
ROUNDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="orphans to purge")
    parser.add_argument("--small", type=int, default=20_000, help="orphans to compare memory with")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return run_worker(options.worker)

    from tests.benchmarks.server import open_services

    with open_services():
        from tests.benchmarks.population import make_objects, make_rows

        results = []
        for count in (options.small, options.count):
            make_rows(count)
            make_objects(2 * count)
            command = [sys.executable, "-m", "tests.benchmarks.purge_at_scale"]
            worker = subprocess.run(
                [*command, f"--worker={count}"], check=True, stdout=subprocess.PIPE, text=True
            )
            results.append(json.loads(worker.stdout))
    return report(*results, as_json=options.json)


def run_worker(count: int) -> int:
    """Purge ``count`` rows, and delete as many objects that no row names, in turns."""
    import django

    django.setup()
    from attachments import services, storage
    from attachments.storage.client import get_bucket, get_client
    from tests.benchmarks.population import make_key

    numbers = iter(range(count, 2 * count))
    share = count // ROUNDS

    def delete_bare() -> None:
        for _ in range(0, share, storage.MAX_DELETE):
            batch = [{"Key": make_key(next(numbers))} for _ in range(storage.MAX_DELETE)]
            get_client().delete_objects(
                Bucket=get_bucket(), Delete={"Objects": batch, "Quiet": True}
            )

    def purge() -> None:
        assert services.purge_attachments(limit=share).orphans == share

    seconds = {"bare": 0.0, "purge": 0.0}
    for _ in range(ROUNDS):
        seconds["bare"] += measure(delete_bare)
        seconds["purge"] += measure(purge)
    # Not by a listing: the store would walk the folders that it has not yet tidied away.
    for number in range(0, 2 * count, count // 50):
        try:
            storage.inspect_object(make_key(number))
        except storage.ObjectNotFound:
            continue
        raise AssertionError(f"{make_key(number)} is left")
    print(json.dumps({"count": count, "peak_mb": measure_peak_mb(), **seconds}))
    return 0


def measure(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def report(small: dict, large: dict, *, as_json: bool) -> int:
    ratio = large["bare"] / large["purge"]
    growth = large["peak_mb"] - small["peak_mb"]
    is_reached = ratio >= LEAST_RATIO and growth < MOST_GROWTH_MB
    if as_json:
        print(json.dumps({"ratio": ratio, "growth_mb": growth, "runs": [small, large]}))
        return not is_reached
    table = Table("Objects", "DeleteObjects /s", "purge /s", "ratio", "peak MB")
    for run in (small, large):
        bare, purge = run["count"] / run["bare"], run["count"] / run["purge"]
        table.add_row(
            f"{run['count']:,}",
            f"{bare:,.0f}",
            f"{purge:,.0f}",
            f"{purge / bare:.2f}",
            f"{run['peak_mb']:.0f}",
        )
    Console().print(table)
    print(f"Ratio {ratio:.2f} (at least {LEAST_RATIO}), ", end="")
    print(f"memory {growth:+.0f} MB (less than {MOST_GROWTH_MB}).")
    return not is_reached


if __name__ == "__main__":
    sys.exit(main())
