"""The benchmarks work. `make bench` itself judges what they measure."""

import json
import os
import re
import subprocess
import sys

from tests.benchmarks.charts import draw_all
from tests.documents import ROOT

FIGURES = ROOT / "docs/scaling/figures.json"
TEXT = (ROOT / "docs/scaling.md").read_text()


def test_the_admin_is_measured():
    command = [sys.executable, "-m", "tests.benchmarks.admin_at_scale", "--smoke"]

    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    assert "The admin on 100 and 1,000 rows" in run.stdout
    assert "search: an owner" in run.stdout


def test_usage_is_measured():
    command = [sys.executable, "-m", "tests.benchmarks.usage_at_scale", "--smoke", "--json"]

    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    assert figures["rows"] == [100, 1000]
    assert all(milliseconds > 0 for milliseconds in figures["page_ms"])
    assert all(seconds > 0 for seconds in figures["refresh_seconds"])
    assert figures["write_us"].keys() >= {"presign", "renew", "publish", "delete"}


def test_the_upload_flow_is_measured():
    command = [sys.executable, "-m", "tests.benchmarks.upload_flow", "--smoke", "--json"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PEERS_")}

    run = subprocess.run(
        command, env=alone, capture_output=True, text=True, timeout=120, check=False
    )

    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    assert [rate["name"] for rate in figures["rates"]] == [
        "floor",
        "presign",
        "detail",
        "confirm of 10 KB",
    ]
    assert all(rate["requests_per_second"] > 0 for rate in figures["rates"])
    assert figures["peers"] is None
    received = figures["large_upload"]["received_bytes"]
    assert received.keys() == {"clients", "the store", "PostgreSQL"}
    assert all(received.values())
    assert sum(received.values()) < 100_000 < figures["large_upload"]["size_bytes"]


def test_deletions_are_measured():
    command = [sys.executable, "-m", "tests.benchmarks.deletions_at_scale", "--smoke", "--json"]

    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    assert figures.keys() == {
        "delete_alone_ms",
        "delete_beside_due_ms",
        "delete_ratio",
        "find_among_few_ms",
        "find_among_many_ms",
    }
    assert all(figures.values())


def test_the_charts_show_the_figures(tmp_path):
    figures = json.loads(FIGURES.read_text())

    draw_all(figures, tmp_path)

    drawn = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert drawn == {file.name: file.read_text() for file in FIGURES.parent.glob("*.svg")}
    assert drawn.keys() == {f"{name}.svg" for name in re.findall(r"scaling/(\w+)\.svg", TEXT)}
