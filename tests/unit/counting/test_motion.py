"""The motion of tracks: variances stay variances, whatever the clock and the detector deliver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countline_counting.tracking import Tracker, TrackerSettings
from countline_counting.tracking.motion import MotionModel

BOX = np.array([[600.0, 300.0, 40.0, 80.0]])
ROW = np.array([0])
STEP_S = st.floats(-9, 4).map(lambda exponent: 10.0**exponent)
DOUBT = st.one_of(st.none(), st.floats(0.4, 40.0))
SIDE_PX = st.floats(0.01, 5000)
DETECTION = st.tuples(st.floats(-2000, 4000), st.floats(-2000, 4000), SIDE_PX, SIDE_PX, st.floats(0, 1))


def moved(first_s: float, steps: list[tuple[float, float | None]]) -> MotionModel:
    """A track that leaps after `first_s`; each step is a time, and the doubt of a measurement if there is one."""
    motion = MotionModel(TrackerSettings())
    motion.append(BOX)
    motion.predict(first_s)
    motion.leap(ROW, BOX, np.array([first_s]))
    for elapsed_s, doubt in steps:
        motion.predict(elapsed_s)
        motion.spread()
        if doubt is not None:
            motion.update(ROW, BOX, np.array([doubt]))
    return motion


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_two_sights_a_nanosecond_apart_do_not_make_a_variance_negative() -> None:
    """The leap gives an enormous variance of the velocity. The next sight takes nearly all of it away, and the
    difference of the two was less than nothing by rounding."""
    motion = moved(1.6576917620863322e-09, [(0.23822887386325367, 1.0), (1.3065688973249563, None)])
    assert motion.covariances.velocity.min() >= 0
    assert motion.spread() >= TrackerSettings().position_noise


@pytest.mark.filterwarnings("error::RuntimeWarning")
@given(first_s=STEP_S, steps=st.lists(st.tuples(STEP_S, DOUBT), max_size=30))
@settings(deadline=None)
def test_variances_never_become_negative(first_s: float, steps: list[tuple[float, float | None]]) -> None:
    covariances = moved(first_s, steps).covariances
    for each in (covariances.value, covariances.mixed, covariances.velocity):
        assert np.isfinite(each).all()
        assert each.min() >= 0


@pytest.mark.filterwarnings("error::RuntimeWarning")
@given(frames=st.lists(st.tuples(STEP_S, st.lists(DETECTION, max_size=4)), max_size=12))
@settings(deadline=None)
def test_tracking_computes_without_a_warning(
    frames: list[tuple[float, list[tuple[float, float, float, float, float]]]],
) -> None:
    tracker, t = Tracker(TrackerSettings()), 0.0
    for elapsed_s, found in frames:
        t += elapsed_s
        rows = [(x, y, x + width, y + height, score, 0.0) for x, y, width, height, score in found]
        tracks = tracker.update(np.array(rows, dtype=np.float64).reshape(-1, 6), t)
        assert np.isfinite(tracks[1]).all()
