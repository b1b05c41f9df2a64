"""Boxes that jitter: an object that stands on a line counts nothing, and one that walks over it counts once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import IDENTITY, crossed
from tests.fixtures.examples import examples

from countline_counting.counter import CameraCounter
from countline_counting.frames import TrackedFrame
from countline_counting.spec import CountingSpec, Line

CENTRE = np.array([2000.0, 1000.0])
SIZE = (4000, 2000)


def counted(
    feet: np.ndarray, fps: float, noise: float, seed: int, angle: float = 0.0, height: float = 200.0, kept: float = 1.0
) -> list[str]:
    """Return the directions of the crossings of one object at `feet` (N,) heights beyond a line at an angle."""
    rng = np.random.default_rng(seed)
    along = np.array([np.cos(angle), np.sin(angle)])
    ends = [tuple((CENTRE + along * reach) / SIZE) for reach in (-900, 900)]
    counter = CameraCounter(IDENTITY, CountingSpec((Line("line", tuple(ends)),)), tracked=True)
    events = []
    size = np.array([0.4 * height, height])
    for i, beyond in enumerate(feet * height):
        x, y = CENTRE + beyond * np.array([-along[1], along[0]])
        error = rng.normal(0, noise, 4) * np.tile(size, 2)
        corner = np.array([x - size[0] / 2, y - height]) + error[:2]
        box = np.concatenate([corner, corner + np.maximum(size + error[2:], 2)])
        number = int(rng.random() < kept)
        ids, scores, classes = np.arange(number), np.full(number, 0.9), np.zeros(number, dtype=np.int64)
        frame = TrackedFrame("camera", i, i / fps, SIZE, ids, box[None][:number], scores, classes)
        events += counter.update_tracked(frame).events
    return [event.direction.value for event in crossed([*events, *counter.flush()])]


@pytest.mark.slow
@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi])
def test_an_object_that_stands_on_the_line_for_an_hour_counts_nothing(angle):
    assert counted(np.zeros(3600 * 5), 5, 0.15, seed=3, angle=angle) == []


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 12.5, 30]), st.floats(0, 2 * np.pi), st.floats(-0.05, 0.05))
@examples(15)
def test_nor_does_one_that_stands_there_for_a_minute_at_any_rate_and_angle(seed, fps, angle, beyond):
    assert counted(np.full(int(60 * fps), beyond), fps, 0.15, seed, angle) == []


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([5, 10, 25, 60]),
    st.floats(0, 2 * np.pi),
    st.sampled_from([40.0, 400.0]),
    st.sampled_from([1.0, 0.9]),
)
@examples(15)
def test_one_who_walks_over_the_line_with_a_tenth_of_noise_counts_once(seed, fps, angle, height, kept):
    feet = np.arange(-1.8, 1.8, 0.6 / fps)
    assert counted(feet, fps, 0.1, seed, angle, height, kept) == ["in"]
    assert counted(-feet, fps, 0.1, seed, angle, height, kept) == ["out"]
