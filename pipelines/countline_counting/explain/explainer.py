"""Why each crossing counted, and why each near-crossing did not.

    camera ─ Explainer ─ one Watcher for each object and line ─ Candidates ─ Journal

A `Journal` given to a `CameraCounter` gets one `Candidate` for everything that could be taken for a crossing: every
meeting of an object's path with a line (so there are as many as exact geometry finds), every touch without a meeting,
and every way past a line's end that comes within a height of it. Each has one outcome, a crossing or a `Reason`, with
the gates that it was measured against. Boxes that are left out before there are objects (masked, duplicate, of a score
too low, not confirmed) are followed as well, so that what they would have crossed has its reason too.

Counting is the same with a journal and without; without one, none of this runs.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.events import Direction
from countline_counting.geometry.segments import Floats, Point, PolyLine, path_crossings
from countline_counting.rule.lines import Pass, Sight, Watch
from countline_counting.rule.reasons import Reason
from countline_counting.spec import Line
from countline_counting.tracking import Tracker, TrackerSettings

BESIDE_HEIGHTS: Final = 1.0
"""Who passes a line's end farther away than this is not near it."""
MAX_CANDIDATES: Final = 200_000
"""So many are kept one by one; totals go on."""
NO_TRACK: Final = 0
"""The track of boxes that were left out: they have none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A piece of the path that mattered."""

    what: str
    """`origin`, `before`, `met`, `after`, `farthest` (beyond the line), `clear` (beyond it) or `nearest` (to it)."""
    t: float
    xy_px: Point
    distance_heights: float
    """From the line, positive on its right-hand side."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A measured value against its limit."""

    name: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something near a line that was a crossing, or was none for one reason."""

    line_id: str
    line_version: int
    track: int
    direction: Direction
    t: float
    reason: Reason | None
    """None: it counted."""
    decided: str = ""
    """How a pass was decided: it `stayed` beyond, `came back later`, was `unseen` for long enough, or `ended`."""
    gates: tuple[Gate, ...] = ()
    path: tuple[Place, ...] = ()
    event_id: str = ""
    """Of the crossing, where it counted."""


@dataclass(slots=True)
class Journal:
    """Collects candidates, and counts them when they appear and again when they are settled: both must agree."""

    candidates: list[Candidate] = field(default_factory=list)
    appeared: Counter[tuple[str, Direction]] = field(default_factory=Counter)
    """By line and direction."""
    settled: Counter[tuple[str, Direction, Reason | None]] = field(default_factory=Counter)
    """By line, direction and outcome; None is a crossing."""

    def appear(self, line_id: str, direction: Direction) -> None:
        """Something comes near a line."""
        self.appeared[line_id, direction] += 1

    def settle(self, candidate: Candidate) -> None:
        """It is known what became of it."""
        self.settled[candidate.line_id, candidate.direction, candidate.reason] += 1
        if len(self.candidates) < MAX_CANDIDATES:
            self.candidates.append(candidate)


class Explainer:
    """Hears of everything that happens near the lines of one camera.

    Args:
        journal: where it is written down.
        track_of: number of the object in a slot.
    """

    def __init__(self, journal: Journal, track_of: Callable[[int], int]) -> None:
        self.journal = journal
        self.track_of = track_of
        self._lines: dict[str, tuple[Line, PolyLine]] = {}
        self._passed: dict[tuple[str, int, int], Candidate] = {}
        self._left_out: dict[Reason, _LeftOut] = {}

    def watch(self, line: Line, path: PolyLine, slot: int) -> Watch:
        """Return what listens to one object at one line."""
        return _Watcher(self, line, path, slot)

    def watch_lines(self, lines: Iterable[tuple[Line, PolyLine]]) -> None:
        """Say which lines there are; boxes that are left out are held against them."""
        self._lines = {line.id: (line, path) for line, path in lines}

    def passed(self, slot: int, sequence: int, candidate: Candidate) -> None:
        """Keep a pass until it is known whether its object may count."""
        self._passed[candidate.line_id, slot, sequence] = candidate

    def judged(
        self, line: Line, slot: int, made: Pass, gates: Sequence[Gate], reason: Reason | None, name: str
    ) -> None:
        """Settle a pass: it counts as the event `name`, or its object does not count for a reason."""
        candidate = self._passed.pop((line.id, slot, made.sequence))
        known = replace(candidate, reason=reason, gates=(*candidate.gates, *gates), event_id="" if reason else name)
        self.journal.settle(known)

    def unconfirmed(self, seen: Sequence[tuple[float, Point]]) -> None:
        """Take the path of something that was taken for false detections."""
        for before, after in pairwise(seen):
            self.cross(before, after, Reason.UNCONFIRMED)

    def left_out(self, t: float, xyxy_px: Floats, xy_px: Floats, ids: NDArray[np.int64] | None, reason: Reason) -> None:
        """Follow (N, 4) boxes, with (N, 2) anchors, that are not used; without ids they are tracked for this alone."""
        followed = self._left_out.get(reason)
        if followed is None:
            followed = self._left_out[reason] = _LeftOut()
        for before, after in followed.steps(t, xyxy_px, xy_px, ids):
            self.cross(before, after, reason)

    def cross(self, before: tuple[float, Point], after: tuple[float, Point], reason: Reason) -> None:
        """Settle what a step of something that is no object would have crossed."""
        for line, path in self._lines.values():
            for fraction, sign in path_crossings(path.points, before[1], after[1]):
                at, direction = before[0] + fraction * (after[0] - before[0]), direction_of(sign)
                self.journal.appear(line.id, direction)
                places = (_place(path, "before", *before), _place(path, "after", *after))
                self.journal.settle(Candidate(line.id, line.version, NO_TRACK, direction, at, reason, path=places))


class _LeftOut:
    """The paths of boxes that are left out for one reason."""

    def __init__(self) -> None:
        self._tracker = Tracker(TrackerSettings(lone_score=0.0, high_score=0.0, low_score=0.0))
        self._last: dict[int, tuple[float, Point]] = {}

    def steps(
        self, t: float, xyxy_px: Floats, xy_px: Floats, ids: NDArray[np.int64] | None
    ) -> list[tuple[tuple[float, Point], tuple[float, Point]]]:
        """Return each followed box's step from where it was before: ((t, xy), (t, xy))."""
        if ids is None:
            share = xy_px - xyxy_px[:, :2]
            table = np.column_stack([xyxy_px, np.ones(len(xyxy_px)), np.arange(len(xyxy_px))])
            ids, _, _, rows = self._tracker.update(table, t)
            xy_px = xyxy_px[rows, :2] + share[rows]
        found = []
        for number, (x, y) in zip(ids.tolist(), xy_px.tolist(), strict=True):
            before, now = self._last.get(number), (t, (x, y))
            if before is not None and t - before[0] <= rules.OBJECT_UNSEEN_S:
                found.append((before, now))
            self._last[number] = now
        self._last = {number: last for number, last in self._last.items() if t - last[0] <= rules.OBJECT_UNSEEN_S}
        return found


