"""What clients met, as a table for people."""

from rich.table import Table

from tests.load.tally import Tally


def make_table(tally: Tally, *, seconds: float, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    for column in ("done", "per s", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(column, justify="right")
    table.add_column("errors by code")
    for name, step in tally.describe(seconds).items():
        times = [f"{step[f'p{percent}_ms']:.1f}" for percent in (50, 95, 99)]
        errors = ", ".join(f"{code} {count}" for code, count in sorted(step["errors"].items()))
        table.add_row(name, f"{step['done']:,}", f"{step['per_second']:.1f}", *times, errors)
    return table
