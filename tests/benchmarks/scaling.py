"""What each step costs, and how that grows with the rows: the figures of docs/scaling.md.

`--write` renews docs/scaling/figures.json and draws its charts.
"""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.growth import Growth, measure_growth
from tests.benchmarks.options import make_parser
from tests.benchmarks.server import open_services, serve

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SMOKE_SIZES = (1_000, 2_000)
MAX_RATIO = 1.2
JUDGED = ("presign", "detail", "list")
FIGURES = Path("docs/scaling/figures.json")


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--write", action="store_true", help=f"renew {FIGURES} and the charts")
    options = parser.parse_args()
    with open_services() as directory:
        figures = measure(directory, options)
    if options.write:
        from tests.benchmarks.charts import draw_all

        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
        draw_all(figures, FIGURES.parent)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        print_tables(figures)
    return 0 if options.smoke or figures["is_met"] else 1


def measure(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.step_costs import measure_costs
    from tests.benchmarks.upload_flow import make_token

    logging.disable(logging.WARNING)  # of this process, which asks itself
    with serve(directory) as server:
        steps = measure_costs(server, token=make_token(), count=2 if options.smoke else 200)
    sizes, turns = (SMOKE_SIZES, 2) if options.smoke else (SIZES, options.turns)
    growth, row_bytes = measure_growth(directory, sizes, turns=turns)
    return {
        "steps": [asdict(step) for step in steps],
        "growth": [{**asdict(item), "ratio": item.ratio} for item in growth],
        "row_bytes": row_bytes,
        "is_met": all(is_met(item) for item in growth),
    }


def is_met(item: Growth) -> bool:
    return item.name not in JUDGED or item.ratio <= MAX_RATIO


def print_tables(figures: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    parts = list(figures["steps"][0]["cpu_ms"])
    table = Table(title="What one request costs", title_justify="left")
    table.add_column("step")
    for column in (*(f"{part}, ms" for part in parts), "queries", "calls", "sent", "received"):
        table.add_column(column, justify="right")
    for step in figures["steps"]:
        cpu = [f"{step['cpu_ms'][part]:.2f}" for part in parts]
        counts = [step["queries"], len(step["store_calls"])]
        counts += [step["sent_bytes"], step["received_bytes"]]
        table.add_row(step["name"], *cpu, *map(str, counts))
    console.print(table)
    table = Table(title="p95 in ms, by rows", title_justify="left")
    table.add_column("step")
    for rows in figures["growth"][0]["rows"]:
        table.add_column(f"{rows:,}", justify="right")
    table.add_column("ratio", justify="right")
    for item in figures["growth"]:
        wanted = f" (at most {MAX_RATIO})" if item["name"] in JUDGED else ""
        times = [f"{ms:.1f}" for ms in item["p95_ms"]]
        table.add_row(item["name"], *times, f"{item['ratio']:.2f}{wanted}")
    console.print(table)
    console.print(f"A row takes {figures['row_bytes']:.0f} bytes, its indexes included.")


if __name__ == "__main__":
    sys.exit(main())
