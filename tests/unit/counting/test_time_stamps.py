"""Frames that are late, doubled, out of order or stalled are handled by their time stamps, and time frees memory."""

import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.crowd import crowd
from tests.fixtures.counting.paths import GATE, HEIGHT, IDENTITY, ROOM, SIZE, ramp, spec, tracked
from tests.fixtures.examples import examples

from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing
from countline_counting.frames import DetectionFrame
from countline_counting.rules import CLOCK_RESET_S

COUNTING = spec(lines=[GATE], zones=[ROOM])
FRAMES = 80


def sent(pictures):
    """Every event of some frames, as text."""
    counter = CameraCounter(IDENTITY, COUNTING)
    said = [repr(event) for picture in pictures for event in counter.update(picture).events]
    return [*said, *map(repr, counter.flush())]


@cache
def people(seed):
    return tuple(crowd(seed, people=3, frames=FRAMES)[0])


@cache
def in_order(seed):
    return tuple(sent(people(seed)))


late = st.lists(
    st.tuples(st.integers(1, FRAMES - 1), st.integers(0, int(CLOCK_RESET_S * 10) - 1)), min_size=1, max_size=30
)
"""Before which frame, and from how many frames ago."""


@given(st.integers(0, 3), late)
@examples(7)
def test_frames_that_come_late_or_twice_change_nothing(seed, arrivals):
    """A frame that is no newer than the one before was counted already, or must not be counted any more."""
    pictures = list(people(seed))
    for before, ago in sorted(arrivals, reverse=True):
        pictures.insert(before, people(seed)[max(0, before - 1 - ago)])
    assert tuple(sent(pictures)) == in_order(seed)


@given(st.integers(0, 3), st.permutations(range(5)))
@examples(6)
def test_frames_out_of_order_are_as_if_those_that_were_overtaken_had_been_lost(seed, order):
    """Five frames around a crossing come in another order; their time stamps decide what is counted."""
    pictures, first = people(seed), 40
    shuffled = [*pictures[:first], *(pictures[first + i] for i in order), *pictures[first + 5 :]]
    newest, in_time = -1.0, []
    for picture in shuffled:
        if picture.t > newest:
            newest = picture.t
            in_time.append(picture)
    assert sent(shuffled) == sent(in_time)


@given(st.integers(0, 3), st.floats(-1e9, 2e9))
@examples(6)
def test_the_time_of_day_changes_nothing(seed, start):
    """Times are compared with each other only; at Unix times they are good to less than a microsecond."""
    start = round(start)
    moved = [replace(picture, t=picture.t + start) for picture in people(seed)]

    def crossings(pictures, offset):
        counter = CameraCounter(IDENTITY, COUNTING)
        events = [event for picture in pictures for event in counter.update(picture).events]
        passes = [event for event in [*events, *counter.flush()] if isinstance(event, Crossing)]
        return [(event.id, event.direction, event.frame, round(event.t - offset, 4)) for event in passes]

    assert crossings(moved, start) == crossings(people(seed), 0)


def walk_over_the_gate():
    """One person walks down over the line in four seconds; the feet by frame."""
    return ramp(250.0, 480.0, 40)


@given(st.integers(2, 38), st.floats(0.3, 30.0))
@examples(15)
def test_a_stall_of_the_stream_ends_nothing_and_counts_once(at, stall_s):
    """Pictures stop for a while, wherever the person is. Nothing moves meanwhile (the camera hung, not the scene), and
    an object seen before is the same object afterwards."""
    counter = CameraCounter(IDENTITY, COUNTING, tracked=True)
    events = []
    for i, y in enumerate(walk_over_the_gate()):
        t = i / 10 + (stall_s if i >= at else 0.0)
        events += counter.update_tracked(tracked(i, t, [(1, 600.0, y)])).events
    events += counter.flush()
    directions = [event.direction.value for event in events if isinstance(event, Crossing)]
    assert directions == ["in"]


