"""From the facts about one object at one line to candidates."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from countline_counting import rules
from countline_counting.explain.distances import apart_px, past_the_end_px, path_point, signed_px
from countline_counting.explain.journal import Candidate, Gate, Journal, PathPoint
from countline_counting.geometry.segments import Point, PolyLine
from countline_counting.reasons import Reason
from countline_counting.rule.facts import (
    ClearAgain,
    Evidence,
    Met,
    PassageFacts,
    PassCertain,
    PassDropped,
    PassHeld,
    SideTaken,
)
from countline_counting.rule.passes import Pass, Sight, direction_of
from countline_counting.spec import Line

BESIDE_HEIGHTS: Final = 1.0
"""An object that passes a line's end farther away than this is not near the line."""

_SLACK: Final = rules.TIME_SLACK_S
"""A gate is passed within this of its limit."""

_LEAST_EVIDENCE: Final = {
    Evidence.CLEAR: rules.ORIGIN_CLEAR_HEIGHTS,
    Evidence.STAY: rules.ORIGIN_STAY_S,
    Evidence.MOTION: rules.APPROACH_DEVIATIONS,
    Evidence.BORDER: 0.0,
    Evidence.ROUND_THE_END: rules.DESTINATION_CLEAR_HEIGHTS,
}


@dataclass(frozen=True, slots=True)
class _Meeting:
    """The path met the line."""

    sign: int
    t: float
    places: tuple[PathPoint, ...]


@dataclass(frozen=True, slots=True)
class _HeldPass:
    """A pass that is held back, with the meetings that make it up."""

    meetings: list[_Meeting]
    clear: PathPoint
    gate: Gate


