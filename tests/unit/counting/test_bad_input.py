"""Boxes, ids and times that no camera should send: refused or handled, never a crash."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import IDENTITY, ROOM, SIZE, crossed, ramp, spec
from tests.fixtures.examples import examples

from countline_counting.counter import CameraCounter
from countline_counting.frames import DetectionFrame, TrackedFrame

NUMBER = st.one_of(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -50.0, 1e9, 1e-300]), st.floats(-2000, 3000))
BOX = st.tuples(NUMBER, NUMBER, NUMBER, NUMBER)
WALKER = [(580.0, y - 80, 620.0, y) for y in ramp(200, 520, 31)]
BAD = [
    (np.nan, 0.0, 10.0, 10.0),
    (600.0, 300.0, 600.0, 380.0),
    (640.0, 380.0, 600.0, 300.0),
    (-500.0, -500.0, -400.0, -300.0),
    (5000.0, 300.0, 5040.0, 380.0),
    (0.0, 0.0, np.inf, 10.0),
]


def detections(index: int, t: float, boxes) -> DetectionFrame:
    table = np.array([(*box, 0.9, 0) for box in boxes], dtype=np.float32).reshape(-1, 6)
    return DetectionFrame("camera", index, t, SIZE, table)


def tracks(index: int, t: float, boxes, ids) -> TrackedFrame:
    count = len(ids)
    table = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return TrackedFrame("camera", index, t, SIZE, np.array(ids), table, np.full(count, 0.9), np.zeros(count, np.int64))


@pytest.mark.parametrize("bad", BAD)
def test_bad_boxes_beside_a_walker_change_nothing(bad):
    counter, by_id = CameraCounter(IDENTITY, spec()), CameraCounter(IDENTITY, spec(), tracked=True)
    events, by_id_events = [], []
    for i, box in enumerate(WALKER):
        events += counter.update(detections(i, i / 10, [bad, box])).events
        by_id_events += by_id.update_tracked(tracks(i, i / 10, [bad, box], [7, 1])).events
    assert len(crossed([*events, *counter.flush()])) == 1
    assert len(crossed([*by_id_events, *by_id.flush()])) == 1


def test_time_that_stands_counts_as_one_frame():
    counter = CameraCounter(IDENTITY, spec(), tracked=True)
    events = [
        event for i, box in enumerate(WALKER) for event in counter.update_tracked(tracks(i, 5.0, [box], [1])).events
    ]
    assert crossed([*events, *counter.flush()]) == []


def test_five_thousand_boxes_in_one_frame_are_taken():
    rng = np.random.default_rng(1)
    corners = rng.uniform((0, 0), (1240, 640), (5000, 2))
    crowd = np.column_stack([corners, corners + np.array([12, 24])])
    counter, by_id = CameraCounter(IDENTITY, spec(zones=[ROOM])), CameraCounter(IDENTITY, spec(), tracked=True)
    for i in range(2):
        counter.update(detections(i, i / 10, crowd))
        by_id.update_tracked(tracks(i, i / 10, crowd, np.arange(5000)))
    counter.flush()
    by_id.flush()


@given(st.lists(st.lists(st.tuples(BOX, st.integers(0, 3)), max_size=6), max_size=12), st.data())
@examples(40)
def test_no_boxes_ids_and_times_crash_a_counter(frames, data):
    """Ids repeat within a frame, and times stand or go back."""
    counter = CameraCounter(IDENTITY, spec(zones=[ROOM]), trajectories=True)
    by_id = CameraCounter(IDENTITY, spec(zones=[ROOM]), tracked=True, trajectories=True)
    for i, rows in enumerate(frames):
        t = data.draw(st.sampled_from([i / 10, 0.0, 100.0, i / 1000]))
        counter.update(detections(i, t, [box for box, _ in rows]))
        by_id.update_tracked(tracks(i, t, [box for box, _ in rows], [number for _, number in rows]))
    counter.flush()
    by_id.flush()
