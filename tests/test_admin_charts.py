import pytest

from attachments.admin.charts import Datum, draw_bars, draw_columns, pick_ticks

MB = 1024**2


def make_data(*values):
    return [Datum(label=f"day {value}", value=value, text=f"{value} files") for value in values]


@pytest.mark.parametrize(
    ("maximum", "ticks"),
    [
        (0, []),
        (1, [0, 1]),
        (5, [0, 1, 2, 3, 4, 5]),
        (7, [0, 2, 4, 6, 8]),
        (11, [0, 5, 10, 15]),
        (45, [0, 10, 20, 30, 40, 50]),
        (1_000_000, [0, 200_000, 400_000, 600_000, 800_000, 1_000_000]),
    ],
)
def test_ticks_of_counts_are_round_and_reach_the_largest(maximum, ticks):
    assert pick_ticks(maximum) == ticks


@pytest.mark.parametrize(
    ("maximum", "ticks"),
    [
        (700, [0, 200, 400, 600, 800]),
        (1024, [0, 512, 1024]),
        (90 * MB, [0, 20 * MB, 40 * MB, 60 * MB, 80 * MB, 100 * MB]),
        (1025 * MB, [0, 512 * MB, 1024 * MB, 1536 * MB]),
        (4 * 1024 * MB, [0, 1024 * MB, 2048 * MB, 3072 * MB, 4096 * MB]),
    ],
)
def test_ticks_of_bytes_are_round_in_binary_units(maximum, ticks):
    assert pick_ticks(maximum, is_bytes=True) == ticks


def test_columns_stand_on_the_axis_each_in_its_share_of_the_width():
    chart = draw_columns(make_data(0, 4, 2, 1), format_tick=str)

    assert [(column.x, column.y, column.width, column.height) for column in chart.columns] == [
        ("2.500%", "160.0", "20.000%", "0.0"),
        ("27.500%", "0.0", "20.000%", "160.0"),
        ("52.500%", "80.0", "20.000%", "80.0"),
        ("77.500%", "120.0", "20.000%", "40.0"),
    ]
    assert [column.center for column in chart.columns] == [
        "12.500%",
        "37.500%",
        "62.500%",
        "87.500%",
    ]
    assert [(tick.text, tick.y) for tick in chart.ticks] == [
        ("0", "160.0"),
        ("1", "120.0"),
        ("2", "80.0"),
        ("3", "40.0"),
        ("4", "0.0"),
    ]
    assert chart.largest.label == "day 4"


def test_the_least_value_is_still_seen():
    chart = draw_columns(make_data(1, 1_000_000), format_tick=str)

    assert chart.columns[0].height == "2.0"


@pytest.mark.parametrize("days", [7, 30, 90])
def test_few_columns_are_named_the_last_among_them(days):
    chart = draw_columns(make_data(*range(days)), format_tick=str)

    named = [column.datum.value for column in chart.columns if column.has_label]
    assert len(named) in (4, 5)
    assert named[-1] == days - 1


def test_bars_are_shares_of_the_longest():
    chart = draw_bars(make_data(8, 2))

    assert [(bar.label, bar.text_y, bar.y, bar.width) for bar in chart.bars] == [
        ("day 8", "16", "24", "100.000%"),
        ("day 2", "60", "68", "25.000%"),
    ]
    assert chart.height == "88"


def test_a_long_name_is_cut_but_kept_whole_for_who_points_at_it():
    (bar,) = draw_bars([Datum(label="a" * 150, value=1, text="1 file")]).bars

    assert bar.label == "a" * 27 + "…"
    assert bar.datum.label == "a" * 150


@pytest.mark.parametrize("data", [[], make_data(0, 0)])
def test_nothing_is_no_chart(data):
    assert draw_columns(data, format_tick=str) is None
    assert draw_bars(data) is None
