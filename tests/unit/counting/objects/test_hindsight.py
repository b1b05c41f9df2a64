"""Noisy boxes: lines see objects a moment later and more exactly; nothing is lost, doubled or named otherwise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.fixtures.counting.paths import GATE, HEIGHT, IDENTITY, SIZE, crossed, norm, spec
from tests.fixtures.examples import examples

from countline_counting import rules
from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing, Direction, Event
from countline_counting.frames import DetectionFrame
from countline_counting.objects import hindsight
from countline_counting.objects.hindsight import BLOCK_S, CALM_RATIO, Hindsight
from countline_counting.objects.sights import Observations
from countline_counting.paths import Trajectory
from countline_counting.rule.facts import Decision, PassageFacts, PassCertain
from countline_counting.spec import Line
from countline_counting.tracking import Tracker, TrackerSettings
from countline_counting.tracking.noise import LEAST_RATIO, USUAL_RATIO
from countline_counting.tracking.smoothing import smoothed

Floats = NDArray[np.float64]
NOISY, EXACT = 2 * USUAL_RATIO, LEAST_RATIO
FPS = 20.0
LATEST_S = rules.HINDSIGHT_S + BLOCK_S + 1 / FPS
"""A crossing is decided at most this much later where boxes are noisy."""


def test_the_latest_decision_counts_the_wait_for_hindsight() -> None:
    assert rules.NOISY_LATEST_S == rules.LATEST_S + rules.HINDSIGHT_S + BLOCK_S


def frame(i: int, feet: list[tuple[float, float]], noise: float = 0.0, seed: int = 0) -> DetectionFrame:
    """Return a frame with people at feet (x, y); `noise` is a share of their size."""
    rng = np.random.default_rng((seed, i))
    rows = []
    for x, y in feet:
        off = rng.normal(0, noise, 4) * (0.5 * HEIGHT, HEIGHT, 0.5 * HEIGHT, HEIGHT)
        wide, high = 0.5 * HEIGHT + off[2], HEIGHT + off[3]
        centre_x, centre_y = x + off[0], y - HEIGHT / 2 + off[1]
        rows.append([centre_x - wide / 2, centre_y - high / 2, centre_x + wide / 2, centre_y + high / 2, 0.9, 0])
    return DetectionFrame("camera", i, i / FPS, SIZE, np.array(rows, dtype=np.float32).reshape(-1, 6))


def walkers(seconds: float = 7.5, noise: float = 0.0, seed: int = 0) -> list[DetectionFrame]:
    """Four people walk over the gate at y = 360, two each way, one after the other, and then stay beyond."""
    frames = []
    for i in range(int(seconds * FPS)):
        ways = [min(max(i / FPS / 4 - 0.3 * k, 0.0), 1.0) for k in range(4)]
        feet = [(360 + 150 * k, 360 + (-1) ** k * (400 * way - 200)) for k, way in enumerate(ways)]
        frames.append(frame(i, feet, noise, seed))
    return frames


def events_of(frames: list[DetectionFrame], *, paths: bool = False) -> list[Event]:
    counter = CameraCounter(IDENTITY, spec(), trajectories=paths)
    return [*(event for each in frames for event in counter.update(each).events), *counter.flush()]


def names(events: list[Event]) -> list[str]:
    return sorted(event.id for event in crossed(events))


@pytest.fixture
def noise_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[float], float]], None]:
    """Set what trackers measure, as a function of capture time."""

    def set_noise(ratio_at: Callable[[float], float]) -> None:
        monkeypatch.setattr(Tracker, "noise_ratio", property(lambda tracker: ratio_at(tracker._t)))

    return set_noise


def both(estimate: Floats, later: Floats, dt: float, wander: Floats) -> Floats:
    """Return an estimate, corrected by what is known `dt` later."""
    table = np.stack([estimate, np.concatenate([later, np.zeros(6)])])
    return smoothed(table, np.array([0.0, dt]), np.array([1, -1]), [slice(0, 1), slice(1, 2)], wander)[0]


def test_estimates_are_corrected_as_the_textbook_says():
    """The matrices of Rauch, Tung and Striebel, written out for one coordinate."""
    rng = np.random.default_rng(0)
    wander, dt = np.array([0.35, 0.15]), 0.1
    box, velocity, later = rng.normal(100, 10, 4), rng.normal(0, 5, 4), rng.normal(100, 5, 8)
    covariance = np.array([[0.01, 0.003], [0.003, 0.02]])
    estimate = np.concatenate([box, velocity, *(np.repeat(v, 2) for v in (0.01, 0.003, 0.02))])
    found = both(estimate, later, dt, wander)
    step = np.array([[1, dt], [0, 1]])
    for k in range(4):
        noise = wander[k // 2] ** 2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        predicted = step @ covariance @ step.T + noise
        gain = covariance @ step.T @ np.linalg.inv(predicted)
        state = np.array([box[k], velocity[k]])
        expected = state + gain @ (later[[k, k + 4]] - step @ state)
        assert found[[k, k + 4]] == pytest.approx(expected, rel=1e-9)


def test_two_sights_at_one_moment_correct_nothing():
    estimate = np.concatenate([np.full(4, 50.0), np.zeros(10)])
    found = both(estimate, np.full(8, 60.0), 0.0, np.array([0.35, 0.15]))
    assert found.tolist() == [50.0] * 4 + [0.0] * 4


def test_noisy_boxes_give_paths_that_are_nearer_to_the_truth(monkeypatch: pytest.MonkeyPatch):
    """Distances of stored paths from where the people walked, in heights: with hindsight less than three quarters."""

    def errors() -> float:
        found = []
        for seed in range(2):
            for event in events_of(walkers(noise=0.1, seed=seed), paths=True):
                if isinstance(event, Trajectory):
                    t, value = event.path.corners()
                    k = round((np.median(value[:, 0]) - 360) / 150)
                    way = np.clip(t / 4 - 0.3 * k, 0, 1)
                    off = value[:, 1] - (360 + (-1) ** k * (400 * way - 200))
                    found += np.abs(off[t > 3]).tolist()
        return float(np.sqrt(np.mean(np.square(found)))) / HEIGHT

    with_hindsight = errors()
    monkeypatch.setattr(hindsight, "USUAL_RATIO", math.inf)
    assert with_hindsight < 0.75 * errors()


def test_noisy_people_are_counted_under_the_names_that_exact_ones_have():
    exact = events_of(walkers())
    assert [event.direction for event in sorted(crossed(exact), key=lambda event: event.track)] == [
        Direction.IN,
        Direction.OUT,
    ] * 2
    for seed in range(2):
        assert names(events_of(walkers(noise=0.08, seed=seed))) == names(exact)


def test_the_same_frames_give_the_same_events_in_the_same_order():
    frames = walkers(noise=0.1)
    assert events_of(frames, paths=True) == events_of(frames, paths=True)


def test_boxes_and_ids_are_shown_at_once_as_without_hindsight(monkeypatch: pytest.MonkeyPatch):
    def shown() -> list[tuple[object, object]]:
        counter = CameraCounter(IDENTITY, spec())
        frames = (counter.update(each).tracked for each in walkers(noise=0.1))
        return [(each.ids.tolist(), each.xyxy_px.tolist()) for each in frames]

    with_hindsight = shown()
    monkeypatch.setattr(hindsight, "USUAL_RATIO", math.inf)
    assert with_hindsight == shown()


def test_a_crossing_is_decided_a_moment_later_and_one_of_exact_boxes_is_not(noise_is):
    delays = {}
    for ratio in (EXACT, NOISY):
        noise_is(lambda _, ratio=ratio: ratio)
        delays[ratio] = [event.decided_at - event.t for event in crossed(events_of(walkers()))]
    assert len(delays[EXACT]) == len(delays[NOISY]) == 4
    assert max(delays[EXACT]) <= rules.EXCURSION_S + 1.5 / FPS
    assert min(delays[NOISY]) >= rules.EXCURSION_S + rules.HINDSIGHT_S - 0.1
    assert max(delays[NOISY]) <= rules.EXCURSION_S + LATEST_S + 1 / FPS


@given(st.lists(st.floats(0, 7.5), max_size=8), st.booleans())
@examples(10)
def test_a_switch_at_any_time_neither_loses_nor_doubles_a_crossing(times, first):
    """What the camera measures changes from noisy to exact and back, also while people are on the line."""

    def ratio_at(t: float) -> float:
        return NOISY if (sum(time <= t for time in times) + first) % 2 else EXACT

    expected = events_of(walkers())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tracker, "noise_ratio", property(lambda tracker: ratio_at(tracker._t)))
        found = events_of(walkers())
    assert names(found) == names(expected)
    at = {event.id: event.t for event in crossed(expected)}
    assert all(abs(event.t - at[event.id]) < 0.1 for event in crossed(found))
    assert all(event.decided_at - event.t <= rules.LATEST_S for event in crossed(found))


@given(st.lists(st.floats(CALM_RATIO, 3.0), max_size=60))
def test_a_camera_between_the_two_limits_does_not_go_back_and_forth(ratios):
    """Once noisy, only noise below the lower limit ends it, and exact boxes are noisy only from the upper limit on."""
    held = Hindsight(TrackerSettings())
    switches = 0
    for i, ratio in enumerate(ratios):
        before = held.holds
        held.follow(ratio, i / FPS)
        switches += held.holds != before
    assert switches <= 1
    assert held.holds == any(ratio >= USUAL_RATIO for ratio in ratios)


def observed(rows: list[int], t: float) -> Observations:
    count = len(rows)
    estimates = np.tile([50.0, 50, 20, 40, 0, 0, 0, 0, 0.01, 0.01, 0, 0, 1, 1], (count, 1))
    number, moment = np.array(rows, dtype=np.int64), np.full(count, t)
    xyxy = np.tile([40.0, 30, 60, 70], (count, 1))
    index = np.array(rows, dtype=np.intp)
    return Observations(index, moment, moment, number, xyxy, moment, number, number, estimates, moment, (100, 100))


@given(st.lists(st.tuples(st.sets(st.integers(0, 4)), st.floats(0.4, 1.5), st.sets(st.integers(0, 4))), max_size=80))
@examples(40)
def test_every_sight_is_returned_once_and_those_of_an_object_in_order(steps):
    """Whatever the noise does, and whichever objects are released early."""
    held, given_, returned = Hindsight(TrackerSettings()), list[tuple[int, float]](), list[Observations]()
    for i, (rows, ratio, early) in enumerate(steps):
        t = i / FPS
        returned += held.follow(ratio, t)
        if rows:
            given_ += [(row, t) for row in sorted(rows)]
            if held.holds:
                held.hold(observed(sorted(rows), t))
            else:
                returned.append(observed(sorted(rows), t))
        returned += held.due(t)
        returned += held.release(early)
        newest = {row: seen for each in returned for row, seen in zip(each.rows.tolist(), each.t.tolist(), strict=True)}
        assert all(newest.get(row, -1) >= seen for row, seen in given_ if seen <= held.seen_until)
    returned += held.release_all()
    found = [pair for each in returned for pair in zip(each.rows.tolist(), each.t.tolist(), strict=True)]
    assert sorted(found) == sorted(given_)
    for row in range(5):
        assert [t for of, t in found if of == row] == sorted(t for of, t in found if of == row)


def test_an_object_that_vanished_behind_the_line_is_decided_in_time(noise_is):
    """It is seen once beyond the line, so its pass waits for `DECIDE_LATEST_S`; noise makes the wait no longer."""
    noise_is(lambda _: NOISY)
    frames = [frame(i, [(600.0, 394.0 - 36 * (7 - i))]) for i in range(8)]
    frames += [frame(8 + i, []) for i in range(int(5 * FPS))]
    (event,) = crossed(events_of(frames))
    assert rules.DECIDE_LATEST_S <= event.decided_at - event.t <= rules.DECIDE_LATEST_S + 1.5 / FPS


def test_what_was_seen_until_the_decision_is_known_to_it_although_it_is_held_back(noise_is):
    """Seen once beyond the line, hidden, and seen again half a second before the decision: it stayed."""
    noise_is(lambda _: NOISY)
    facts, events = list[object](), list[Event]()
    counter = CameraCounter(IDENTITY, spec(), listener=facts.append)
    for i in range(int(6 * FPS)):
        y = 280.0 + 4 * i  # meets the line after a second
        seen = y < 352 or 380 <= y < 384 or (540 <= y < 600)
        events += counter.update(frame(i, [(600.0, y)] if seen else [])).events
    passages = [fact for fact in facts if isinstance(fact, PassageFacts)]
    assert [step.how for fact in passages for step in fact.facts if isinstance(step, PassCertain)] == [Decision.STAYED]
    (event,) = crossed(events)
    assert rules.DECIDE_LATEST_S <= event.decided_at - event.t <= rules.DECIDE_LATEST_S + 1.5 / FPS


def test_what_was_seen_before_lines_change_is_counted_at_the_old_lines(noise_is):
    noise_is(lambda _: NOISY)
    counter, events = CameraCounter(IDENTITY, spec()), list[Event]()
    other = Line("other", norm((0, 500), (SIZE[0], 500)))
    for i, each in enumerate(walkers()):
        if i == int(2.6 * FPS):  # the first person went over the gate 0.6 s ago
            counter.reconfigure(spec(lines=(other,)))
        events += counter.update(each).events
    gate = [event for event in crossed([*events, *counter.flush()]) if event.line_id == GATE.id]
    assert [round(event.t, 1) for event in gate] == [2.0]


def test_the_end_of_the_stream_counts_what_is_held_back(noise_is):
    noise_is(lambda _: NOISY)
    frames = walkers()[: int(2.6 * FPS)]
    assert [round(event.t, 1) for event in crossed(events_of(frames))] == [2.0]


def test_speed_and_heading_are_known_of_noisy_boxes_too(noise_is):
    found: dict[float, list[Crossing]] = {}
    for ratio in (EXACT, NOISY):
        noise_is(lambda _, ratio=ratio: ratio)
        found[ratio] = sorted(crossed(events_of(walkers())), key=lambda event: event.track)
    for exact, noisy in zip(found[EXACT], found[NOISY], strict=True):
        assert noisy.heading_deg == pytest.approx(exact.heading_deg, abs=5)
