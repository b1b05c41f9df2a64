"""Paths of objects: small, and within their stated bound."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import IDENTITY, SIZE, heights, ramp, spec, tracked
from tests.fixtures.examples import examples

from countline.v1 import events_pb2
from countline_common.errors import InvalidInputError
from countline_counting.counter import CameraCounter
from countline_counting.objects.sights import Sights
from countline_counting.paths import LEAST_ERROR_PX, ObjectPath, Trajectory
from countline_counting.trajectories.simplification import FRAMES_AT_ONCE, SIZE_ERROR_HEIGHTS, Paths
from countline_counting.trajectories.table import PART_CORNERS, PART_S
from countline_pipelines.messages import path_of, to_message

UNIX = 1_780_000_000.0


def sights(rows: np.ndarray, of: int = 0) -> list[Sights]:
    """Sights of one object from rows t, x, y, width, height."""
    return [
        Sights(
            rows=np.array([of]),
            t=row[None, 0],
            frame=np.array([i]),
            xy_px=row[None, 1:3],
            hidden=np.zeros((1, 2)),
            height_px=row[None, 4],
            before_t=row[None, 0],
            before_xy_px=row[None, 1:3],
            width_px=row[None, 3],
            known_at=row[None, 0],
        )
        for i, row in enumerate(rows)
    ]


def parts_of(rows: np.ndarray, period_s: float = 0.1) -> list[ObjectPath]:
    paths, parts = Paths(), []
    for each in sights(rows):
        parts += [path for _, path in paths.take(each, period_s)]
    return [*parts, *(path for _, path in paths.end(0))]


def errors(rows: np.ndarray, parts: list[ObjectPath]) -> tuple[np.ndarray, np.ndarray]:
    """How far each sight exceeds the bound of its part, in pixels: its distance, and its difference in height."""
    apart, off = [], []
    for i, row in enumerate(rows):
        part = next(part for part in parts if row[0] <= part.end + 1e-6)
        found = part.at(row[None, 0])[0]
        bound_px = max(part.error_heights * row[4], np.sqrt(2) * LEAST_ERROR_PX)
        apart.append(np.hypot(*(found[:2] - row[1:3])) - bound_px)
        off.append(np.abs(found[2:] - row[3:5]).max() - max(SIZE_ERROR_HEIGHTS * row[4], LEAST_ERROR_PX))
        assert i > 0 or part.start == pytest.approx(row[0], abs=1e-6)
    return np.array(apart), np.array(off)


def walk(seed, n, speed, noise, height, fps, jitter, gaps):
    rng = np.random.default_rng(seed)
    steps = (1 + jitter * rng.uniform(-1, 1, n)) / fps
    if gaps:
        steps[rng.random(n) < 0.1] += 1.7
    t = UNIX + np.cumsum(steps)
    way = np.cumsum(rng.normal(0, speed, (n, 2)) * steps[:, None], axis=0)
    sizes = height * np.exp(np.cumsum(rng.normal(0, 0.01, (n, 2)), axis=0)) * (0.4, 1.0)
    return np.column_stack([t, way + rng.normal(0, noise, (n, 2)) + 300, sizes])


walks = st.builds(
    walk,
    st.integers(0, 10_000),
    st.integers(2, 120),
    st.floats(0, 400),
    st.sampled_from([0.0, 0.3, 3.0, 30.0]),
    st.sampled_from([3.0, 12.0, 80.0, 400.0]),
    st.sampled_from([2.0, 7.0, 25.0, 60.0]),
    st.floats(0, 0.4),
    st.booleans(),
)


@examples(75)
@given(walks)
def test_every_sight_lies_within_the_bound_at_its_time(rows):
    parts = parts_of(rows, 1 / 25)
    apart, off = errors(rows, parts)
    assert apart.max() <= 1e-3
    assert off.max() <= 1e-3
    assert sum(part.sights for part in parts) - len(parts) + 1 == len(rows)


@examples(50)
@given(walks)
def test_a_path_comes_back_from_a_message_as_it_went(rows):
    for path in parts_of(rows):
        reported = to_message(Trajectory("0" * 32, 3, 1, 0.5, True, SIZE, path), ("person", "vehicle"), IDENTITY)
        back = events_pb2.Trajectory.FromString(reported.SerializeToString())
        assert path_of(back) == path
        assert (back.class_name, back.camera_id, back.run) == ("vehicle", "camera", "run")


@examples(25)
@given(walks, st.integers(0, 10_000))
def test_other_objects_in_the_picture_change_nothing(rows, seed):
    """Objects are taken together, and a batch ends whenever an object leaves."""
    rng, paths, found = np.random.default_rng(seed), Paths(), []
    for each in sights(rows, of=5):
        found += [path for row, path in paths.take(each, 0.1) if row == 5]
        other = sights(np.array([[each.t[0], 7.0, 8.0, 9.0, 10.0]]), of=int(rng.integers(0, 5)))[0]
        paths.take(other, 0.1)
        if rng.random() < 0.2:
            found += [path for row, path in paths.end(int(rng.integers(0, 5))) if row == 5]
    assert [*found, *(path for _, path in paths.end(5))] == parts_of(rows)


def test_somebody_who_walks_straight_on_needs_two_corners():
    t = UNIX + np.arange(100) / 10
    rows = np.column_stack([t, 3 * np.arange(100), 200 + np.arange(100), np.full(100, 40.0), np.full(100, 100.0)])
    (path,) = parts_of(rows)
    assert len(path.t_ms) == 2
    assert (path.sights, path.unseen, path.continues) == (100, (), False)


def test_a_gap_is_marked_and_the_path_has_corners_at_both_its_ends():
    t = UNIX + np.array([*range(10), *range(25, 40)]) / 10
    rows = np.column_stack([t, 10 * (t - UNIX), np.full(25, 100.0), np.full(25, 40.0), np.full(25, 100.0)])
    (path,) = parts_of(rows)
    ((before, after),) = path.unseen
    assert (path.t_ms[before], path.t_ms[after]) == (900, 2500)


def test_a_slow_camera_sees_all_the_time():
    """At a frame a second, a second between two sights is no gap."""
    rows = np.column_stack([UNIX + np.arange(20.0), np.zeros((20, 2)), np.full((20, 2), 50.0)])
    assert parts_of(rows, period_s=1.0)[0].unseen == ()
    assert len(parts_of(rows, period_s=0.1)[0].unseen) == 19


def test_a_track_without_end_comes_in_parts_that_join_and_holds_no_more_memory():
    rng = np.random.default_rng(3)
    n = 9000
    t = UNIX + np.arange(n) / 5
    rows = np.column_stack([t, rng.normal(300, 40, (n, 2)), np.full((n, 2), 60.0)])
    rows[5000:, 1:3] = 300.0  # and then it stands still
    parts = parts_of(rows, 0.2)
    assert [part.part for part in parts] == list(range(len(parts)))
    assert [part.continues for part in parts] == [True] * (len(parts) - 1) + [False]
    assert max(len(part.t_ms) for part in parts) <= PART_CORNERS + 3
    assert max(part.end - part.start for part in parts) <= PART_S + 0.3
    for before, after in pairwise(parts):
        assert after.start == pytest.approx(before.end, abs=1e-6)
        assert (before.x[-1], before.y[-1]) == (after.x[0], after.y[0])
    assert errors(rows, parts)[0].max() <= 1e-3


def trajectories(frames, counting=None) -> list[Trajectory]:
    counter = CameraCounter(IDENTITY, counting or spec(), tracked=True, trajectories=True)
    found = [e for i, (t, spots) in enumerate(frames) for e in counter.update_tracked(tracked(i, t, spots)).events]
    return [event for event in (*found, *counter.flush()) if isinstance(event, Trajectory)]


def test_a_counter_emits_no_trajectories_unless_asked_to():
    counter = CameraCounter(IDENTITY, spec(), tracked=True)
    found = [
        e
        for i, (t, spots) in enumerate(heights(ramp(200, 520, 31)))
        for e in counter.update_tracked(tracked(i, t, spots)).events
    ]
    assert not any(isinstance(event, Trajectory) for event in (*found, *counter.flush()))


def test_an_object_seen_twice_has_a_trajectory_and_one_seen_once_has_none():
    assert len(trajectories(heights([200, 300]))) == 1
    assert trajectories(heights([200])) == []


def test_a_healed_object_has_one_trajectory_with_its_gap():
    first = heights(ramp(200, 300, 11), track=1)
    later = [(t + 2.0, [(2, x, y + 150)]) for t, ((_, x, y),) in heights(ramp(200, 300, 11), track=2)]
    (found,) = trajectories([*first, *later])
    assert found.stitched
    assert len(found.path.unseen) == 1
    assert found.path.joined == (found.path.unseen[0][1],)


def test_a_trajectory_is_emitted_when_its_object_has_ended():
    counter = CameraCounter(IDENTITY, spec(), tracked=True, trajectories=True)
    reported = []
    for i in range(80):
        spots = [(1, 600.0, 200.0 + i)] if i < 20 else [(2, 100.0, 300.0)]
        reported += [
            (i, e) for e in counter.update_tracked(tracked(i, i / 10, spots)).events if isinstance(e, Trajectory)
        ]
    assert [i for i, _ in reported] == [50]
    assert counter.flush()[-1].track == 2


def test_another_anchor_begins_another_path():
    counter = CameraCounter(IDENTITY, spec(), tracked=True, trajectories=True)
    found = []
    for i in range(40):
        if i == 20:
            counter.reconfigure(spec(anchor=(0.5, 0.5)))
        found += counter.update_tracked(tracked(i, i / 10, [(1, 600.0, 200.0)])).events
    found += counter.flush()
    tops = [event.path.y[0] for event in found if isinstance(event, Trajectory)]
    assert tops == [2000, 1600]


def test_it_is_no_later_for_being_taken_together():
    """Sights wait for other frames, but a path is complete when it is emitted."""
    for n in range(2, 2 * FRAMES_AT_ONCE + 2):
        (found,) = trajectories(heights(ramp(200, 500, n)))
        assert found.path.sights == n


@pytest.mark.parametrize("broken", [{"x": [1]}, {"unseen": [1]}, {"unseen": [0, 9]}, {"joined": [2]}, {"steps_ms": []}])
def test_a_message_whose_lists_do_not_belong_together_is_refused(broken):
    fields = {"steps_ms": [0, 40], "x": [1, 2], "y": [1, 2], "box_width": [9, 0], "box_height": [9, 0], "unseen": []}
    assert path_of(events_pb2.Trajectory(**fields)).x == (1, 3)
    with pytest.raises(InvalidInputError):
        path_of(events_pb2.Trajectory(**{**fields, **broken}))


@given(st.lists(st.sampled_from([1, 2, 999, 1000, 1999, 2000, 2500, 50_000]), min_size=2, max_size=90), st.randoms())
def test_a_burst_of_frames_stamped_as_if_taken_at_once_holds_nothing_up(steps_us, random):
    """A stream sends such a burst when it comes back; the path goes on."""
    t, rows = 1_790_000_000.0, []
    for step_us in steps_us:
        t += step_us / 1e6
        rows.append((t, random.uniform(0, 640), random.uniform(0, 480), 40.0, 90.0))
    parts = parts_of(np.array(rows))
    for part in parts:
        _, table = part.corners()
        assert np.all(np.isfinite(table))
        assert np.all(np.diff(part.t_ms) >= 0)
    apart = [after - before >= 1.9999e-3 for (before, *_), (after, *_) in pairwise(rows)]
    assert bool(parts) >= any(apart)
