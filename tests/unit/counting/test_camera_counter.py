"""The counter of one camera as a whole: detections in, events out."""

import pickle

import numpy as np
import pytest
from tests.fixtures.counting.crowd import crowd
from tests.fixtures.counting.paths import GATE, IDENTITY, SIZE, norm, spec, tracked

from countline_counting.counter import CameraCounter, PictureSizeError
from countline_counting.errors import GeometryError
from countline_counting.events import Crossing
from countline_counting.frames import DetectionFrame
from countline_counting.identity import event_id
from countline_counting.spec import Line


def everything(pictures, counting=None):
    counter = CameraCounter(IDENTITY, counting or spec())
    events = [event for picture in pictures for event in counter.update(picture).events]
    return [*events, *counter.flush()]


def count(pictures, counting=None):
    return [event for event in everything(pictures, counting) if isinstance(event, Crossing)]


@pytest.mark.parametrize("seed", range(5))
def test_detections_with_misses_noise_and_false_ones_give_the_true_count(seed):
    """At each end of the recording a crossing may be in progress, so each total is off by at most one."""
    pictures, truth = crowd(seed)
    directions = [event.direction.value for event in count(pictures)]
    assert abs(directions.count("in") - truth[0]) <= 1
    assert abs(directions.count("out") - truth[1]) <= 1


def test_counting_again_gives_the_same_events_byte_for_byte():
    pictures, _ = crowd(1)
    assert repr(everything(pictures)) == repr(everything(pictures))


def test_other_lines_change_nothing_in_the_events_of_a_line():
    pictures, _ = crowd(2)
    more = spec(lines=[Line("other", norm((300, 300), (900, 420))), GATE])
    alone = [event for event in count(pictures) if event.line_id == "gate"]
    among = [event for event in count(pictures, more) if event.line_id == "gate"]
    assert alone == among


def test_events_are_decided_in_time_and_have_ids_of_their_own():
    pictures, _ = crowd(3)
    events = count(pictures)
    assert len({event.id for event in events}) == len(events)
    for event in events:
        assert event.id == event_id(IDENTITY, "line", "gate", 1, event.track, event.sequence)
        assert 0 <= event.t <= event.decided_at <= pictures[-1].t


def test_state_is_freed_when_objects_end():
    """After 200 people in succession, the counter holds no state of theirs."""
    counter = CameraCounter(IDENTITY, spec(), tracked=True)
    sizes = []
    for person in range(200):
        for i in range(12):
            t = person * 5 + i / 10
            counter.update_tracked(tracked(person * 50 + i, t, [(person, 600.0, 300.0 + 10 * i)]))
        for i in range(12, 50):
            counter.update_tracked(tracked(person * 50 + i, person * 5 + i / 10, []))
        sizes.append(len(pickle.dumps(counter)))
    assert max(sizes[100:]) <= max(sizes[:100]) + 64, "numbers grow by digits only"


def test_another_picture_size_is_refused():
    counter = CameraCounter(IDENTITY, spec(), tracked=True)
    counter.update_tracked(tracked(0, 0.0, [(1, 600.0, 300.0)]))
    with pytest.raises(PictureSizeError):
        counter.update_tracked(tracked(1, 0.1, [(1, 600.0, 300.0)], size=(640, 360)))


def test_boxes_that_are_no_boxes_are_left_out():
    table = np.array(
        [[np.nan, 0, 1, 1, 0.9, 0], [10, 10, 10, 40, 0.9, 0], [30, 30, 20, 60, 0.9, 0], [100, 100, 140, 180, 0.9, 0]],
        dtype=np.float32,
    )
    counter = CameraCounter(IDENTITY, spec())
    assert len(counter.update(DetectionFrame("camera", 0, 0.0, SIZE, table)).tracked.ids) == 1


def test_frames_without_detections_are_frames():
    counter = CameraCounter(IDENTITY, spec())
    none = np.zeros((0, 6), dtype=np.float32)
    for i in range(5):
        assert len(counter.update(DetectionFrame("camera", i, i / 10, SIZE, none)).tracked.ids) == 0
    assert counter.flush() == ()


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        (((0.1, 0.1), (0.1, 0.1)), "same point"),
        (((0.1, 0.1),), "at least 2"),
        (((0.1, 0.1), (1.1, 0.1)), "outside the picture"),
        (((0.1, float("nan")), (0.3, 0.1)), "outside the picture"),
    ],
)
def test_a_line_that_cannot_be_counted_is_refused_with_a_hint(points, problem):
    with pytest.raises(GeometryError, match=problem) as refused:
        Line("gate", points)
    assert refused.value.hint


def test_two_lines_of_one_name_are_refused():
    with pytest.raises(GeometryError, match="twice"):
        spec(lines=[GATE, GATE])
