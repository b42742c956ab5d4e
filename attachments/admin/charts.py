"""Compute where the parts of a chart lie. Pure functions; templates draw the parts as SVG.

Horizontal lengths are shares of the width, so that a chart fits its page while its text keeps its
size. Vertical lengths are pixels. All lengths are text as SVG spells it: a template would localise
numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count

PLOT_HEIGHT = 160
ROW_HEIGHT = 44
MAX_STEPS = 5  # between the lines behind columns
MAX_LABELS = 5  # as many dates as a phone has room for
MAX_LABEL_LENGTH = 28
_THINNEST_BAR = 2  # pixels: the smallest value can still be seen


@dataclass(frozen=True, kw_only=True)
class Datum:
    """A value, and how to show it."""

    label: str
    value: int
    text: str
    query: str = ""
    """The query that lists what it counts, if a page does."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    text: str
    y: str


@dataclass(frozen=True, kw_only=True)
class Column:
    datum: Datum
    x: str
    y: str
    width: str
    height: str
    center: str
    room_x: str
    """Where the area begins that reacts to the mouse; it has the full height."""
    room_width: str
    has_label: bool
    """Whether the axis has room for its label."""


@dataclass(frozen=True, kw_only=True)
class ColumnChart:
    """Values side by side, such as days, over an axis with ticks."""

    columns: list[Column]
    ticks: list[Tick]
    largest: Datum
    height: str = str(PLOT_HEIGHT)


@dataclass(frozen=True, kw_only=True)
class Bar:
    datum: Datum
    label: str
    """Cut to fit."""
    text_y: str
    y: str
    width: str


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """Values one below the other, such as types, each with its name and its value in words."""

    bars: list[Bar]
    largest: Datum
    height: str


def draw_columns(
    data: Sequence[Datum], *, format_tick: Callable[[int], str], is_bytes: bool = False
) -> ColumnChart | None:
    """Lay out columns, or give None if all values are zero."""
    ticks = pick_ticks(max((datum.value for datum in data), default=0), is_bytes=is_bytes)
    if not ticks:
        return None
    top = ticks[-1]
    step = 100 / len(data)
    label_every = -(-len(data) // MAX_LABELS)
    columns = []
    for index, datum in enumerate(data):
        height = _scale(datum.value, top)
        columns.append(
            Column(
                datum=datum,
                x=_percent(step * (index + 0.1)),
                y=f"{PLOT_HEIGHT - height:.1f}",
                width=_percent(step * 0.8),
                height=f"{height:.1f}",
                center=_percent(step * (index + 0.5)),
                room_x=_percent(step * index),
                room_width=_percent(step),
                # Counted from the last, which is today.
                has_label=(len(data) - 1 - index) % label_every == 0,
            )
        )
    lines = [
        Tick(text=format_tick(tick), y=f"{PLOT_HEIGHT * (1 - tick / top):.1f}") for tick in ticks
    ]
    return ColumnChart(columns=columns, ticks=lines, largest=_find_largest(data))


def draw_bars(data: Sequence[Datum]) -> BarChart | None:
    """Lay out bars, the longest as wide as the chart, or give None if all values are zero."""
    longest = max((datum.value for datum in data), default=0)
    if longest == 0:
        return None
    bars = [
        Bar(
            datum=datum,
            label=_cut(datum.label),
            text_y=str(ROW_HEIGHT * index + 16),
            y=str(ROW_HEIGHT * index + 24),
            width=_percent(100 * datum.value / longest),
        )
        for index, datum in enumerate(data)
    ]
    return BarChart(bars=bars, largest=_find_largest(data), height=str(ROW_HEIGHT * len(data)))


def pick_ticks(maximum: int, *, is_bytes: bool = False) -> list[int]:
    """Round numbers from zero up to at least ``maximum``; an empty list if that is zero.

    The step is 1, 2 or 5 times a power of ten. For bytes it is counted in units of 1024: 512 KB,
    20 MB, 1 GB.
    """
    if maximum <= 0:
        return []
    unit = 1024 ** ((maximum.bit_length() - 1) // 10) if is_bytes else 1
    halves = [unit // 2] if unit > 1 else []
    steps = chain(halves, (unit * digit * 10**power for power in count() for digit in (1, 2, 5)))
    step = next(step for step in steps if step * MAX_STEPS >= maximum)
    return list(range(0, maximum + step, step))


def _scale(value: int, top: int) -> float:
    return max(PLOT_HEIGHT * value / top, _THINNEST_BAR) if value else 0


def _percent(share: float) -> str:
    return f"{share:.3f}%"


def _cut(label: str) -> str:
    return label if len(label) <= MAX_LABEL_LENGTH else f"{label[: MAX_LABEL_LENGTH - 1]}…"


def _find_largest(data: Sequence[Datum]) -> Datum:
    return max(data, key=lambda datum: datum.value)
