"""Compare a service with the bare calls to the store that it needs: it must be as quick.

Both do the same work in one process, turn by turn, so that other work on the machine slows both.
Each of two sizes has a process of its own, which shows whether memory grows with the size.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from tests.benchmarks.memory import measure_peak_mb

LEAST_RATIO = 0.8
MOST_GROWTH_MB = 30


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Objects per second."""

    bare: float
    service: float
    ratio: float
    """Of the two, as the benchmark measured it: round by round, or in all."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    module: str
    """Its process runs ``python -m`` this."""
    description: str
    bare_name: str
    service_name: str
    prepare: Callable[[int], None]
    """Make the rows and the objects of one size."""
    measure: Callable[[int], Speed]
    """Do the work on them, in a process of its own."""


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What one process found."""

    count: int
    peak_mb: float
    speed: Speed


def run_at_scale(benchmark: Benchmark) -> int:
    """Measure both sizes. Give the exit status: 1 if the service is slow, or its memory grows."""
    parser = argparse.ArgumentParser(description=benchmark.description)
    parser.add_argument("--count", type=int, default=200_000, help="objects to work on")
    parser.add_argument("--small", type=int, default=20_000, help="objects to compare memory with")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return _work(benchmark, options.worker)

    from tests.benchmarks.server import open_services

    runs = []
    with open_services():
        for count in (options.small, options.count):
            benchmark.prepare(count)
            command = [sys.executable, "-m", benchmark.module, f"--worker={count}"]
            worker = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(worker.stdout)
            runs.append(_Run(**{**found, "speed": Speed(**found["speed"])}))
    return _report(benchmark, *runs, as_json=options.json)


def take_time(work: Callable[[], None]) -> float:
    """The seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _work(benchmark: Benchmark, count: int) -> int:
    import django

    django.setup()
    speed = benchmark.measure(count)
    print(json.dumps(asdict(_Run(count=count, peak_mb=measure_peak_mb(), speed=speed))))
    return 0


def _report(benchmark: Benchmark, small: _Run, large: _Run, *, as_json: bool) -> int:
    ratio = large.speed.ratio
    growth = large.peak_mb - small.peak_mb
    is_reached = ratio >= LEAST_RATIO and growth < MOST_GROWTH_MB
    if as_json:
        runs = [asdict(small), asdict(large)]
        print(json.dumps({"ratio": ratio, "growth_mb": growth, "runs": runs}))
        return not is_reached
    speeds = (f"{benchmark.bare_name} /s", f"{benchmark.service_name} /s")
    table = Table("Objects", *speeds, "ratio", "peak MB")
    for run in (small, large):
        speed = run.speed
        cells = [f"{speed.bare:,.0f}", f"{speed.service:,.0f}", f"{speed.ratio:.2f}"]
        table.add_row(f"{run.count:,}", *cells, f"{run.peak_mb:.0f}")
    Console().print(table)
    print(f"Ratio {ratio:.2f} (at least {LEAST_RATIO}), ", end="")
    print(f"memory {growth:+.0f} MB (less than {MOST_GROWTH_MB}).")
    return not is_reached
