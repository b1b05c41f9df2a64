"""Two branches reported as one: in order, each moment by one branch, whichever answers first or falls silent."""

import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import GATE, ROOM, spec, tracked
from tests.fixtures.examples import examples

from countline_counting import rules
from countline_counting.counter import FrameResult
from countline_counting.events import Crossing, Direction, Event, Visit
from countline_counting.handover import shared_places
from countline_counting.identity import Identity
from countline_pipelines.planes.interface import CountedFrame, RunStarted
from countline_pipelines.planes.software.change.router import CHANGE_PATIENCE_S, STALE_S, BranchRouter

FPS = 10
OLD, NEW = Identity("cam", 1, "old"), Identity("cam", 1, "new")


@dataclass
class Report:
    """Keeps what the router reports."""

    frames: list[tuple[str, float]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    starts: list[RunStarted] = field(default_factory=list)

    def run_started(self, run: RunStarted) -> None:
        self.starts.append(run)
        self.calls.append(f"{run.identity.run} started")

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        self.frames.append((identity.run, counted.result.tracked.t))
        self.events += counted.result.events

    def events_decided(self, identity: Identity, t: float, events) -> None:
        self.calls.append(f"{identity.run} late")
        self.events += events

    def run_ended(self, identity: Identity, events) -> None:
        self.calls.append(f"{identity.run} ended")
        self.events += events or ()

    @property
    def times(self) -> list[float]:
        return [t for _, t in self.frames]

    def of(self, run: str) -> list[float]:
        return [t for name, t in self.frames if name == run]


class Change:
    """A router with both its branches."""

    def __init__(self, *, waits: bool = False, old_run: Identity | None = OLD) -> None:
        self.report = Report()
        self.said: list[str] = []
        counting = spec(zones=[ROOM])
        shared = shared_places(counting, counting)
        self.router = BranchRouter(self.report, lambda: shared, old_run, self, waits=waits)
        self._runs: dict[int, Identity] = {id(self.router.old): OLD}

    def warm_at(self, t: float) -> None:
        self.said.append(f"warm at {t:g}")

    def taken_over(self) -> None:
        self.said.append("taken")

    def old_done(self) -> None:
        self.said.append("old done")

    def frame(self, inlet, identity: Identity, t: float, *events: Event) -> None:
        if self._runs.get(id(inlet)) != identity:
            self._runs[id(inlet)] = identity
            inlet.run_started(RunStarted(identity, (1280, 720), (), 1 / FPS, finite=False))
        seen = tracked(round(t * FPS), t, [(1, 600.0, 300.0)])
        inlet.frame_counted(identity, CountedFrame(FrameResult(seen, tuple(events)), 0, None))

    def old(self, t: float, *events: Event, run: Identity = OLD) -> None:
        self.frame(self.router.old, run, t, *events)

    def new(self, t: float, *events: Event, run: Identity = NEW) -> None:
        self.frame(self.router.new, run, t, *events)

    def both(self, start: float, end: float, lag_s: float = 0.0) -> None:
        """Frames of both; those of the new one come so much later, or earlier."""
        for index in range(round((start + min(0, lag_s)) * FPS), round((end + max(0, lag_s)) * FPS)):
            if start * FPS <= index < end * FPS:
                self.old(index / FPS)
            if start <= (t := (index - round(lag_s * FPS)) / FPS) < end:
                self.new(t)


def crossing(run: Identity, t: float) -> Crossing:
    return Crossing(f"{run.run} {t}", GATE.id, 1, 1, 0, t, t + 0.5, 0, Direction.IN, 0, 0.9, stitched=False)


def stay(run: Identity, entered_at: float, until: float) -> Visit:
    """A visit that goes on when counting ends."""
    dwell_s = until - entered_at
    return Visit(run.run, ROOM.id, 1, 1, 0, entered_at, None, dwell_s, 0, until, True, True, stitched=False)


def times(start: float, end: float) -> list[float]:
    return pytest.approx([index / FPS for index in range(round(start * FPS), round(end * FPS))])


@pytest.mark.parametrize("lag_s", [0.0, 0.3, -0.3, 0.9, 2.0, 4.0])
def test_each_frame_is_reported_once_whichever_branch_is_behind(lag_s: float) -> None:
    change = Change()
    change.both(0, 30, lag_s)
    assert change.said == ["warm at 5", "taken", "old done"]
    assert change.report.times == times(0, 30)
    assert change.report.of("old") == times(0, 5)
    (start,) = change.report.starts
    assert start.since == pytest.approx(4.9)


@given(st.integers(0, 2**32 - 1))
@examples(20)
def test_the_report_of_a_file_does_not_depend_on_whom_triton_answers_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = []
    for shuffled in (False, True):
        change = Change(waits=True)
        steps = [(index, who) for index in range(20 * FPS) for who in ("old", "new")]
        if shuffled:  # each in its own order, at most eight frames apart
            steps.sort(key=lambda step: step[0] + (rng.uniform(0, 8) if step[1] == "new" else 0))
            steps = [(next(queue), who) for queues in [_queues(steps)] for _, who in steps for queue in [queues[who]]]
        for index, who in steps:
            run, say = (OLD, change.old) if who == "old" else (NEW, change.new)
            say(index / FPS, *([crossing(run, index / FPS - 0.5)] if index % 7 == 0 and index > 5 else []))
        change.router.drain()
        found.append((change.report.frames, change.report.events, change.report.calls))
    assert found[0] == found[1]
    assert len(found[0][1]) == len([index for index in range(20 * FPS) if index % 7 == 0 and index > 5])


def _queues(steps: list[tuple[int, str]]):
    return {who: iter(sorted(index for index, name in steps if name == who)) for who in ("old", "new")}


def test_a_new_branch_that_stays_silent_holds_nothing_up() -> None:
    change = Change()
    change.new(0.0)
    for index in range(30 * FPS):
        change.old(index / FPS)
        assert index / FPS - max(change.report.times, default=0.0) <= CHANGE_PATIENCE_S + 0.2
    assert change.said == ["warm at 5"]
    change.both(30, 40)
    assert change.said == ["warm at 5", "taken", "old done"]
    assert change.report.times == times(0, 40)


def test_an_old_branch_that_stays_silent_is_not_waited_for_long() -> None:
    change = Change()
    change.both(0, 4)
    for index in range(4 * FPS, 30 * FPS):
        change.new(index / FPS)
    assert change.said[-1] == "taken"
    assert max(change.report.times) > 28


@pytest.mark.parametrize("old_first", [True, False])
def test_when_the_old_run_ends_the_next_frame_is_the_new_ones(old_first: bool) -> None:
    """The picture changes its size, or the stream comes back after a long break."""
    change = Change()
    change.both(0, 2)
    change.router.old.run_ended(OLD, [crossing(OLD, 1.9)])
    change.router.new.run_ended(NEW, [crossing(NEW, 1.9)])
    later_old, later_new = Identity("cam", 1, "old 2"), Identity("cam", 1, "new 2")
    for index in range(20 * FPS, 30 * FPS):
        steps = [lambda t: change.old(t, run=later_old), lambda t: change.new(t, run=later_new)]
        for step in steps if old_first else reversed(steps):
            step(index / FPS)
    assert change.report.of("old") == times(0, 2)
    assert change.report.of("new 2") == times(20, 30)
    assert change.report.calls == ["old ended", "new 2 started"]
    assert [event.id for event in change.report.events] == ["old 1.9"]
    assert change.said[-2:] == ["taken", "old done"]


def test_a_source_that_ends_while_the_new_one_warms_up_was_the_old_ones() -> None:
    change = Change(waits=True)
    change.both(0, 3)
    change.router.is_source_over = True
    change.router.old.run_ended(OLD, [crossing(OLD, 2.8)])
    change.router.new.run_ended(NEW, [crossing(NEW, 2.7)])
    change.router.drain()
    assert change.report.times == times(0, 3)
    assert change.report.calls == ["old ended"]
    assert [event.id for event in change.report.events] == ["old 2.8"]


@pytest.mark.parametrize("old_first", [True, False])
def test_a_source_that_ends_after_the_change_is_reported_by_both_branches_and_nothing_twice(old_first: bool) -> None:
    change = Change(waits=True)
    change.both(0, 6)
    change.router.is_source_over = True
    ends = [
        lambda: change.router.old.run_ended(OLD, [crossing(OLD, 5.2), crossing(OLD, 5.95)]),
        lambda: change.router.new.run_ended(NEW, [crossing(NEW, 5.25), crossing(NEW, 5.9)]),
    ]
    for end in ends if old_first else reversed(ends):
        end()
    change.router.drain()
    assert change.report.times == times(0, 6)
    assert sorted(change.report.calls) == ["new ended", "new started", "old ended"]
    assert len(change.report.events) == 2


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(("old_until", "new_until"), [(8.0, 8.0), (7.5, 8.0), (8.0, 7.5)])
@pytest.mark.parametrize("old_first", [True, False])
def test_a_visit_that_goes_on_when_both_are_stopped_is_reported_once_from_where_the_old_one_saw_it_begin(
    old_until: float, new_until: float, *, waits: bool, old_first: bool
) -> None:
    """If the new branch's end came first, the part of the visit that the old one had seen was lost."""
    change = Change(waits=waits)
    change.both(0, 7.5)
    for index in range(75, 80):
        change.old(index / FPS) if index / FPS < old_until else None
        change.new(index / FPS) if index / FPS < new_until else None
    change.router.is_source_over = True
    ends = [
        lambda: change.router.old.run_ended(OLD, [stay(OLD, 0.2, old_until)]),
        lambda: change.router.new.run_ended(NEW, [stay(NEW, 0.4, new_until)]),
    ]
    for end in ends if old_first else reversed(ends):
        end()
    change.router.drain()
    assert [event.entered_at for event in change.report.events] == [0.2]
    assert change.report.times == times(0, new_until)
    assert change.report.calls == ["new started", "old ended", "new ended"]


def test_what_the_old_one_decides_late_is_reported_under_its_own_run() -> None:
    change = Change()
    change.both(0, 5.5)
    change.old(5.5, crossing(OLD, 5.0))
    change.new(5.5)
    change.old(5.6)
    change.new(5.6, crossing(NEW, 5.1))
    assert change.report.calls == ["new started", "old late"]
    assert [event.id for event in change.report.events] == ["old 5.0"]


def test_a_change_that_is_given_up_leaves_everything_to_the_old_one() -> None:
    change = Change(waits=True)
    change.both(0, 3)
    change.old(3.0)
    change.old(3.1)
    change.router.abandon()
    change.new(9.0)
    assert change.said == ["warm at 5"]
    assert change.report.times == times(0, 3.2)
    assert {name for name, _ in change.report.frames} == {"old"}


def test_a_change_that_is_given_up_before_the_new_one_counted_ends_no_paths() -> None:
    """The first frame of the new branch came after the change was abandoned, and ended the paths of the old branch."""
    change = Change()
    change.old(0.0)
    change.router.abandon()
    change.new(0.1)
    change.old(0.1)
    assert change.said == []
    assert change.report.times == times(0, 0.2)


def test_what_is_held_back_while_no_frames_come_is_reported_after_a_while_by_the_clock() -> None:
    change = Change()
    change.both(0, 4.9)
    change.old(4.9)
    change.old(5.0)
    assert change.report.times == times(0, 5.0)
    change.router.tick(time.monotonic() + STALE_S / 2)
    assert change.report.times == times(0, 5.0)
    change.router.tick(time.monotonic() + STALE_S + 1)
    assert change.report.times == times(0, 5.1)


def test_a_camera_without_a_run_is_the_new_ones_from_its_first_frame_on() -> None:
    change = Change(old_run=None)
    later = Identity("cam", 1, "old 2")
    for index in range(20):
        change.old(index / FPS, run=later)
        change.new(index / FPS)
    assert change.report.of("new") == times(0, 2)
    assert change.report.starts[0].since is None


def test_a_change_is_over_when_the_old_one_is_gone_and_the_new_one_is_beyond_doubt() -> None:
    change = Change()
    change.both(0, 9.6)
    assert change.said[-1] == "old done"
    assert not change.router.is_over
    change.router.old.run_ended(OLD, ())
    change.router.old_gone()
    assert change.report.calls[-1] == "old ended"
    for index in range(96, 120):
        change.new(index / FPS)
    assert change.router.is_over
    assert 5 + rules.HAND_OVER_S + rules.SAME_CROSSING_S + rules.NOISY_LATEST_S < 12
