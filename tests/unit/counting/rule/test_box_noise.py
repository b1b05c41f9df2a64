"""Boxes that jitter: an object that stands on a line counts nothing, and one that walks over it counts once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import IDENTITY, crossed
from tests.fixtures.examples import examples, rounds

from countline_counting import rules
from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing
from countline_counting.frames import TrackedFrame
from countline_counting.rule.jitter import LineJitter
from countline_counting.spec import CountingSpec, Line

CENTRE = np.array([2000.0, 1000.0])
SIZE = (4000, 2000)
KNOWN_S = 4.0
"""By then, the jitter of an object that stands on a line is known."""


def counted(
    feet: np.ndarray, fps: float, noise: float, seed: int, angle: float = 0.0, height: float = 200.0
) -> list[Crossing]:
    """Return the crossings of one object at `feet` (N,) heights beyond a line at an angle."""
    rng = np.random.default_rng(seed)
    along = np.array([np.cos(angle), np.sin(angle)])
    ends = [tuple((CENTRE + along * reach) / SIZE) for reach in (-900, 900)]
    counter = CameraCounter(IDENTITY, CountingSpec((Line("line", tuple(ends)),)), tracked=True)
    events = []
    size = np.array([0.4 * height, height])
    one = np.ones(1, dtype=np.int64)
    for i, beyond in enumerate(feet * height):
        x, y = CENTRE + beyond * np.array([-along[1], along[0]])
        error = rng.normal(0, noise, 4) * np.tile(size, 2)
        corner = np.array([x - size[0] / 2, y - height]) + error[:2]
        box = np.concatenate([corner, corner + np.maximum(size + error[2:], 2)])
        frame = TrackedFrame("camera", i, i / fps, SIZE, one, box[None], np.full(1, 0.9), one)
        events += counter.update_tracked(frame).events
    return crossed([*events, *counter.flush()])


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi])
def test_an_object_that_stands_on_the_line_counts_nothing(angle):
    """For ten minutes; in `make fuzz` for an hour."""
    frames = rounds(600, 3600) * 5
    assert [each.t for each in counted(np.zeros(frames), 5, 0.15, seed=3, angle=angle) if each.t > KNOWN_S] == []


@given(st.integers(0, 2**32 - 1), st.sampled_from([5, 12.5, 30]), st.floats(0, 2 * np.pi), st.floats(-0.05, 0.05))
@examples(10)
def test_nor_does_one_that_stands_there_for_a_minute_at_any_rate_and_angle(seed, fps, angle, beyond):
    feet = np.full(int(60 * fps), beyond)
    assert [each.t for each in counted(feet, fps, 0.15, seed, angle) if each.t > KNOWN_S] == []


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi])
def test_one_that_stood_on_the_line_for_a_minute_counts_when_it_goes_over(angle):
    feet = np.concatenate([np.linspace(-2, 0, 50), np.zeros(600), np.linspace(0, 2, 50), np.full(20, 2.0)])
    late = [each for each in counted(feet, 10, 0.15, seed=5, angle=angle) if each.t > 60]
    assert [each.direction.value for each in late] == ["in"]


def test_short_excursions_show_how_far_the_boxes_jitter():
    jitter, rng = LineJitter(), np.random.default_rng(1)
    before = 0.0
    for i, distance in enumerate(rng.normal(0, 0.1, 100)):
        if before * distance < 0:
            jitter.meet(i / 5)
        jitter.see(i / 5, distance)
        before = distance
    assert jitter.deviation_heights == pytest.approx(0.1, rel=0.3)
    assert not jitter.clearance(1, 0.3).clear
    assert jitter.clearance(1, 0.9).clear
    jitter.see(20 + rules.JITTER_MEMORY_S + 1, 0.4)
    assert jitter.deviation_heights == 0


def test_quick_turns_that_the_rule_counts_are_no_jitter():
    """Half a second on each side, half a height away."""
    jitter = LineJitter()
    for i in range(40):
        side = (-1) ** i
        jitter.meet(0.55 * i)
        for k in range(1, 6):
            jitter.see(0.55 * i + 0.1 * k, side * 0.4)
    assert jitter.deviation_heights == 0
