"""Fragments of one object are joined before anything is counted; fragments of two objects are not."""

import numpy as np
import pytest
from tests.fixtures.counting.paths import (
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

from countline_counting.counter import CameraCounter
from countline_counting.spec import Line


def renamed(frames, every):
    """The same object under a new id every so many frames."""
    return [(t, [(1 + i // every, x, y) for _, x, y in spots]) for i, (t, spots) in enumerate(frames)]


@pytest.mark.parametrize("every", [1, 2, 3, 5, 7, 16])
def test_an_object_whose_id_changes_all_the_time_crosses_once(every):
    rng = np.random.default_rng(every)
    ys = [*ramp(200, 356, 20), *(360 + rng.uniform(-8, 8, 60)), *ramp(366, 520, 20)]
    events = crossings(renamed(heights(ys), every))
    assert [event.direction.value for event in events] == ["in"]
    assert events[0].stitched


def test_an_id_that_changes_behind_a_pillar_over_the_line_is_the_same_object():
    path = heights(ramp(200, 520, 41))
    frames = [(t, [] if 340 < s[0][2] < 400 else [(1 if s[0][2] < 360 else 2, *s[0][1:])]) for t, s in path]
    assert totals(frames) == (1, 0)


def test_two_people_of_whom_one_vanishes_above_and_another_appears_below_are_two():
    above = heights([*ramp(200, 300, 15)], track=1)
    below = [(1.7 + i / 10, [(2, 600.0, 440.0 + 8 * i)]) for i in range(15)]
    assert totals([*above, *below]) == (0, 0)


def test_a_person_who_appears_to_the_side_is_another_one():
    above = heights(ramp(200, 350, 20), track=1)
    beside = [(2.2 + i / 10, [(2, 780.0, 372.0 + 8 * i)]) for i in range(15)]
    assert totals([*above, *beside]) == (0, 0)


def test_a_small_object_does_not_continue_a_large_one():
    counter = CameraCounter(IDENTITY, spec(), tracked=True)
    events = []
    for i, y in enumerate(ramp(200, 520, 33)):
        frame = tracked(i, i / 10, [(1 if y < 357 else 2, 600.0, y)])
        if y >= 357:
            frame.xyxy_px[0] = (592, y - 32, 608, y)
        events += counter.update_tracked(frame).events
    assert crossed([*events, *counter.flush()]) == []


def test_an_object_that_is_still_in_sight_is_not_continued():
    """Two people walk side by side over the line, and the second gets an id only on it."""
    frames = [
        (i / 10, [(1, 600.0, y), *([(2, 645.0, y)] if y > 355 else [])]) for i, y in enumerate(ramp(200, 520, 33))
    ]
    assert totals(frames) == (1, 0)


def test_an_id_that_comes_back_at_once_keeps_its_object():
    """The first person is missed in one frame, the one in which another person appears near by."""
    first = dict(heights(ramp(200, 520, 33), track=1))
    frames = []
    for i, (t, spots) in enumerate(first.items()):
        other = [(2, 640.0, 300.0)] if i >= 12 else []
        frames.append((t, [*([] if i == 12 else spots), *other]))
    (event,) = crossings(frames)
    assert not event.stitched


def test_two_boxes_on_one_object_are_one():
    frames = [(t, [(1, x, y), (2, x + 1, y + 2)]) for t, [(_, x, y)] in heights(ramp(200, 520, 33))]
    assert totals(frames) == (1, 0)


@pytest.mark.parametrize("churn", [0.05, 0.1, 0.3])
def test_random_churn_of_ids_keeps_the_count(churn):
    """Forty people cross in succession, and each id may change at every frame."""
    rng = np.random.default_rng(3)
    frames, next_id = [], 1
    for _ in range(40):
        for y in ramp(220, 500, 29):
            next_id += rng.random() < churn
            frames.append((len(frames) / 10, [(int(next_id), 600.0 + rng.normal(0, 2), y + rng.normal(0, 2))]))
        next_id += 1
        frames += [(len(frames) / 10 + i / 10, []) for i in range(35)]
    frames = [(i / 10, spots) for i, (_, spots) in enumerate(frames)]
    counted_in, counted_out = totals(frames)
    assert (counted_in, counted_out) == (40, 0)


WAYS = {
    "as it is": lambda x, y: (x, y),
    "left for right": lambda x, y: (SIZE[0] - x, y),
    "upside down": lambda x, y: (x, SIZE[1] - y),
}


@pytest.mark.parametrize("fps", [5.0, 10.0, 30.0])
@pytest.mark.parametrize("way", WAYS)
def test_someone_who_enters_where_another_left_a_moment_ago_is_another_object(way, fps):
    """The first walks out of the picture over the line, and 0.2 s later a second one comes in at the same place."""
    place = WAYS[way]
    line = Line("gate", norm(*(place(x, y) for x, y in ((120, 600), (120, 100)))))
    leaves = [(t / fps, [(1, *place(600 - 200 * t / fps, 360))]) for t in range(int(3 * fps) + 1)]
    enters = [(3.2 + t / fps, [(2, *place(200 * t / fps, 360))]) for t in range(int(3 * fps) + 1)]
    events = crossings([*leaves, *enters], spec(lines=(line,)))
    assert len({event.track for event in events}) == 2
    assert len({event.direction for event in events}) == 2


@pytest.mark.parametrize("fps", [15.0, 30.0])
@pytest.mark.parametrize("way", WAYS)
def test_someone_who_walks_back_where_another_vanished_is_another_object(way, fps):
    """Two opposite walkers: one is hidden when the other comes into view, close to where the first vanished."""
    place = WAYS[way]
    first = [(t / fps, [(1, *place(400 + 80 * t / fps, 400))]) for t in range(int(2 * fps) + 1)]
    second = [(2.4 + t / fps, [(2, *place(570 - 80 * t / fps, 400))]) for t in range(int(2 * fps) + 1)]
    line = Line("gate", norm(*(place(x, y) for x, y in ((480, 600), (480, 200)))))
    events = crossings([*first, *second], spec(lines=(line,)))
    assert len({event.track for event in events}) == 2
    assert not any(event.stitched for event in events)


def test_an_object_does_not_end_while_a_fragment_of_it_waits():
    """The id changes after 2.9 s out of sight. The fragment waits for 0.3 s, beyond the time in which objects end."""
    path = heights(ramp(200, 520, 60))
    frames = [(t, [(1 if t < 1.5 else 2, *s[0][1:])] if t < 1.5 or t > 4.35 else []) for t, s in path]
    assert frames[14][1]
    assert [event.stitched for event in crossings(frames)] == [True]


@pytest.mark.parametrize("lost_s", [0.4, 0.8, 1.2])
@pytest.mark.parametrize("at", np.arange(0.4, 1.0, 0.1).round(1))
@pytest.mark.parametrize("way", WAYS)
def test_a_stall_in_which_one_leaves_and_the_next_enters_behind_him_adds_no_crossing(way, at, lost_s):
    """A live camera whose frames are dropped: nobody sees the first leave, and the second moves the same way."""
    place, frames, number = WAYS[way], [], 0
    for begins in (0.0, 3.0):
        for step in range(20):
            t = begins + step / 20
            number += step == 0
            if not at <= t < at + lost_s:
                frames.append((t, [(number, *place(520 + 12 * step, 400))]))
        frames += [(begins + 1 + i / 20, []) for i in range(40) if not at <= begins + 1 + i / 20 < at + lost_s]
    line = Line("gate", norm(*(place(x, y) for x, y in ((620, 700), (620, 100)))))
    events = crossings(frames, spec(lines=(line,)))
    assert len(events) <= 2
    assert len({event.direction for event in events}) == 1
