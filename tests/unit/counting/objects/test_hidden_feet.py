"""Something in the picture hides the feet: the box ends there, and the place of the feet follows from the height."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import IDENTITY, crossed
from tests.fixtures.examples import examples

from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing
from countline_counting.frames import DetectionFrame, TrackedFrame
from countline_counting.spec import CountingSpec, Line
from countline_counting.tracking import TrackerSettings
from countline_counting.tracking.motion import MotionModel, with_feet

CENTRE = np.array([2000.0, 1000.0])
SIZE = (4000, 2000)
SECONDS = 6.0
HIDDEN_S = (2.0, 4.0)
SCENES = {
    "fps": st.sampled_from([5, 12.5, 25, 60]),
    "angle": st.floats(0, 2 * np.pi),
    "height": st.sampled_from([40, 100, 300]),
    "share": st.floats(0.3, 0.6),
    "tracked": st.booleans(),
}


def counted(fps, angle, height, share, tracked, *, along=(0.0, 0.0), beyond=(0.0, 0.0)) -> list[Crossing]:
    """Return the crossings of a person who walks at a line at an angle; the ends of the way are in heights."""
    ends = [CENTRE + np.array([np.cos(angle), np.sin(angle)]) * reach for reach in (-900, 900)]
    counter = CameraCounter(
        IDENTITY, CountingSpec((Line("line", tuple(tuple(end / SIZE) for end in ends)),)), tracked=tracked
    )
    events, one = [], np.ones(1, dtype=np.int64)
    times = np.arange(0, SECONDS, 1 / fps)
    for i, t in enumerate(times):
        a, b = (height * np.interp(t, (0, SECONDS), way) for way in (along, beyond))
        x, y = CENTRE + a * np.array([np.cos(angle), np.sin(angle)]) + b * np.array([-np.sin(angle), np.cos(angle)])
        hidden = share * height if HIDDEN_S[0] <= t < HIDDEN_S[1] else 0.0
        box = np.array([x - 0.2 * height, y - height, x + 0.2 * height, y - hidden])
        if tracked:
            frame = TrackedFrame("camera", i, t, SIZE, one, box[None], np.full(1, 0.9), 0 * one)
            events += counter.update_tracked(frame).events
        else:
            row = np.array([[*box, 0.9, 0]], dtype=np.float32)
            events += counter.update(DetectionFrame("camera", i, t, SIZE, row)).events
    return crossed([*events, *counter.flush()])


@given(**SCENES, beyond=st.one_of(st.floats(0.05, 0.4), st.floats(-0.4, -0.05)))
@examples(10)
def test_feet_that_are_hidden_beside_a_line_do_not_cross_it(beyond, **scene):
    assert counted(**scene, along=(-2, 2), beyond=(beyond, beyond)) == []


@given(**SCENES, way=st.sampled_from([-2, 2]))
@examples(10)
def test_feet_that_meet_a_line_while_they_are_hidden_cross_it_then(way, **scene):
    (crossing,) = counted(**scene, beyond=(-way, way))
    assert crossing.direction.value == ("in" if way > 0 else "out")
    assert crossing.t == pytest.approx(SECONDS / 2, abs=0.25)


WHOLE = [500.0, 500.0, 40.0, 100.0]


@pytest.mark.parametrize(
    ("measured", "is_cut"),
    [
        pytest.param([500, 475, 40, 50], True, id="the lower half is missing"),
        pytest.param([504, 477, 36, 50], True, id="the same, and it moved a little"),
        pytest.param([500, 525, 40, 50], False, id="the upper half is missing: it bends"),
        pytest.param([500, 500, 40, 50], False, id="both ends are missing"),
        pytest.param([500, 475, 20, 50], False, id="a smaller one of the same shape"),
        pytest.param([500, 495, 40, 90], False, id="little is missing"),
        pytest.param([500, 500, 40, 100], False, id="whole"),
    ],
)
def test_a_box_that_is_cut_off_from_below_is_completed(measured, is_cut):
    boxes, cut = with_feet(np.array([measured], dtype=float), np.array([WHOLE]))
    assert cut.tolist() == [is_cut]
    top = measured[1] - measured[3] / 2
    expected = [measured[0], top + 50, measured[2], 100] if is_cut else measured
    assert boxes[0].tolist() == pytest.approx(expected)


def test_nothing_is_completed_where_boxes_are_noisier_than_usual():
    model, one, rng = MotionModel(TrackerSettings()), np.zeros(1, dtype=np.intp), np.random.default_rng(1)
    model.append(np.array([WHOLE]))
    half = np.array([[500.0, 475.0, 40.0, 50.0]])
    assert model.with_feet(half, one)[1].all()
    for _ in range(60):
        model.predict(0.1)
        model.update(one, np.array([WHOLE]) + rng.normal(0, 20, 4), np.ones(1))
    assert not model.with_feet(half, one)[1].any()