@pytest.mark.parametrize("at", [5, 15, 19, 22, 30])
@pytest.mark.parametrize("stall_s", [0.7, 4.0, 25.0])
def test_a_camera_that_hangs_loses_nobody_to_the_tracker(at, stall_s):
    """The same with detections: the tracker expected the person to move on meanwhile, and detections correct it."""
    counter = CameraCounter(IDENTITY, COUNTING)
    events = []
    for i, y in enumerate(walk_over_the_gate()):
        t = i / 10 + (stall_s if i >= at else 0.0)
        rows = np.array([[580, y - HEIGHT, 620, y, 0.9, 0]], dtype=np.float32)
        events += counter.update(DetectionFrame("camera", i, t, SIZE, rows)).events
    events += counter.flush()
    assert [event.direction.value for event in events if isinstance(event, Crossing)] == ["in"]


@pytest.mark.parametrize("stall_s", [0.4, 1.0, 2.0])
def test_a_person_who_walks_on_during_a_short_stall_is_counted_once(stall_s):
    """Detections, not tracks: the stall lies over the line, so that the crossing itself was never seen."""
    counter = CameraCounter(IDENTITY, COUNTING)
    speed, events = 57.5, []
    crossing_t = (360 - 250) / speed
    for i in range(60):
        t = i / 10
        if abs(t - crossing_t) < stall_s / 2:
            continue
        y = 250 + speed * t
        rows = np.array([[580, y - HEIGHT, 620, y, 0.9, 0]], dtype=np.float32)
        events += counter.update(DetectionFrame("camera", i, t, SIZE, rows)).events
    events += counter.flush()
    passes = [event for event in events if isinstance(event, Crossing)]
    assert [event.direction.value for event in passes] == ["in"]
    assert passes[0].t == pytest.approx(crossing_t, abs=0.25)


def test_a_clock_that_is_set_back_begins_anew_and_loses_no_crossing():
    """An hour is set back between two people: both are counted, under ids of their own."""
    counter = CameraCounter(IDENTITY, COUNTING, tracked=True)
    events, index = [], 0
    for person, start in ((1, 7200.0), (2, 3600.0)):
        for i, y in enumerate(walk_over_the_gate()):
            events += counter.update_tracked(tracked(index, start + i / 10, [(person, 600.0, y)])).events
            index += 1
    events += counter.flush()
    passes = [event for event in events if isinstance(event, Crossing)]
    assert [event.direction.value for event in passes] == ["in", "in"]
    assert len({event.id for event in passes}) == 2


def test_three_thousand_hours_leave_no_more_behind_than_one_hundred():
    """Every nine hours a person walks over the line and another one is seen once by mistake. The counter holds only
    what is in the scene, to the byte."""
    counter = CameraCounter(IDENTITY, COUNTING)
    t, index, sizes, counted = 0.0, 0, [], 0
    for visitor in range(350):
        for step in range(6):
            x, y = 320.0 + visitor * 37 % 500, 300.0 + 28 * step
            rows = [[x - 20, y - HEIGHT, x + 20, y, 0.9, visitor % 3]]
            if step == 2:
                rows.append([1000 + visitor % 200, 100, 1030 + visitor % 200, 160, 0.5, 0])
            table = np.array(rows, dtype=np.float32)
            counted += len(counter.update(DetectionFrame("camera", index, t, SIZE, table)).events)
            t, index = t + 0.1, index + 1
        for _ in range(2):
            t, index = t + 16200.0, index + 1
            none = np.zeros((0, 6), dtype=np.float32)
            counted += len(counter.update(DetectionFrame("camera", index, t, SIZE, none)).events)
        sizes.append(len(pickle.dumps(counter)))
    assert t > 3000 * 3600
    assert counted > 350
    early, late_on = sizes[20:60], sizes[-40:]
    assert max(late_on) <= max(early) + 64, "numbers grow by digits only"
