"""An object that comes into view just before a line comes from where its motion leads back to, if that is clear."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import GATE, HEIGHT, IDENTITY, crossed, heights, ramp, spec, totals, tracked
from tests.fixtures.examples import examples

from countline_counting import rules
from countline_counting.counter import CameraCounter
from countline_counting.rule.approach import Approach
from countline_counting.spec import Line


def walk(before: float, speed: float, fps: float, seconds: float = 3.0) -> list[float]:
    """Feet in pixels, from `before` heights before the gate on, at heights a second."""
    times = np.arange(0, seconds, 1 / fps)
    return (360 + HEIGHT * (speed * times - before)).tolist()


@given(
    st.floats(0.07, 0.13),
    st.floats(0.3, 1.5),
    st.sampled_from([5, 7, 10, 12.5, 25, 60]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@examples(30)
def test_somebody_who_comes_out_of_a_door_before_the_line_counts_once(before, speed, fps, mirrored, seed):
    """At any rate, with boxes exact to a fiftieth of their height and one frame in ten without a box."""
    rng = np.random.default_rng(seed)
    ys = np.array(walk(before, speed, fps))
    ys[1:] += rng.normal(0, 0.02 * HEIGHT, len(ys) - 1)
    frames = heights((720 - ys if mirrored else ys).tolist(), fps)
    kept = [(t, spots if not i or rng.random() > 0.1 else []) for i, (t, spots) in enumerate(frames)]
    assert totals(kept) == ((0, 1) if mirrored else (1, 0))


@pytest.mark.parametrize(
    "ys",
    [
        pytest.param(walk(0.04, 0.8, 10), id="comes into view too near the line"),
        pytest.param(walk(-0.1, 0.8, 10), id="comes into view beyond the line"),
        pytest.param([*ramp(352, 370, 5), *ramp(370, 352, 5), *ramp(352, 250, 20)], id="turns back"),
        pytest.param([352, *[372.0] * 40], id="stops on the line"),
        pytest.param([352, 362, *ramp(363, 460, 50)], id="the first box is a bad one, the motion begins on the line"),
        pytest.param([352, 380, 400], id="three sights show no jitter"),
        pytest.param([352, *ramp(361, 376, 50), *ramp(377, 500, 20)], id="takes more than three seconds"),
    ],
)
def test_what_shows_no_motion_over_the_line_came_from_nowhere(ys):
    assert totals(heights(ys)) == (0, 0)


def test_an_object_that_was_there_before_the_line_was_drawn_has_not_come_into_view():
    counter = CameraCounter(IDENTITY, spec(lines=[]), tracked=True)
    events = []
    for i, (t, spots) in enumerate(heights([300, 353, *walk(0.05, 0.8, 10)])):
        if i == 2:
            counter.reconfigure(spec())
        events += counter.update_tracked(tracked(i, t, spots)).events
    assert crossed([*events, *counter.flush()]) == []


def test_who_turns_back_after_it_was_clear_beyond_the_line_comes_from_there():
    """As without an approach: it was never clear on the side where it came into view."""
    assert totals(heights([*ramp(352, 374, 5), *ramp(372, 250, 20)])) == (0, 1)


def test_noise_of_an_object_that_stands_before_the_line_is_hardly_ever_motion():
    """Boxes of 500 people who stand a twentieth before the line for three seconds, unfiltered."""
    rng = np.random.default_rng(1)
    taken_for_motion = 0
    for _ in range(500):
        approach = Approach(-1, 0.0)
        for i, distance in enumerate(rng.normal(-0.05, 0.14, 75)):
            approach.see(i / 25, distance)
            if distance >= rules.DESTINATION_CLEAR_HEIGHTS and approach.certainty.clear:
                taken_for_motion += 1
                break
    assert taken_for_motion <= 5


def test_the_way_back_over_a_line_drawn_the_other_way_is_the_same():
    reverse = spec(lines=[Line("gate", GATE.points[::-1])])
    assert totals(heights(walk(0.1, 0.8, 10)), reverse) == (0, 1)