class PassageExplainer:
    """Settles each meeting of one object with one line, and each near miss.

    Args:
        journal: receives the candidates, apart from passes that are certain.
        line: the line.
        path: the line in pixels.
        track: number of the object.
    """

    def __init__(self, journal: Journal, line: Line, path: PolyLine, track: int) -> None:
        self._journal, self._line, self._path, self._track = journal, line, path, track
        self._pending: list[_Meeting] = []
        self._held: _HeldPass | None = None
        self._origin: tuple[Gate, PathPoint] | None = None
        self._farthest: PathPoint | None = None
        """The farthest sight beyond the line since the last meeting."""
        self._before_side_heights = 0.0
        """Largest distance from the line before the first meeting, while the side was unknown."""
        self._touch: PathPoint | None = None
        self._beside: tuple[float, PathPoint] | None = None
        """Distance in heights at which the path went past the line's end, and where."""
        self._before: tuple[float, Point] | None = None
        self._sight: Sight | None = None
        self._clear_heights = rules.DESTINATION_CLEAR_HEIGHTS
        """How far beyond the line the object must be seen."""

    def take(self, step: PassageFacts) -> list[tuple[Pass, Candidate]]:
        """Take the facts of one step; return the passes that became certain, as candidates still to be judged."""
        certain = []
        self._clear_heights = step.clear_heights
        if step.sight is not None:
            self._before, self._sight = step.before, step.sight
        for fact in step.facts:
            match fact:
                case Met():
                    self._meet(fact)
                case SideTaken():
                    self._take_side(fact)
                case ClearAgain():
                    self._turn_back(fact.side)
                case PassHeld():
                    self._hold(fact)
                case PassDropped():
                    self._drop_held(fact)
                case PassCertain():
                    certain.append((fact.made, self._certain(fact)))
        if step.ended:
            self._end(step.side)
        elif step.sight is not None:
            self._look_about(step.sight, step.side)
        return certain

    def _meet(self, fact: Met) -> None:
        before, sight = self._before, self._sight
        assert before is not None
        assert sight is not None
        (x, y), (was_x, was_y) = sight.xy_px, before[1]
        at = (was_x + fact.fraction * (x - was_x), was_y + fact.fraction * (y - was_y))
        places = (
            path_point(self._path, "before", *before, sight.height_px),
            PathPoint("met", fact.t, at, 0.0),
            _seen("after", sight),
        )
        self._pending.append(_Meeting(fact.sign, fact.t, places))
        self._touch = self._beside = None
        self._journal.appear(self._line.id, direction_of(fact.sign))
        if fact.already_beyond:
            self._settle(self._pending, Reason.ALREADY_BEYOND)
            self._pending = []

    def _take_side(self, fact: SideTaken) -> None:
        assert self._sight is not None
        if fact.how is not Evidence.MOTION:  # else the meetings become a pass
            self._drop_meetings(fact)
        least = _LEAST_EVIDENCE[fact.how]
        gate = Gate(f"origin {fact.how.value}", fact.value, least, fact.value >= least - _SLACK)
        self._origin = gate, _seen("origin", self._sight)
        self._touch = None

    def _drop_meetings(self, fact: SideTaken) -> None:
        went_round = fact.how is Evidence.ROUND_THE_END
        reason = Reason.WENT_ROUND_THE_END if went_round else Reason.NEVER_CLEAR_AT_ORIGIN
        self._settle(self._pending, reason, self._missed_gate(reason))
        if went_round and not self._pending and self._beside is not None:
            heights, place = self._beside
            if heights <= BESIDE_HEIGHTS:
                self._settle_unmet(fact.side, reason, Gate("beside the end", heights, 0.0, passed=False), place)
        self._pending, self._farthest, self._beside = [], None, None

    def _turn_back(self, side: int) -> None:
        self._settle(self._pending, Reason.TURNED_BACK, self._missed_gate(Reason.TURNED_BACK))
        self._settle_touch(side)
        self._pending, self._farthest, self._beside = [], None, None

    def _hold(self, fact: PassHeld) -> None:
        assert self._sight is not None
        gate = Gate("destination clear", fact.beyond_heights, fact.least_heights, passed=True)
        self._held = _HeldPass(self._pending, _seen("clear", self._sight), gate)
        self._pending, self._farthest = [], None

    def _drop_held(self, fact: PassDropped) -> None:
        held = self._held
        assert held is not None
        too_soon = fact.reason is Reason.CAME_BACK_TOO_SOON
        limit = rules.EXCURSION_S if too_soon else float(rules.EXCURSION_SAMPLES)
        failed = Gate("excursion seconds" if too_soon else "excursion sights", fact.value, limit, passed=False)
        self._settle([*held.meetings, *self._pending], fact.reason, (held.gate, failed), held.clear)
        self._held, self._pending, self._farthest = None, [], None

    def _certain(self, fact: PassCertain) -> Candidate:
        held = self._held
        assert held is not None
        made, meetings = fact.made, held.meetings
        counted = max(i for i, meeting in enumerate(meetings) if meeting.sign == made.sign)
        self._settle([meeting for i, meeting in enumerate(meetings) if i != counted], Reason.SAME_PASS)
        enough_s = fact.waited_s >= rules.EXCURSION_S - _SLACK
        waited = Gate("excursion seconds", fact.waited_s, rules.EXCURSION_S, enough_s)
        seen = Gate("excursion sights", fact.sights, rules.EXCURSION_SAMPLES, fact.sights >= rules.EXCURSION_SAMPLES)
        places = (*meetings[counted].places, held.clear)
        candidate = self._candidate(made.sign, made.t, None, (held.gate, waited, seen), places)
        origin = Gate("origin passed", held.gate.value, held.gate.limit, passed=True)
        self._origin = origin, replace(held.clear, what="origin")
        self._held = None
        return replace(candidate, decided=fact.how.value)

    def _end(self, side: int) -> None:
        reason = Reason.ENDED_NEAR_THE_LINE if side else Reason.NEVER_CLEAR_AT_ORIGIN
        self._settle(self._pending, reason, self._missed_gate(reason))
        self._settle_touch(side)
        self._pending = []

    def _look_about(self, sight: Sight, side: int) -> None:
        """Measure the sight after the step: how far it is from the line, a touch, a step past the line's end."""
        if self._pending and sight.distance_heights * self._pending[-1].sign > 0:
            if self._farthest is None or abs(sight.distance_heights) > abs(self._farthest.distance_heights):
                self._farthest = _seen("farthest", sight)
        elif not self._pending and side == 0:
            self._before_side_heights = max(self._before_side_heights, abs(sight.distance_heights))
        elif not self._pending and self._held is None:
            self._notice_step_past_the_end(sight)
            self._notice_touch(sight)

    def _notice_step_past_the_end(self, sight: Sight) -> None:
        before = self._before
        if before is None or before[1] == sight.xy_px:
            return
        if signed_px(self._path, before[1]) * sight.distance_heights < 0:
            heights = past_the_end_px(self._path, before[1], sight.xy_px) / sight.height_px
            self._beside = heights, _seen("after", sight)

    def _notice_touch(self, sight: Sight) -> None:
        nearest = abs(self._touch.distance_heights) if self._touch is not None else rules.ORIGIN_NEAR_HEIGHTS
        is_nearer = abs(sight.distance_heights) < nearest
        if is_nearer and apart_px(self._path, sight.xy_px) < rules.ORIGIN_NEAR_HEIGHTS * sight.height_px:
            self._touch = _seen("nearest", sight)

    def _settle_touch(self, side: int) -> None:
        if self._touch is not None and side != 0:
            gate = Gate("meets the line", abs(self._touch.distance_heights), 0.0, passed=False)
            self._settle_unmet(-side, Reason.TOUCHED_ONLY, gate, self._touch)
        self._touch = None

    def _missed_gate(self, reason: Reason) -> tuple[Gate, ...]:
        """Return the gate at which a meeting without a pass failed: the distance before the line, or beyond it."""
        if reason is Reason.NEVER_CLEAR_AT_ORIGIN:
            return (Gate("origin clear", self._before_side_heights, rules.ORIGIN_CLEAR_HEIGHTS, passed=False),)
        value = abs(self._farthest.distance_heights) if self._farthest is not None else 0.0
        limit = self._clear_heights
        return (Gate("destination clear", value, limit, value >= limit),)

    def _settle(
        self, meetings: Iterable[_Meeting], reason: Reason, gates: tuple[Gate, ...] = (), last: PathPoint | None = None
    ) -> None:
        end = last or self._farthest
        for meeting in meetings:
            places = (*meeting.places, end) if end is not None else meeting.places
            self._journal.settle(self._candidate(meeting.sign, meeting.t, reason, gates, places))

    def _settle_unmet(self, sign: int, reason: Reason, gate: Gate, place: PathPoint) -> None:
        self._journal.appear(self._line.id, direction_of(sign))
        self._journal.settle(self._candidate(sign, place.t, reason, (gate,), (place,)))

    def _candidate(
        self, sign: int, t: float, reason: Reason | None, gates: tuple[Gate, ...], places: tuple[PathPoint, ...]
    ) -> Candidate:
        if self._origin is not None:
            gates, places = (self._origin[0], *gates), (self._origin[1], *places)
        line = self._line
        return Candidate(line.id, line.version, self._track, direction_of(sign), t, reason, "", gates, places)


def _seen(what: str, sight: Sight) -> PathPoint:
    return PathPoint(what, sight.t, sight.xy_px, sight.distance_heights)
