"""One version of a model takes over from another: no event is lost or counted twice, at whatever time the change is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import GATE, HEIGHT, ROOM, SIZE, spec, tracked
from tests.fixtures.examples import examples

from countline_counting import rules
from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing, Direction, Event, OccupancySample, Visit
from countline_counting.frames import DetectionFrame, TrackedFrame
from countline_counting.handover import HandOver, shared_places
from countline_counting.identity import Identity, event_id
from countline_counting.objects.kinship import Kinship
from countline_counting.paths import Trajectory
from countline_counting.spec import Line

FPS = 10
OLD, NEW = Identity("camera", 1, "old"), Identity("camera", 1, "new")
SEEDS = st.integers(0, 2**32 - 1)
SHARED = shared_places(spec(zones=[ROOM]), spec(zones=[ROOM]))


def crossing(run: Identity, track: int, t: float, decided_at: float, direction=Direction.IN, line=GATE) -> Crossing:
    name = event_id(run, "line", line.id, line.version, track, 0)
    return Crossing(name, line.id, line.version, track, 0, t, decided_at, 0, direction, 0, 0.9, stitched=False)


@dataclass
class Saying:
    """The events of a run, by the number of the frame."""

    run: Identity
    events: dict[int, list[Event]] = field(default_factory=dict)

    def decides(self, event: Event, decided_at: float) -> None:
        self.events.setdefault(int(np.ceil(decided_at * FPS - 1e-6)), []).append(event)


def counted(
    old: Saying, new: Saying, frames: Iterable[tuple[TrackedFrame, TrackedFrame]], at: float, shared=SHARED
) -> list[tuple[Identity, Event]]:
    """Run both through a hand-over at `at` and the new one to its end; return what counts."""
    hand_over, kept = HandOver(shared), list[tuple[Identity, Event]]()
    ended = False
    for seen_by_old, seen_by_new in frames:
        t, index = seen_by_old.t, seen_by_old.index
        if hand_over.at is None and t >= at:
            hand_over.take_over(t)
        if not ended:
            kept += [(OLD, event) for event in hand_over.old(seen_by_old, old.events.get(index, ()))]
        if not ended and t >= at + rules.HAND_OVER_S + rules.LATEST_S:
            later = [event for when, events in old.events.items() if when > index for event in events]
            assert not [e for e in later if isinstance(e, Crossing) and e.t < at + rules.HAND_OVER_S - 1 / FPS]
            kept += [(OLD, event) for event in hand_over.end_old(())]
            ended = True
        events = new.events.get(index, [])
        kept += [(NEW, event) for event in (events if hand_over.is_over else hand_over.new(seen_by_new, events))]
    if not ended:
        kept += [(OLD, event) for event in hand_over.end_old(())]
    return [*kept, *((NEW, event) for event in hand_over.end_new(()))]


def crowd(
    rng: np.random.Generator, people: int, seconds: float, jitter_s: float
) -> tuple[Saying, Saying, list[tuple[TrackedFrame, TrackedFrame]]]:
    """People who cross the gate side by side at random times, each seen a little differently by two models.

    Each has a place of its own from a second before to a second after he crosses, under another id in either run.
    """
    old, new = Saying(OLD), Saying(NEW)
    times = rng.uniform(5, seconds - 5, people)
    numbers = rng.permutation(people)
    for who, t in enumerate(times.tolist()):
        direction = Direction.IN if rng.random() < 0.5 else Direction.OUT
        # The boxes of the new version may be noisy, so that it decides later.
        runs = (old, who, rules.LATEST_S), (new, int(numbers[who]), rules.NOISY_LATEST_S)
        for saying, track, latest_s in runs:
            seen_t = t + rng.uniform(-jitter_s, jitter_s) / 2
            decided_at = seen_t + rng.choice([0.5, 0.6, 1.0, latest_s])
            saying.decides(crossing(saying.run, track, seen_t, decided_at, direction), decided_at)
    frames = []
    for index in range(int(seconds * FPS)):
        t = index / FPS
        here = [who for who in range(people) if abs(times[who] - t) < 2]
        spots = [(who, 50 + 45 * (who % 26), 200 + 100 * (who // 26)) for who in here]
        others = [(int(numbers[who]), x + rng.uniform(-4, 4), y + rng.uniform(-6, 6)) for who, x, y in spots]
        frames.append((tracked(index, t, spots), tracked(index, t, others)))
    return old, new, frames


def crossings(kept: Sequence[tuple[Identity, Event]]) -> list[Crossing]:
    return [event for _, event in kept if isinstance(event, Crossing)]


@given(SEEDS, st.integers(0, 120), st.floats(0, rules.SAME_CROSSING_S), st.floats(0, 40))
@examples(30)
def test_objects_that_both_see_count_once_wherever_the_change_falls(seed, people, jitter_s, at):
    """Up to 120 people in 20 seconds: so many cross within a second that times alone do not distinguish them."""
    old, new, frames = crowd(np.random.default_rng(seed), people, 30.0, jitter_s)
    assert len(crossings(counted(old, new, frames, at))) == people


def test_a_version_with_noisy_boxes_that_decides_late_counts_nothing_twice() -> None:
    old, new, at = Saying(OLD), Saying(NEW), 5.0
    t = at + rules.HAND_OVER_S - 0.5 / FPS
    for saying, decided_at in ((old, t + rules.EXCURSION_S), (new, t + rules.NOISY_LATEST_S)):
        saying.decides(crossing(saying.run, 1, t, decided_at, Direction.IN), decided_at)
    frames = [(seen := tracked(index, index / FPS, [(1, 50, 200)]), seen) for index in range(15 * FPS)]
    assert [run for run, event in counted(old, new, frames, at) if isinstance(event, Crossing)] == [OLD]


@given(SEEDS, st.floats(4, 26))
@example(103237, 15.125)  # each crossing matched the one before it, and one of the 25 was lost
@examples(15)
def test_without_overlapping_boxes_crossings_match_by_time(seed, at):
    """The boxes of two models may differ so much that no track of one pairs with a track of the other."""
    rng = np.random.default_rng(seed)
    old, new = Saying(OLD), Saying(NEW)
    times = np.arange(5, 25, 0.8) + rng.uniform(-0.05, 0.05, 25)
    for who, t in enumerate(times.tolist()):
        for saying in (old, new):
            seen_t = t + rng.uniform(-0.15, 0.15)
            saying.decides(crossing(saying.run, who, seen_t, seen_t + 0.5), seen_t + 0.5)
    frames = [(tracked(i, i / FPS, ()), tracked(i, i / FPS, ())) for i in range(300)]
    assert len(crossings(counted(old, new, frames, at))) == len(times)


@given(SEEDS, st.floats(4, 26))
@examples(15)
def test_what_only_one_of_the_two_sees_counts_where_that_one_counts(seed, at):
    """Well before T, all crossings of the old run count and none of the new run; well after T, the reverse."""
    rng = np.random.default_rng(seed)
    old, new, frames = crowd(rng, 60, 30.0, 0.2)
    for saying in (old, new):
        for events in saying.events.values():
            events[:] = [event for event in events if rng.random() > 0.3]
    by_old, by_new = _times(old), _times(new)
    kept = {event.t for event in crossings(counted(old, new, frames, at))}
    change = next(frame.t for frame, _ in frames if frame.t >= at)
    doubtful_s = rules.HAND_OVER_S + rules.SAME_CROSSING_S  # or the counterpart counts, dated by the other run
    for t in by_old:
        assert (t in kept) == (t < change) or abs(t - change) <= doubtful_s
    for t in by_new:
        assert (t in kept) == (t > change) or abs(t - change) <= doubtful_s


def _times(saying: Saying) -> set[float]:
    return {event.t for events in saying.events.values() for event in events if isinstance(event, Crossing)}


def test_two_objects_that_cross_at_once_in_one_direction_are_distinguished_by_their_boxes():
    """The old run misses B and the new run misses A. By their times alone, the two would be one crossing."""
    old, new = Saying(OLD), Saying(NEW)
    old.decides(crossing(OLD, 1, 10.0, 10.5), 10.5)
    new.decides(crossing(NEW, 2, 10.1, 10.6), 10.6)
    spots = [(1, 300, 300), (2, 600, 300)]
    frames = [(tracked(i, i / FPS, spots), tracked(i, i / FPS, spots)) for i in range(200)]
    assert len(crossings(counted(old, new, frames, 10.05))) == 2


def test_the_two_directions_and_two_lines_are_not_taken_for_each_other():
    other = Line("other", GATE.points)
    shared = shared_places(spec(lines=[GATE, other]), spec(lines=[GATE, other]))
    old, new = Saying(OLD), Saying(NEW)
    old.decides(crossing(OLD, 1, 10.0, 10.5), 10.5)
    new.decides(crossing(NEW, 1, 10.0, 10.5, Direction.OUT), 10.5)
    new.decides(crossing(NEW, 1, 10.1, 10.6, line=other), 10.6)
    frames = [(tracked(i, i / FPS, ()), tracked(i, i / FPS, ())) for i in range(200)]
    assert len(crossings(counted(old, new, frames, 10.0, shared))) == 3


@pytest.mark.parametrize(("t", "by_old", "by_new"), [(9.9, True, False), (10.1, False, True)])
def test_a_line_that_only_one_of_them_counts_changes_hands_at_the_moment_itself(t, by_old, by_new):
    drawn_anew = Line("gate", GATE.points, version=2)
    old, new = Saying(OLD), Saying(NEW)
    old.decides(crossing(OLD, 1, t, t + 0.5), t + 0.5)
    new.decides(crossing(NEW, 1, t, t + 0.5, line=drawn_anew), t + 0.5)
    frames = [(tracked(i, i / FPS, ()), tracked(i, i / FPS, ())) for i in range(200)]
    kept = counted(old, new, frames, 10.0, shared_places(spec(), spec(lines=[drawn_anew])))
    assert [run.run for run, event in kept if isinstance(event, Crossing)] == ["old"] * by_old + ["new"] * by_new


# The same with two whole counters over the same pictures ------------------------------------------------------------


def walkers(seed: int, people: int, seconds: float, noise: float = 0.0) -> list[DetectionFrame]:
    """People who walk up and down through the gate and the room, each in a lane of its own; boxes differ by `noise`."""
    rng, shaking = np.random.default_rng(seed), np.random.default_rng((seed, int(1000 * noise)))
    lanes = np.linspace(340, 860, people)
    phases, periods = rng.uniform(0, 8, people), rng.uniform(6, 11, people)
    frames = []
    for i in range(int(seconds * FPS)):
        feet = 360 + 200 * np.sin(2 * np.pi * (i / FPS + phases) / periods) + shaking.normal(0, noise, people)
        rows = [[x - 20, y - HEIGHT, x + 20, y, 0.9, 0] for x, y in zip(lanes, feet, strict=True)]
        frames.append(DetectionFrame("camera", i, i / FPS, SIZE, np.array(rows, np.float32)))
    return frames


@dataclass
class Change:
    """The events over a change of version, and the run of each."""

    old: list[Event] = field(default_factory=list)
    new: list[Event] = field(default_factory=list)
    over_at: float | None = None
    """Time from which on every event of the new run counts."""

    @property
    def events(self) -> list[Event]:
        return [*self.old, *self.new]

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


def change(old_frames: list[DetectionFrame], new_frames: list[DetectionFrame], first: int, at: float) -> Change:
    """The new counter starts at frame `first`; both are led through a hand-over at `at`."""
    counting = spec(zones=[ROOM])
    old = CameraCounter(OLD, counting, trajectories=True)
    new = CameraCounter(NEW, counting)
    hand_over, kept, ended = HandOver(shared_places(counting, counting)), Change(), False
    for i, (seen_by_old, seen_by_new) in enumerate(zip(old_frames, new_frames, strict=True)):
        t = seen_by_old.t
        if hand_over.at is None and t >= at:
            hand_over.take_over(t)
            old.end_paths()
            new.begin_paths()
        if not ended:
            result = old.update(seen_by_old)
            kept.old += hand_over.old(result.tracked, result.events)
            ended = hand_over.at is not None and t >= hand_over.at + rules.HAND_OVER_S + rules.LATEST_S
            kept.old += hand_over.end_old(old.flush()) if ended else ()
        if i >= first:
            result = new.update(seen_by_new)
            kept.new += hand_over.new(result.tracked, result.events)
        if kept.over_at is None and hand_over.is_over:
            kept.over_at = t
    if not ended:
        kept.old += hand_over.end_old(old.flush())
    kept.new += hand_over.end_new(new.flush())
    return kept


def undisturbed(frames: list[DetectionFrame]) -> Change:
    counter = CameraCounter(OLD, spec(zones=[ROOM]), trajectories=True)
    events = [event for frame in frames for event in counter.update(frame).events]
    return Change([*events, *counter.flush()])


@given(SEEDS, st.integers(1, 12), st.floats(8, 26), st.sampled_from([0.0, 1.0]))
@examples(4)
def test_two_counters_over_one_crowd_count_what_one_of_them_counts_alone(seed, people, at, noise):
    frames, others = walkers(seed, people, 30.0), walkers(seed, people, 30.0, noise)
    alone = undisturbed(frames)
    assume(_agree(alone, undisturbed(others)))  # noise may give one run another crossing; then neither is right
    kept = change(frames, others, int((at - rules.WARM_UP_S) * FPS), at)
    assert len(kept.of(Crossing)) == len(alone.of(Crossing))
    assert len({event.id for event in kept.of(Crossing)}) == len(kept.of(Crossing))
    assert len(kept.of(Visit)) == len(alone.of(Visit))
    dwell = [round(sum(visit.dwell_s for visit in each.of(Visit))) for each in (kept, alone)]
    assert abs(dwell[0] - dwell[1]) <= 0.2 * people + 1


def _agree(one: Change, other: Change) -> bool:
    def crossed(change: Change) -> list[tuple[int, str]]:
        events = sorted(change.of(Crossing), key=lambda event: event.t)
        return [(round(event.t), event.direction.value) for event in events]

    near = len(crossed(one)) == len(crossed(other)) and len(one.of(Visit)) == len(other.of(Visit))
    pairs = zip(crossed(one), crossed(other), strict=False)
    return near and all(abs(first[0] - second[0]) <= 1 for first, second in pairs)


def test_a_visit_over_the_change_counts_once_with_its_whole_length():
    """A person is in the room from before the warm-up until long after the old run has ended."""
    frames = [
        DetectionFrame("camera", i, i / FPS, SIZE, np.array([[580, y - HEIGHT, 620, y, 0.9, 0]], np.float32))
        for i, y in enumerate(np.concatenate([np.linspace(150, 350, 20), np.full(300, 350), np.linspace(350, 650, 40)]))
    ]
    (visit,) = change(frames, frames, 100, 15.0).of(Visit)
    (alone,) = undisturbed(frames).of(Visit)
    assert (visit.entered_at, visit.left_at) == (alone.entered_at, alone.left_at)
    assert visit.dwell_s == pytest.approx(alone.dwell_s)
    assert visit.dwell_s > 30
    assert (visit.born_inside, visit.lost_inside) == (False, False)


def test_a_visit_that_the_new_version_never_saw_counts_when_that_version_loses_the_object():
    """A person stands at the edge of the room for 25 s, but outside for the new version. Later another one walks by."""

    def seen(lower_px: float) -> list[DetectionFrame]:
        feet = np.concatenate([np.linspace(300, 490, 20), np.full(230, 490)]) + lower_px
        inside = [[[580, y - HEIGHT, 620, y, 0.9, 0]] for y in feet]
        outside = [[[1000, y - HEIGHT, 1040, y, 0.9, 0]] for y in np.linspace(100, 600, 150)]
        rows = enumerate([*inside, *outside])
        return [DetectionFrame("camera", i, i / FPS, SIZE, np.array(row, np.float32)) for i, row in rows]

    kept = change(seen(0), seen(20), 100, 15.0)
    (visit,) = kept.of(Visit)
    assert visit in kept.new
    assert visit.entered_at + visit.dwell_s == pytest.approx(15.0 + rules.HAND_OVER_S + rules.LATEST_S)
    assert kept.over_at == pytest.approx(25.0 + rules.OBJECT_UNSEEN_S + rules.STALL_S, abs=0.3)


def test_occupancy_is_sampled_at_the_change_and_one_run_reports_each_moment():
    frames = [
        DetectionFrame("camera", i, i / FPS, SIZE, np.array([[580, 270, 620, 350, 0.9, 0]], np.float32))
        for i in range(250)
    ]
    kept = change(frames, frames, 100, 15.0)
    of_old = [event for event in kept.old if isinstance(event, OccupancySample)]
    first, *_ = [event for event in kept.new if isinstance(event, OccupancySample)]
    assert max(sample.t for sample in of_old) < 15.0
    assert (first.t, first.count) == (15.0, 1)


def test_paths_end_and_begin_at_the_change():
    frames = walkers(1, 3, 30.0)
    kept = change(frames, frames, 100, 15.0)
    of_old = [event.path for event in kept.old if isinstance(event, Trajectory)]
    of_new = [event.path for event in kept.new if isinstance(event, Trajectory)]
    assert of_old
    assert of_new
    assert max(path.end for path in of_old) <= 15.0 <= min(path.start for path in of_new) + 1 / FPS
    assert all(path.part == 0 for path in of_new)


def test_after_the_change_nothing_is_held_of_what_was_before():
    counting = spec()
    frames = walkers(2, 6, 40.0)
    hand_over = HandOver(shared_places(counting, counting))
    old, new = CameraCounter(OLD, counting), CameraCounter(NEW, counting)
    for frame in frames[:100]:
        result = old.update(frame)
        hand_over.old(result.tracked, result.events)
        result = new.update(frame)
        hand_over.new(result.tracked, result.events)
    assert not hand_over.is_over
    hand_over.take_over(10.0)
    hand_over.end_old(old.flush())
    for frame in frames[100:]:
        result = new.update(frame)
        hand_over.new(result.tracked, result.events)
    assert hand_over.is_over


def test_tracks_are_one_where_each_is_the_others_nearest():
    kin = Kinship()
    kin.see_old(tracked(0, 1.0, [(1, 100, 300), (2, 130, 300)]))
    kin.see_new(tracked(0, 1.0, [(7, 102, 300), (8, 128, 300)]))
    assert [kin.votes(old, new) for old, new in ((1, 7), (2, 8), (1, 8), (2, 7))] == [1, 1, 0, 0]
    assert kin.are_strangers(1, 8)
    assert not kin.are_strangers(1, 9)
    kin.see_new(tracked(1, 2.0, [(7, 100, 300)]))
    kin.see_old(tracked(1, 2.0, [(1, 100, 300)]))
    assert kin.votes(1, 7) == 2
    kin.see_old(tracked(2, 3.0, [(1, 100, 300)]))
    kin.see_new(tracked(2, 3.1, [(9, 100, 300)]))
    assert kin.votes(1, 9) == 0, "boxes of different moments say nothing"
