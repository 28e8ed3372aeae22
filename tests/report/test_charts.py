import math
import re

import numpy as np
import pytest

from ctmasknet.report.charts import Axis, Panel, legend, log_steps, page, steps
from ctmasknet.report.score_maps import colour_table, score_map_picture


def panel(x=None, y=None):
    return Panel(x or Axis(0, 10, "x", (0, 5, 10)), y or Axis(0, 1, "y", (0, 1)), 100, 50)


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 1, True, [0, 1]),
        (0, 3, True, [0, 1, 2, 3]),
        (0, 167, True, [0, 50, 100, 150]),
        (0, 0, False, [0]),
        (0, 1234, False, [0, 500, 1000]),
    ],
)
def test_steps_are_round_and_few(low, high, whole, expected):
    assert steps(low, high, whole=whole) == pytest.approx(expected)


def test_logarithmic_steps():
    assert log_steps(4, 60) == pytest.approx([5, 10, 20, 50])
    assert log_steps(1, 20_000, most=5) == pytest.approx([1, 10, 100, 1000, 10_000])
    assert log_steps(3, 4) == []  # no round number between them


def test_places_on_axes():
    assert Axis(0, 10, "", ()).share(2.5) == 0.25
    assert Axis(1, 100, "", (), log=True).share(10) == pytest.approx(0.5)


def test_a_line_stops_where_a_value_is_missing():
    drawn = panel()
    drawn.line([0, 1, 2, 10], [0, 1, math.nan, 0.5], "#000000", 1)
    assert [re.search('points="(.*?)"', x)[1] for x in drawn.parts] == [
        "0.0,50.0 10.0,0.0",
        "100.0,25.0",
    ]


def test_bars_stand_on_the_axis_and_empty_ones_are_not_drawn():
    drawn = panel(Axis(0, 1, "", (0,)), Axis(0, 4, "", (0,)))
    drawn.bars([0, 0.5, 1], [2, 0], "#0000ff")
    (bar,) = drawn.parts
    assert 'x="0.0" y="25.0" width="50.0" height="25.0"' in bar


def test_names_are_escaped_and_break_the_legend_where_there_is_no_room():
    text, height = legend([("a<b", "#000000", ""), ("long " * 10, "#000000", "2 3")], 200)
    assert "a&lt;b" in text and height == 2 * legend([("a", "#000000", "")], 200)[1]
    assert page([text], 10, 20).startswith('<svg xmlns="http://www.w3.org/2000/svg" width="10"')


def test_colours_of_mask_logits():
    table = colour_table()
    assert table[0].tolist() == [5, 48, 97] and table[-1].tolist() == [103, 0, 31]
    assert (table[127] > 240).all()  # pale at the cut
    picture = score_map_picture(np.array([[-9, 0.5, 9, np.nan]], np.float32))
    assert picture[0].tolist() == [
        table[0].tolist(), table[128].tolist(), table[255].tolist(), [48, 48, 48]
    ]  # fmt: skip
