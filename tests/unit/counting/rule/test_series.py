"""In, out, net and U-turns of a line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures.counting.paths import GATE, crossings, heights, norm, ramp, spec

from countline_counting.events import Direction
from countline_counting.geometry.polygons import inside
from countline_counting.rule.series import Series
from countline_counting.spec import Line
from countline_pipelines.offline.reports.summary import Summary

DOWN, UP = [*ramp(250, 450, 10), *[450.0] * 8], [*ramp(450, 250, 10), *[250.0] * 8]


def series_of(frames, line=GATE) -> Series:
    series = Series()
    for event in crossings(frames, spec(lines=[line])):
        series.add(event)
    return series


@pytest.mark.parametrize(
    ("ys", "counts", "net", "u_turns"),
    [
        (DOWN, (1, 0), 1, 0),
        ([*DOWN, *UP], (1, 1), 0, 1),
        ([*UP, *DOWN], (1, 1), 0, 1),
        ([*DOWN, *UP, *DOWN], (2, 1), 1, 1),
        ([*DOWN, *UP, *DOWN, *UP], (2, 2), 0, 2),
    ],
)
def test_a_u_turn_is_an_object_that_crosses_and_crosses_back(ys, counts, net, u_turns):
    series = series_of(heights(ys))
    assert (series.counts[Direction.IN], series.counts[Direction.OUT]) == counts
    assert (series.net, series.u_turns) == (net, u_turns)


def test_one_who_goes_in_and_another_who_goes_out_are_no_u_turn():
    there, back = heights(DOWN, x=400), heights(UP, x=800, track=2)
    series = series_of([(t, [*one, *two]) for (t, one), (_, two) in zip(there, back, strict=True)])
    assert (series.net, series.u_turns) == (0, 0)


def test_tracks_of_another_run_are_other_objects():
    """Track numbers begin at 1 again."""
    summary = Summary(spec())
    summary.end_run(crossings(heights(DOWN)), 2.0)
    summary.end_run(crossings(heights(UP)), 4.0)
    summary.end_run(crossings(heights([*DOWN, *UP])), 8.0)
    line = summary.as_dict(frames=0, duration_s=0)["lines"]["gate"]
    assert (line["in"], line["out"], line["net"], line["u_turns"]) == (2, 2, 0, 1)


CORNERS = ((400.0, 250.0), (900.0, 250.0), (900.0, 550.0), (400.0, 550.0))
PLACES = [(150.0, 200.0), (650.0, 400.0), (1100.0, 620.0)]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_net_of_a_closed_line_is_the_true_change_of_what_is_inside(seed):
    """A random walk that begins and ends clear of the line."""
    rng = np.random.default_rng(seed)
    start, end = (PLACES[rng.integers(len(PLACES))] for _ in range(2))
    middle = np.clip(np.cumsum(rng.normal(0, 25, (80, 2)), axis=0) + start, 100, (1180, 640))
    path = [*[start] * 8, *middle.tolist(), *[end] * 8]
    room = Line("room", norm(*CORNERS, CORNERS[0]))
    series = series_of([(i / 10, [(1, x, y)]) for i, (x, y) in enumerate(path)], room)
    assert series.net == inside(CORNERS, end) - inside(CORNERS, start)
    assert series.u_turns == min(series.counts.values())
