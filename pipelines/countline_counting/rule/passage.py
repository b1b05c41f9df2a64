"""The crossing rule for one object at one line. The package's docstring states the rule and draws it."""

from dataclasses import dataclass

from countline_counting import rules
from countline_counting.geometry.segments import Point, PolyLine, path_crossings
from countline_counting.reasons import Reason
from countline_counting.rule.approach import Approach
from countline_counting.rule.facts import (
    ClearAgain,
    Decision,
    Evidence,
    Met,
    PassageFact,
    PassCertain,
    PassDropped,
    PassHeld,
    SideTaken,
)
from countline_counting.rule.jitter import Clearance, LineJitter
from countline_counting.rule.passes import Pass, Sight


@dataclass(slots=True)
class _Held:
    """A pass that waits until it is certain that the object does not come back at once."""

    made: Pass
    sights: int
    """Number of sights beyond the line since the pass."""


class Passage:
    """The state of one object at one line.

    Args:
        facts: receives the facts of each call; None records none.
    """

    __slots__ = (
        "_approach", "_held", "_jitter", "_met", "_near_since", "_net", "_passes", "_sights_beyond", "facts", "side"
    )  # fmt: skip

    def __init__(self, facts: list[PassageFact] | None = None) -> None:
        self.side = 0
        """Side that the object comes from: 1 right, -1 left, 0 unknown."""
        self.facts = facts
        self._net = 0
        """Meetings to the right less meetings to the left since the object was last clear of the line."""
        self._met: dict[int, tuple[float, int]] = {}
        """Time and frame of the last meeting in each direction."""
        self._sights_beyond = 0
        self._passes = 0
        self._held: _Held | None = None
        self._near_since: float | None = None
        self._approach: Approach | None = None
        """Its motion since it came into view near the line, while its side is unknown."""
        self._jitter = LineJitter()

    @property
    def idle(self) -> bool:
        """Whether nothing is open: the next sight matters only if it meets the line or is clear on the other side."""
        return self.side != 0 and self._net == 0 and self._held is None and not self._jitter.deviation_heights

    @property
    def held(self) -> Pass | None:
        """The pass that awaits its decision."""
        return self._held.made if self._held else None

    @property
    def clear_heights(self) -> float:
        """How far beyond the line the object must be seen."""
        return max(rules.DESTINATION_CLEAR_HEIGHTS, rules.JITTER_DEVIATIONS * self._jitter.deviation_heights)

    def see(self, line: PolyLine, before: tuple[float, Point] | None, sight: Sight) -> Pass | None:
        """Take the next sight of the object and return the pass that it makes certain.

        Args:
            line: the line in pixels.
            before: time and anchor of the previous sight, None for the first.
            sight: the new one.
        """
        certain = None
        if before is not None:
            for fraction, sign in path_crossings(line.points, before[1], sight.xy_px):
                at = before[0] + fraction * (sight.t - before[0])
                certain = self._meet_line(sign, at, fraction, sight.frame) or certain
        self._jitter.see(sight.t, sight.distance_heights)
        self._sights_beyond += 1
        if self._held is not None:
            self._held.sights += 1
        elif self.side == 0:
            self._find_origin(sight, is_first=before is None)
        else:
            self._find_destination(sight)
        return certain

    def decide(self, now: float) -> Pass | None:
        """Return the pass that the passing of time has made certain."""
        held = self._held
        if held is None:
            return None
        waited_s, stayed = now - held.made.t, held.sights >= rules.EXCURSION_SAMPLES
        if waited_s < (rules.EXCURSION_S if stayed else rules.DECIDE_LATEST_S) - rules.TIME_SLACK_S:
            return None
        return self._make_certain(held, Decision.STAYED if stayed else Decision.UNSEEN, waited_s)

    def is_overdue(self, now: float) -> bool:
        """Whether the pass has waited for its object for as long as it may."""
        return self._held is not None and now - self._held.made.t >= rules.DECIDE_LATEST_S - rules.TIME_SLACK_S

    def end(self) -> Pass | None:
        """Return the pass that is certain because no more sights will come."""
        return self._make_certain(self._held, Decision.ENDED, 0.0) if self._held is not None else None

    def _meet_line(self, sign: int, at: float, fraction: float, frame: int) -> Pass | None:
        self._jitter.meet(at)
        approach = self._approach
        if approach is not None and sign == approach.side and approach.beyond_heights >= rules.ORIGIN_CLEAR_HEIGHTS:
            self._end_approach(approach)
        held, certain = self._held, None
        already_beyond = held is not None and sign == held.made.sign
        if self.facts is not None:
            self.facts.append(Met(sign, at, fraction, already_beyond))
        if held is not None:
            if already_beyond:
                return None  # the object went round the end and through again: still beyond
            stayed_s = at - held.made.t
            if stayed_s < rules.EXCURSION_S - rules.TIME_SLACK_S:
                self._drop_held(Reason.CAME_BACK_TOO_SOON, stayed_s)
                return None
            if held.sights < rules.EXCURSION_SAMPLES:
                self._drop_held(Reason.SINGLE_SAMPLE_EXCURSION, held.sights)
                return None
            certain = self._make_certain(held, Decision.CAME_BACK_LATER, stayed_s)
        self._net += sign
        self._met[sign] = (at, frame)
        self._sights_beyond = 0
        return certain

    def _drop_held(self, reason: Reason, value: float) -> None:
        self._held = None
        if self.facts is not None:
            self.facts.append(PassDropped(reason, value))

    def _make_certain(self, held: _Held, how: Decision, waited_s: float) -> Pass:
        self.side = held.made.sign
        self._passes += 1
        self._held = None
        if self.facts is not None:
            self.facts.append(PassCertain(held.made, how, waited_s, held.sights))
        return held.made

    def _find_origin(self, sight: Sight, *, is_first: bool) -> None:
        distance = sight.distance_heights
        side = 1 if distance > 0 else -1
        if is_first and abs(distance) >= rules.APPROACH_HEIGHTS:
            self._approach = Approach(side, sight.t)
        if self._approach is not None and self._comes_over(self._approach, sight):
            return
        if abs(distance) >= rules.ORIGIN_CLEAR_HEIGHTS or sight.hidden_beyond:
            clear = abs(distance) >= rules.ORIGIN_CLEAR_HEIGHTS
            self._take_side(side, Evidence.CLEAR if clear else Evidence.BORDER, abs(distance))
        elif abs(distance) < rules.ORIGIN_NEAR_HEIGHTS or self._net != 0:
            self._near_since = None
            self._net = 0
        elif self._near_since is None:
            self._near_since = sight.t
        elif sight.t - self._near_since >= rules.ORIGIN_STAY_S - rules.TIME_SLACK_S:
            self._take_side(side, Evidence.STAY, sight.t - self._near_since)

    def _comes_over(self, approach: Approach, sight: Sight) -> bool:
        """Follow an object that came into view near the line; return whether its motion decides where it comes from.

        While it does, an object that is clear on the other side does not come from there.
        """
        approach.see(sight.t, sight.distance_heights)
        beyond = -approach.side * sight.distance_heights
        if beyond <= 0 and self._net == 0:
            return False
        if self._net == 0 or sight.hidden_beyond or sight.t - approach.t > rules.LATEST_S + rules.TIME_SLACK_S:
            self._end_approach(approach)
            return self.side != 0
        certainty = approach.certainty
        if certainty.clear and beyond >= rules.DESTINATION_CLEAR_HEIGHTS:
            met = self._net
            self._take_side(approach.side, Evidence.MOTION, certainty.value)
            self._net = met
            self._find_destination(sight)
        return True

    def _end_approach(self, approach: Approach) -> None:
        """Give up an approach; an object that was clear beyond the line meanwhile comes from there."""
        self._approach = self._near_since = None
        self._net = 0
        if approach.beyond_heights >= rules.ORIGIN_CLEAR_HEIGHTS:
            self._take_side(-approach.side, Evidence.CLEAR, approach.beyond_heights)

    def _find_destination(self, sight: Sight) -> None:
        beyond = self._jitter.clearance(-self.side, sight.distance_heights)
        if sight.distance_heights * self.side >= rules.ORIGIN_CLEAR_HEIGHTS:
            self._net = 0
            if self.facts is not None:
                self.facts.append(ClearAgain(self.side))
        elif beyond.clear:
            if self._net * self.side < 0:
                self._hold(Pass(-self.side, *self._met[-self.side], self._passes), beyond)
            else:
                self._take_side(-self.side, Evidence.ROUND_THE_END, beyond.value)

    def _hold(self, made: Pass, beyond: Clearance) -> None:
        self._held = _Held(made, self._sights_beyond)
        self._net = 0
        if self.facts is not None:
            self.facts.append(PassHeld(made, *beyond))

    def _take_side(self, side: int, how: Evidence, value: float) -> None:
        self.side = side
        self._net = 0
        self._near_since = None
        self._approach = None
        if self.facts is not None:
            self.facts.append(SideTaken(side, how, value))
