"""The parts of the tracker against plain reference code, and the tracker on single objects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.examples import examples

from countline_counting.tracking import Tracker, TrackerSettings
from countline_counting.tracking.association import _touching, _touching_by_sweep, cheapest_pairs, overlaps


def boxes(rng, count):
    low = rng.uniform(0, 300, (count, 2))
    return np.hstack([low, low + rng.uniform(1, 90, (count, 2))])


def overlap_of_two(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


@given(st.integers(0, 2**32 - 1), st.integers(0, 90), st.integers(0, 90))
@examples(20)
def test_overlaps_are_those_of_every_pair_looked_at_alone(seed, few, many):
    rng = np.random.default_rng(seed)
    first, second = boxes(rng, few), boxes(rng, many)
    found = overlaps(first, second)
    table = np.zeros((few, many))
    table[found.rows, found.columns] = found.share
    expected = np.array([[overlap_of_two(a, b) for b in second] for a in first]).reshape(few, many)
    assert np.allclose(table, expected)


@given(st.integers(0, 2**32 - 1))
@examples(20)
def test_sweeping_finds_the_pairs_that_comparing_all_finds(seed):
    rng = np.random.default_rng(seed)
    first, second = boxes(rng, 60), boxes(rng, 70)
    by_sweep, by_all = _touching_by_sweep(first, second), _touching(first, second)
    assert set(zip(*map(np.ndarray.tolist, by_sweep), strict=True)) == set(
        zip(*map(np.ndarray.tolist, by_all), strict=True)
    )


def test_the_cheapest_matching_prefers_more_pairs_to_a_cheaper_one():
    rows, columns = cheapest_pairs(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0.1, 0.5, 0.9]))
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


def follow(tracker, positions, t_of=lambda i: i / 10, score=0.9, size=(40, 80)):
    """Ids of one object at these centres; None for a frame without a detection."""
    ids = []
    for i, place in enumerate(positions):
        rows = (
            []
            if place is None
            else [
                [
                    place[0] - size[0] / 2,
                    place[1] - size[1] / 2,
                    place[0] + size[0] / 2,
                    place[1] + size[1] / 2,
                    score,
                    0,
                ]
            ]
        )
        found = tracker.update(np.array(rows, dtype=np.float64).reshape(-1, 6), t_of(i))
        ids += found[0].tolist()
    return ids


def test_an_object_keeps_its_id_through_missed_frames():
    way = [(100 + 8 * i, 200) for i in range(30)]
    way[10:16] = [None] * 6
    assert set(follow(Tracker(TrackerSettings()), way)) == {1}


@pytest.mark.parametrize(("fps", "speed"), [(2, 1.4), (4, 2.5), (10, 6.0)])
def test_a_track_goes_on_where_boxes_of_two_frames_do_not_overlap(fps, speed):
    """A runner of `speed` heights a second: between frames farther than a box is wide."""
    way = [(100 + 80 * speed * i / fps, 200) for i in range(2 * fps + 3)]
    assert 80 * speed / fps > 40
    assert set(follow(Tracker(TrackerSettings()), way, lambda i: i / fps)) == {1}


def test_what_lies_farther_than_the_prediction_may_be_wrong_is_another_object():
    """A person who stood for two seconds vanishes, and at once another one stands two heights away."""
    way = [*[(100, 200)] * 20, *[(260, 200)] * 5]
    assert sorted(set(follow(Tracker(TrackerSettings()), way))) == [1, 2]


@pytest.mark.parametrize("fps", [2, 5, 10, 25, 60])
def test_a_walk_is_one_track_at_any_frame_rate(fps):
    """80 px/s at 80 px high: a person's pace."""
    way = [(100 + 80 * i / fps, 200) for i in range(int(4 * fps) + 1)]
    assert set(follow(Tracker(TrackerSettings()), way, lambda i: i / fps)) == {1}


def test_a_fast_object_is_one_track_from_its_first_frame_on():
    """1.25 of its heights a frame, so that no two of its boxes touch."""
    assert follow(Tracker(TrackerSettings()), [(600, 100 + 100 * i) for i in range(4)]) == [1, 1, 1, 1]


def test_two_who_pass_each_other_keep_their_ids():
    """One walks to the right at y = 300, the other to the left at y = 318; distinguished by their heights."""
    tracker = Tracker(TrackerSettings())
    upper, lower = set(), set()
    for i in range(40):
        rows = [[x - 20, y - 40, x + 20, y + 40, 0.9, 0] for x, y in ((200 + 10 * i, 300), (600 - 10 * i, 318))]
        ids, seen, _, _ = tracker.update(np.array(rows, dtype=np.float64), i / 10)
        heights = seen[:, [1, 3]].mean(axis=1)
        upper.add(int(ids[heights.argmin()]))
        lower.add(int(ids[heights.argmax()]))
    assert len(upper) == len(lower) == 1
    assert upper != lower


def test_a_weak_detection_continues_a_track_and_begins_none_beside_it():
    tracker = Tracker(TrackerSettings())
    follow(tracker, [(100, 100), (104, 100)])
    weak = [[84 + 2, 60, 124 + 4, 140, 0.2, 0], [95, 62, 135, 142, 0.3, 0]]
    ids = tracker.update(np.array(weak, dtype=np.float64), 0.2)[0].tolist()
    assert ids == [1]


def test_tracks_that_are_not_seen_again_are_forgotten():
    tracker = Tracker(TrackerSettings())
    follow(tracker, [(100, 100), (104, 100), *[None] * 31])
    assert len(tracker) == 0


WALKS = {
    "level": ((100, 300), (60, 0), 80),
    "down": ((300, 100), (0, 60), 80),
    "diagonal, far away": ((600, 200), (-15, 12), 24),
    "near": ((100, 500), (240, 30), 320),
}
"""Start in pixels, velocity in pixels a second, and height."""


def around(place, height, score):
    x, y = place
    return [x - height / 4, y - height / 2, x + height / 4, y + height / 2, score, 0]


def walked(walk, scores, fps=10):
    """Ids in each frame of an object with these scores, 0 where it is not detected."""
    (x, y), (across, down), height = WALKS[walk]
    tracker, ids = Tracker(TrackerSettings()), []
    for i, score in enumerate(scores):
        place = (x + across * i / fps, y + down * i / fps)
        rows = [around(place, height, score)] if score else []
        found = tracker.update(np.array(rows, dtype=np.float64).reshape(-1, 6), i / fps)
        ids.append(set(found[0].tolist()))
    return ids


@pytest.mark.parametrize("walk", WALKS)
def test_a_weak_box_continues_a_track_of_such_scores_after_most_of_a_second(walk):
    ids = walked(walk, [0.45] * 2 + [0.2] * 13 + [0] * 6 + [0.18] * 10 + [0.45] * 5)
    assert ids[15:21] == [set()] * 6
    assert ids[21:] == [{1}] * 15


@pytest.mark.parametrize("walk", WALKS)
def test_a_weak_box_more_than_a_second_later_continues_nothing(walk):
    assert walked(walk, [0.45] * 2 + [0.2] * 13 + [0] * 12 + [0.18] * 5)[15:] == [set()] * 17


@pytest.mark.parametrize("walk", WALKS)
def test_a_weak_box_after_a_gap_continues_no_track_whose_scores_were_high(walk):
    assert walked(walk, [0.9] * 15 + [0] * 6 + [0.18] * 5)[15:] == [set()] * 11
