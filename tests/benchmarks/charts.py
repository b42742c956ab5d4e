"""Draw the figures of `scaling` as SVG: one chart for each cost.

The colours follow the reader's theme, light or dark, also where a page shows the chart as a picture.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT, TOP = 720, 160, 96, 56
ROW, BAR, LINE_CHART_HEIGHT = 30, 18, 380
LABEL_HEIGHT = 16
# Told apart in both themes, and by those who do not tell red from green.
COLOURS = ("#2a78b8", "#d97a1d", "#5b9a4b", "#8a63b0", "#c0504d", "#3f9c9c", "#9a8229", "#c2608f")
STYLE = """
svg { font: 13px system-ui, sans-serif; }
text { fill: #24292f; } .quiet { fill: #57606a; } .title { font-size: 16px; font-weight: 600; }
.back { fill: #ffffff; } .grid { stroke: #d0d7de; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .quiet { fill: #9da7b3; } .back { fill: #0d1117; } .grid { stroke: #30363d; }
}
"""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Rows of bars, each of which may have parts."""

    title: str
    parts: Sequence[str]
    """Their names; empty if there is one only."""
    rows: Sequence[tuple[str, Sequence[float]]]
    spell: Callable[[float], str]


def draw_all(figures: dict[str, Any], directory: Path) -> None:
    """Write one file for each chart."""
    for name, bars in list_bars(figures["steps"]).items():
        (directory / f"{name}.svg").write_text(draw_bars(bars))
    (directory / "growth.svg").write_text(draw_growth(figures["growth"]))


def list_bars(steps: list[dict[str, Any]]) -> dict[str, Bars]:
    parts = list(steps[0]["cpu_ms"])
    return {
        "processor": Bars(
            title="Processor time of one request, ms",
            parts=parts,
            rows=[(step["name"], [step["cpu_ms"][part] for part in parts]) for step in steps],
            spell=lambda value: f"{value:.2f}",
        ),
        "queries": Bars(
            title="Statements of one request to the database",
            parts=(),
            rows=[(step["name"], [step["queries"]]) for step in steps],
            spell=str,
        ),
        "store": Bars(
            title="Calls of one request to the store, before its answer",
            parts=(),
            rows=[(step["name"], [len(step["store_calls"])]) for step in steps],
            spell=str,
        ),
        "bytes": Bars(
            title="Bytes of one request between client and Django",
            parts=("sent", "received"),
            rows=[(step["name"], [step["sent_bytes"], step["received_bytes"]]) for step in steps],
            spell=lambda value: f"{value:,.0f}",
        ),
    }


def draw_bars(bars: Bars) -> str:
    largest = max(sum(values) for _, values in bars.rows) or 1
    scale = (WIDTH - LEFT - RIGHT) / largest
    elements = [_draw_legend(bars.parts)]
    for index, (name, values) in enumerate(bars.rows):
        y = TOP + ROW * (index + bool(bars.parts))
        elements.append(_text(LEFT - 10, y + BAR - 4, name, anchor="end"))
        x = float(LEFT)
        for value, colour in zip(values, COLOURS, strict=False):
            elements.append(_draw_bar(x, y, value * scale, colour))
            x += value * scale
        elements.append(_text(x + 8, y + BAR - 4, bars.spell(sum(values)), kind="quiet"))
    height = TOP + ROW * (len(bars.rows) + bool(bars.parts)) + 8
    return _wrap(bars.title, height, elements)


def draw_growth(growth: list[dict[str, Any]]) -> str:
    """Lines over the number of rows, both axes by powers of ten."""
    rows = growth[0]["rows"]
    times = [ms for item in growth for ms in item["p95_ms"]]
    low, high = floor(log10(min(times))), ceil(log10(max(times)))
    left, right, bottom = 84, WIDTH - 190, LINE_CHART_HEIGHT - 40

    def place_x(count: float) -> float:
        share = (log10(count) - log10(rows[0])) / (log10(rows[-1]) - log10(rows[0]))
        return left + share * (right - left)

    def place_y(ms: float) -> float:
        return bottom - (log10(ms) - low) / (high - low) * (bottom - TOP)

    elements = [
        _draw_grid_line(place_y(10**power), left, right, f"{10**power:,} ms")
        for power in range(low, high + 1)
    ]
    elements += [
        _text(place_x(count), bottom + 24, f"{count:,} rows", kind="quiet", anchor="middle")
        for count in rows
    ]
    ends = _spread([place_y(item["p95_ms"][-1]) for item in growth])
    for index, item in enumerate(growth):
        colour = COLOURS[index % len(COLOURS)]
        points = [
            (place_x(count), place_y(ms)) for count, ms in zip(rows, item["p95_ms"], strict=True)
        ]
        elements += _draw_line(points, colour, is_dashed=index >= len(COLOURS))
        label = f"{item['name']}  {item['p95_ms'][-1]:.0f} ms"
        elements.append(_text(right + 14, ends[index] + 4, label, colour=colour))
    return _wrap("95 of 100 requests take at most so long", LINE_CHART_HEIGHT, elements)


def _spread(heights: list[float]) -> list[float]:
    """The same places, moved apart so far that labels there do not cover each other."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = dict(zip(order, sorted(heights), strict=True))
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + LABEL_HEIGHT)
    overflow = max(placed[order[-1]] - (LINE_CHART_HEIGHT - 44), 0)
    for below, above in pairwise(reversed(order)):
        placed[below] -= overflow if below == order[-1] else 0
        placed[above] = min(placed[above], placed[below] - LABEL_HEIGHT)
    return [placed[index] for index in range(len(heights))]


def _draw_legend(parts: Sequence[str]) -> str:
    places = [LEFT + 130 * index for index in range(len(parts))]
    return "".join(
        f'<rect x="{x}" y="{TOP}" width="12" height="12" fill="{colour}"/>'
        + _text(x + 18, TOP + 11, part, kind="quiet")
        for x, part, colour in zip(places, parts, COLOURS, strict=False)
    )


def _draw_bar(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'


def _draw_grid_line(y: float, left: float, right: float, label: str) -> str:
    line = f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(left - 8, y + 4, label, kind="quiet", anchor="end")


def _draw_line(points: list[tuple[float, float]], colour: str, *, is_dashed: bool) -> Iterator[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="6 4"' if is_dashed else ""
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _text(
    x: float, y: float, text: str, *, kind: str = "", anchor: str = "start", colour: str = ""
) -> str:
    style = f' style="fill: {colour}"' if colour else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}{style}>{escape(text)}</text>'


def _wrap(title: str, height: float, elements: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(title)}">'
    )
    back = f'<rect class="back" width="{WIDTH}" height="{height}"/>'
    lines = [head, f"<style>{STYLE}</style>", back, _text(16, 28, title, kind="title"), *elements]
    return "\n".join([*filter(None, lines), "</svg>\n"])
