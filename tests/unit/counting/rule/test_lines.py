"""What counts as a crossing, and what does not. `countline_counting` states the rule."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import (
    GATE,
    IDENTITY,
    SIZE,
    crossed,
    crossings,
    heights,
    norm,
    ramp,
    spec,
    totals,
    tracked,
)
from tests.fixtures.examples import examples

from countline_counting.counter import CameraCounter
from countline_counting.geometry.polygons import inside
from countline_counting.spec import Line

STILL_ABOVE = [330.0] * 10


@pytest.mark.parametrize(
    ("ys", "counted"),
    [
        pytest.param(ramp(200, 520, 31), (1, 0), id="clean pass"),
        pytest.param(ramp(520, 200, 31), (0, 1), id="clean pass back"),
        pytest.param([310, 410], (1, 0), id="two observations of a fast object"),
        pytest.param([*STILL_ABOVE, 400, *STILL_ABOVE], (0, 0), id="one bad box far beyond the line"),
        pytest.param([*STILL_ABOVE, 400, 400, 400, *STILL_ABOVE], (0, 0), id="over and back within 0.4 s"),
        pytest.param([*STILL_ABOVE, *[400] * 8, *STILL_ABOVE], (1, 1), id="over and back after 0.8 s"),
        pytest.param(
            [*ramp(200, 374, 20), *[374] * 30, *ramp(374, 200, 20)], (0, 0), id="a foot over the line and back"
        ),
        pytest.param([*ramp(200, 355, 20), *([356, 366] * 30), *ramp(370, 520, 20)], (1, 0), id="waits on the line"),
        pytest.param(ramp(340, 400, 600), (1, 0), id="takes a minute for its own height"),
        pytest.param([*ramp(200, 360, 17), *ramp(360, 200, 17)], (0, 0), id="touches the line and goes back"),
        pytest.param([358, 362, 357, 364, *ramp(370, 520, 16)], (0, 0), id="appears on the line: came from nowhere"),
        pytest.param([*[350] * 8, *ramp(352, 500, 15)], (1, 0), id="stood near the line for a while before"),
        pytest.param([*ramp(200, 366, 20)], (0, 0), id="vanishes on the line"),
    ],
)
def test_one_object_at_a_line(ys, counted):
    assert totals(heights(ys)) == counted


@pytest.mark.parametrize("fps", [2, 3, 5, 7, 10, 12.5, 15, 25, 30, 60])
def test_the_count_does_not_depend_on_the_frame_rate(fps):
    """In, a stay of two seconds, out again, and in."""

    def y(t):
        return 360 + 100 * np.interp(t, [0, 2, 4, 5, 7, 8, 10], [-1.5, -1, 1, 1, -1, -1, 1.5])

    times = np.arange(0, 10.01, 1 / fps)
    assert totals([(t, [(1, 600, y(t))]) for t in times]) == (2, 1)


def test_a_line_drawn_the_other_way_swaps_in_and_out():
    reverse = spec(lines=[Line("gate", GATE.points[::-1])])
    assert totals(heights(ramp(200, 520, 31)), reverse) == (0, 1)


def test_walking_round_the_end_is_no_crossing_but_coming_back_through_is():
    through = [(600, y) for y in ramp(250, 470, 20)]
    around = [(x, 470) for x in ramp(600, 1050, 20)] + [(1050, y) for y in ramp(470, 250, 20)]
    path = [*through, *around, *[(x, 250) for x in ramp(1050, 600, 20)], *through]
    assert totals([(i / 10, [(1, x, y)]) for i, (x, y) in enumerate(path)]) == (2, 0)


def test_a_crossing_says_when_and_where_it_happened_and_when_it_was_decided():
    (event,) = crossings(heights(ramp(200, 520, 31)))
    assert event.t == pytest.approx(1.5)
    assert event.frame == 15
    assert event.t + 0.5 <= event.decided_at + 1e-6 <= event.t + 0.61


def test_a_pass_whose_object_vanished_is_decided_within_three_seconds():
    frames = [*heights([310, 410]), *[(0.2 + i / 10, []) for i in range(60)]]
    (event,) = crossings(frames)
    assert event.decided_at - event.t <= 3


def test_a_flicker_after_which_the_object_is_hidden_for_a_second_counts_nothing():
    frames = [*heights([*STILL_ABOVE, 400]), *[(1.1 + i / 10, []) for i in range(10)]]
    frames += [(2.1 + i / 10, [(1, 600.0, 330.0)]) for i in range(10)]
    assert totals(frames) == (0, 0)


def test_an_object_hidden_while_it_crosses_is_counted_once():
    frames = [(i / 10, [(1, 600.0, y)] if abs(y - 360) > 60 else []) for i, y in enumerate(ramp(200, 520, 31))]
    assert totals(frames) == (1, 0)


def test_an_id_unseen_for_more_than_three_seconds_is_a_new_object():
    before, after = [(1, 600.0, 300.0)], [(1, 600.0, 420.0)]
    silence = [(0.5 + i / 10, []) for i in range(40)]
    frames = [*((i / 10, before) for i in range(5)), *silence, *((4.5 + i / 10, after) for i in range(10))]
    assert totals(frames) == (0, 0)


def test_a_stall_of_the_stream_ends_nothing():
    """The same as above, but without frames meanwhile."""
    before, after = [(1, 600.0, 300.0)], [(1, 600.0, 420.0)]
    frames = [*((i / 10, before) for i in range(5)), *((20 + i / 10, after) for i in range(10))]
    assert totals(frames) == (1, 0)


def test_frames_that_come_late_or_twice_change_nothing():
    frames = heights(ramp(200, 520, 31))
    shuffled = [frames[0]]
    for before, frame in pairwise(frames):
        shuffled += [frame, before, frame]
    calm, disturbed = crossings(frames), crossings(shuffled)
    assert [(event.id, event.t, event.direction) for event in disturbed] == [
        (event.id, event.t, event.direction) for event in calm
    ]


def test_a_clock_that_is_set_back_begins_anew_and_loses_no_pass():
    first = heights(ramp(200, 520, 31))
    again = [(t - 3600, [(2, x, y) for _, x, y in spots]) for t, spots in first]
    assert totals([*first, *again]) == (2, 0)


def test_a_poly_line_counts_once_at_its_corner():
    bent = Line("gate", norm((300, 300), (600, 360), (900, 300)))
    assert totals(heights(ramp(200, 520, 31)), spec(lines=[bent])) == (1, 0)


@given(st.integers(0, 2**32 - 1))
@examples(20)
def test_in_less_out_of_a_closed_line_is_the_true_change(seed):
    """Random walks that begin and end clear of the line: crossings that are left out in between go in pairs."""
    rng = np.random.default_rng(seed)
    corners = ((400.0, 250.0), (900.0, 250.0), (900.0, 550.0), (400.0, 550.0))
    room = Line("room", norm(*corners, corners[0]))
    places = [(150.0, 150.0), (650.0, 400.0)]
    start, end = places[rng.integers(2)], places[rng.integers(2)]
    middle = np.clip(np.cumsum(rng.normal(0, 25, (80, 2)), axis=0) + start, 60, (1200, 640))
    path = np.vstack([np.tile(start, (8, 1)), middle, np.tile(end, (8, 1))])
    counted = totals([(i / 10, [(1, x, y)]) for i, (x, y) in enumerate(path.tolist())], spec(lines=[room]))
    # The walk may pass a closed line in one step through two sides; only its ends matter.
    assert counted[0] - counted[1] == inside(corners, end) - inside(corners, start)


@given(st.integers(0, 2**32 - 1))
@examples(12)
def test_scale_mirror_and_clock_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    ys = 360 + np.cumsum(rng.normal(0, 30, 60))
    plain = totals(heights(ys.tolist()))
    later = totals([(t + 1.7e9, spots) for t, spots in heights(ys.tolist())])
    mirrored = totals(heights((720 - ys).tolist()))
    assert later == plain
    assert mirrored == plain[::-1]


def test_classes_of_a_line_are_those_of_the_whole_track():
    """A person is detected as a vehicle in every fourth frame: one person, one crossing, and no vehicle."""
    only_people = spec(
        lines=[Line("gate", GATE.points, classes=frozenset({"0"})), Line("cars", GATE.points, classes=frozenset({"1"}))]
    )
    counter = CameraCounter(IDENTITY, only_people, tracked=True)
    events = []
    for i, (t, spots) in enumerate(heights(ramp(200, 520, 31))):
        events += counter.update_tracked(tracked(i, t, spots, class_id=int(i % 4 == 1))).events
    events += counter.flush()
    assert [event.line_id for event in crossed(events)] == ["gate"]


def test_an_edited_line_starts_a_version_and_leaves_others_alone():
    counter = CameraCounter(IDENTITY, spec(lines=[GATE, Line("far", norm((300, 450), (900, 450)))]), tracked=True)
    events = []
    for i, (t, spots) in enumerate(heights(ramp(200, 520, 31))):
        if i == 10:
            edited = Line("far", norm((300, 440), (900, 440)), version=2)
            counter.reconfigure(spec(lines=[GATE, edited]))
        events += counter.update_tracked(tracked(i, t, spots)).events
    events += counter.flush()
    assert [(event.line_id, event.line_version) for event in crossed(events)] == [("gate", 1), ("far", 2)]


def test_a_pass_held_back_by_a_line_that_is_removed_is_still_emitted():
    counter = CameraCounter(IDENTITY, spec(), tracked=True)
    frames = heights(ramp(200, 520, 31))
    events = []
    for i, (t, spots) in enumerate(frames):
        if i == 18:
            counter.reconfigure(spec(lines=[]))
        events += counter.update_tracked(tracked(i, t, spots)).events
    assert [event.line_id for event in crossed(events)] == ["gate"]


def test_somebody_who_walks_in_over_the_lower_border_comes_from_below():
    """Feet are hidden below the picture, so the box ends at its border, a few pixels from the line."""
    line = Line("door", norm((300, 705), (900, 705)))
    frames = []
    for i, feet in enumerate(ramp(790, 560, 24)):
        top, bottom = feet - 160, min(feet, SIZE[1])
        frames.append((i / 10, (580.0, top, 620.0, bottom)))
    counter = CameraCounter(IDENTITY, spec(lines=[line]), tracked=True)
    events = []
    for i, (t, box) in enumerate(frames):
        frame = tracked(i, t, [(1, 600.0, 400.0)])
        frame.xyxy_px[0] = box
        events += counter.update_tracked(frame).events
    events += counter.flush()
    assert [event.direction.value for event in crossed(events)] == ["out"]


def test_somebody_who_walks_out_over_the_lower_border_has_passed_a_line_near_it():
    line = Line("door", norm((300, 705), (900, 705)))
    counter = CameraCounter(IDENTITY, spec(lines=[line]), tracked=True)
    events = []
    for i, feet in enumerate(ramp(560, 820, 26)):
        frame = tracked(i, i / 10, [(1, 600.0, 400.0)])
        frame.xyxy_px[0] = (580.0, feet - 160, 620.0, min(feet, SIZE[1]))
        events += counter.update_tracked(frame).events
    events += counter.flush()
    assert [event.direction.value for event in crossed(events)] == ["in"]