@dataclass(frozen=True, slots=True)
class _Meeting:
    """The path met the line."""

    sign: int
    t: float
    places: tuple[Place, ...]


class _Watcher(Watch):
    """What becomes of each meeting of one object with one line."""

    def __init__(self, root: Explainer, line: Line, path: PolyLine, slot: int) -> None:
        self._root, self._line, self._path, self._slot = root, line, path, slot
        self._pending: list[_Meeting] = []
        self._held: tuple[Pass, list[_Meeting], Place, Gate] | None = None
        self._origin: tuple[Gate, Place] | None = None
        self._beyond: Place | None = None
        """The farthest sight beyond the line since it was met."""
        self._far = 0.0
        """How far from the line the object was before it first met it, while it was not known where it comes from."""
        self._touch: Place | None = None
        self._beside: tuple[float, Place] | None = None
        """How far from the line's end the path went past it, in heights, and where."""
        self._step: tuple[float, Point] | None = None
        self._sight: Sight | None = None

    @property
    def open(self) -> bool:
        return bool(self._pending) or self._touch is not None or self._beside is not None

    def step(self, before: tuple[float, Point] | None, sight: Sight) -> None:
        self._step, self._sight = before, sight

    def met(self, sign: int, at: float, fraction: float) -> None:
        before, sight = self._step, self._sight
        assert before is not None
        assert sight is not None
        (x, y), (was_x, was_y) = sight.xy_px, before[1]
        place = Place("met", at, (was_x + fraction * (x - was_x), was_y + fraction * (y - was_y)), 0.0)
        places = (_place(self._path, "before", *before, sight.height_px), place, _seen("after", sight))
        self._pending.append(_Meeting(sign, at, places))
        self._touch = self._beside = None
        self._root.journal.appear(self._line.id, direction_of(sign))

    def took_side(self, how: str, value: float) -> None:
        assert self._sight is not None
        limit = {"clear": rules.ORIGIN_CLEAR_HEIGHTS, "stay": rules.ORIGIN_STAY_S, "border": 0.0}
        least = limit.get(how, rules.DESTINATION_CLEAR_HEIGHTS)
        self._origin = (Gate(f"origin {how}", value, least, value >= least - 1e-6), _seen("origin", self._sight))
        self._beside = self._touch = None

    def held(self, made: Pass, beyond: float) -> None:
        assert self._sight is not None
        limit = rules.DESTINATION_CLEAR_HEIGHTS
        gate = Gate("destination clear", beyond, limit, beyond >= limit)
        self._held = (made, self._pending, _seen("clear", self._sight), gate)
        self._pending, self._beyond = [], None

    def again(self) -> None:
        self._drop(self._pending, Reason.ALREADY_BEYOND)
        self._pending = []

    def undone(self, reason: Reason, value: float) -> None:
        assert self._held is not None
        _, meetings, place, clear = self._held
        too_soon = reason is Reason.CAME_BACK_TOO_SOON
        limit = rules.EXCURSION_S if too_soon else float(rules.EXCURSION_SAMPLES)
        gates = (clear, Gate("excursion seconds" if too_soon else "excursion sights", value, limit, passed=False))
        self._drop([*meetings, *self._pending], reason, gates, place)
        self._held, self._pending, self._beyond = None, [], None

    def certain(self, made: Pass, how: str, waited_s: float, sights: int) -> None:
        assert self._held is not None
        _, meetings, place, clear = self._held
        counted = max(i for i, meeting in enumerate(meetings) if meeting.sign == made.sign)
        self._drop([meeting for i, meeting in enumerate(meetings) if i != counted], Reason.SAME_PASS)
        waited = Gate("excursion seconds", waited_s, rules.EXCURSION_S, waited_s >= rules.EXCURSION_S - 1e-6)
        seen = Gate("excursion sights", sights, rules.EXCURSION_SAMPLES, sights >= rules.EXCURSION_SAMPLES)
        places = (*meetings[counted].places, place)
        candidate = self._candidate(made.sign, made.t, None, (clear, waited, seen), places)
        self._root.passed(self._slot, made.sequence, replace(candidate, decided=how))
        self._origin = (Gate("origin passed", clear.value, clear.limit, passed=True), replace(place, what="origin"))
        self._held = None

    def dropped(self, reason: Reason, side: int) -> None:
        self._drop(self._pending, reason, self._short(reason))
        if reason is Reason.WENT_ROUND_THE_END and not self._pending and self._beside is not None:
            heights, place = self._beside
            if heights <= BESIDE_HEIGHTS:
                self._settle_unmet(side, reason, Gate("beside the end", heights, 0.0, passed=False), place)
        self._pending, self._beyond = [], None

    def clear(self, side: int) -> None:
        self._drop(self._pending, Reason.TURNED_BACK, self._short(Reason.TURNED_BACK))
        self._settle_touch(side)
        self._pending, self._beyond, self._beside = [], None, None

    def stepped(self, side: int) -> None:
        sight = self._sight
        if sight is None:
            return
        if self._pending and sight.distance_heights * self._pending[-1].sign > 0:
            if self._beyond is None or abs(sight.distance_heights) > abs(self._beyond.distance_heights):
                self._beyond = _seen("farthest", sight)
        elif not self._pending and side == 0:
            self._far = max(self._far, abs(sight.distance_heights))
        elif not self._pending and self._held is None:
            self._look_about(sight)

    def ended(self, side: int) -> None:
        reason = Reason.ENDED_NEAR_THE_LINE if side else Reason.NEVER_CLEAR_AT_ORIGIN
        self._drop(self._pending, reason, self._short(reason))
        self._settle_touch(side)
        self._pending = []

    def _look_about(self, sight: Sight) -> None:
        """Notice a touch, and a step past an end of the line."""
        before = self._step
        if before is not None:
            was = float(self._path.signed_distance_px(np.array([before[1]]))[0])
            if was * sight.distance_heights < 0:
                heights = _past_the_end(self._path, before[1], sight.xy_px) / sight.height_px
                self._beside = (heights, _seen("after", sight))
        apart = abs(sight.distance_heights)
        nearest = abs(self._touch.distance_heights) if self._touch is not None else rules.ORIGIN_NEAR_HEIGHTS
        if apart < nearest and _apart_px(self._path, sight.xy_px) < rules.ORIGIN_NEAR_HEIGHTS * sight.height_px:
            self._touch = _seen("nearest", sight)

    def _settle_touch(self, side: int) -> None:
        if self._touch is not None and side != 0:
            apart = abs(self._touch.distance_heights)
            self._settle_unmet(
                -side, Reason.TOUCHED_ONLY, Gate("meets the line", apart, 0.0, passed=False), self._touch
            )
        self._touch = None

    def _short(self, reason: Reason) -> tuple[Gate, ...]:
        """The gate at which a meeting without a pass failed: how far away it came from, or how far beyond it got."""
        if reason is Reason.NEVER_CLEAR_AT_ORIGIN:
            return (Gate("origin clear", self._far, rules.ORIGIN_CLEAR_HEIGHTS, passed=False),)
        value = abs(self._beyond.distance_heights) if self._beyond is not None else 0.0
        limit = rules.DESTINATION_CLEAR_HEIGHTS
        return (Gate("destination clear", value, limit, value >= limit),)

    def _drop(
        self, meetings: Iterable[_Meeting], reason: Reason, gates: tuple[Gate, ...] = (), last: Place | None = None
    ) -> None:
        end = last or self._beyond
        for meeting in meetings:
            places = (*meeting.places, end) if end is not None else meeting.places
            self._root.journal.settle(self._candidate(meeting.sign, meeting.t, reason, gates, places))

    def _settle_unmet(self, sign: int, reason: Reason, gate: Gate, place: Place) -> None:
        self._root.journal.appear(self._line.id, direction_of(sign))
        self._root.journal.settle(self._candidate(sign, place.t, reason, (gate,), (place,)))

    def _candidate(
        self, sign: int, t: float, reason: Reason | None, gates: tuple[Gate, ...], places: tuple[Place, ...]
    ) -> Candidate:
        if self._origin is not None:
            gates, places = (self._origin[0], *gates), (self._origin[1], *places)
        line, track = self._line, self._root.track_of(self._slot)
        return Candidate(line.id, line.version, track, direction_of(sign), t, reason, "", gates, places)


def direction_of(sign: int) -> Direction:
    """The direction of a crossing's sign."""
    return Direction.IN if sign > 0 else Direction.OUT


def _seen(what: str, sight: Sight) -> Place:
    return Place(what, sight.t, sight.xy_px, sight.distance_heights)


def _place(path: PolyLine, what: str, t: float, xy_px: Point, height_px: float = math.nan) -> Place:
    return Place(what, t, xy_px, float(path.signed_distance_px(np.array([xy_px]))[0]) / height_px)


def _apart_px(path: PolyLine, point: Point) -> float:
    """Distance of a point from the line itself, not from its extension."""
    return min(_from_segment(a, b, point) for a, b in pairwise(path.points))


def _past_the_end(path: PolyLine, before: Point, after: Point) -> float:
    """Distance of a step from the nearer end of the line."""
    return min(_from_segment(before, after, end) for end in (path.points[0], path.points[-1]))


def _from_segment(a: Point, b: Point, p: Point) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    share = min(1.0, max(0.0, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length)) if length else 0.0
    return math.hypot(p[0] - a[0] - share * dx, p[1] - a[1] - share * dy)
