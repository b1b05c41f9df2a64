"""The crossing rule for one object at one line. The package's docstring states the rule and draws it."""

from dataclasses import dataclass
from typing import Final

from countline_counting import rules
from countline_counting.geometry.segments import Point, PolyLine, path_crossings
from countline_counting.reasons import Reason
from countline_counting.rule.evidence import RecentSights
from countline_counting.rule.facts import (
    ClearAgain,
    Decision,
    Evidence,
    Met,
    PassageFact,
    PassCertain,
    PassDropped,
    PassHeld,
    PassReopened,
    SideTaken,
)
from countline_counting.rule.passes import Pass, Sight

SURE_HEIGHTS: Final = 1.0
"""At this distance from a line, an object is on its side, whatever the jitter: boxes that jitter by a quarter of a
height do not overlap from sight to sight, and no tracker follows them."""


@dataclass(slots=True)
class _Held:
    """A pass that waits until it is certain that the object does not come back at once."""

    made: Pass
    sights: int
    """Number of sights beyond the line since the pass."""
    since: float
    """From when on the object has to stay: the pass, or the first sight that proves it if the boxes jitter."""


class Passage:
    """The state of one object at one line.

    Args:
        facts: receives the facts of each call; None records none.
    """

    __slots__ = (
        "_doubt_heights",
        "_held",
        "_met",
        "_near_since",
        "_net",
        "_passes",
        "_recent",
        "_sights_beyond",
        "facts",
        "side",
    )

    def __init__(self, facts: list[PassageFact] | None = None) -> None:
        self.side = 0
        """Side that the object comes from: 1 right, -1 left, 0 unknown."""
        self.facts = facts
        self._net = 0
        """Meetings to the right less meetings to the left since the object was last clear of the line."""
        self._met: dict[int, tuple[float, int]] = {}
        """Time and frame of the last meeting in each direction."""
        self._recent = RecentSights()
        self._doubt_heights = 0.0
        """Distance by which the side was taken while the jitter of the boxes was unknown; 0 if there is no doubt."""
        self._sights_beyond = 0
        self._passes = 0
        self._held: _Held | None = None
        self._near_since: float | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is open: the next sight matters only if it meets the line or is clear on the other side."""
        is_sure = self.side != 0 and not self._doubt_heights and not self._recent.newest.may_jitter_over
        return is_sure and self._net == 0 and self._held is None

    @property
    def held(self) -> Pass | None:
        """The pass that awaits its decision."""
        return self._held.made if self._held else None

    def see(self, line: PolyLine, before: tuple[float, Point] | None, sight: Sight) -> Pass | None:
        """Take the next sight of the object and return the pass that it makes certain.

        `before` has the time and the anchor of the previous sight; it is None for the first one.
        """
        certain = None
        self._recent.add(sight)
        if before is not None:
            for fraction, sign in path_crossings(line.points, before[1], sight.xy_px):
                at = before[0] + fraction * (sight.t - before[0])
                certain = self._meet_line(sign, at, fraction, sight.frame) or certain
        self._sights_beyond += 1
        if self._doubt_heights:
            self._review_origin(sight)
        if self._held is not None:
            self._held.sights += 1
        elif self.side == 0:
            self._find_origin(sight)
        else:
            self._find_destination(sight)
        return certain

    def decide(self, now: float) -> Pass | None:
        """Return the pass that the passing of time has made certain."""
        held = self._held
        if held is None:
            return None
        stayed = held.sights >= rules.EXCURSION_SAMPLES
        waited_s = now - (held.since if stayed else held.made.t)
        if waited_s < (rules.EXCURSION_S if stayed else rules.DECIDE_LATEST_S) - rules.TIME_SLACK_S:
            return None
        if stayed and not self._recent.newest.is_measured and waited_s < rules.DECIDE_LATEST_S - rules.TIME_SLACK_S:
            return None
        if stayed and not _is_proven(held, self._recent):
            self._reopen(held)
            return None
        return self._make_certain(held, Decision.STAYED if stayed else Decision.UNSEEN, waited_s)

    def end(self) -> Pass | None:
        """Return the pass that is certain because no more sights will come."""
        return self._make_certain(self._held, Decision.ENDED, 0.0) if self._held is not None else None

    def _meet_line(self, sign: int, at: float, fraction: float, frame: int) -> Pass | None:
        held, certain = self._held, None
        already_beyond = held is not None and sign == held.made.sign
        self._record(Met(sign, at, fraction, already_beyond))
        if held is not None:
            if already_beyond:
                return None  # the object went round the end and through again: still beyond
            stayed_s = at - held.since
            if self._recent.newest.jitters or not self._recent.newest.is_measured:
                self._reopen(held)
            elif stayed_s < rules.EXCURSION_S - rules.TIME_SLACK_S:
                self._drop_held(Reason.CAME_BACK_TOO_SOON, stayed_s)
                return None
            elif held.sights < rules.EXCURSION_SAMPLES:
                self._drop_held(Reason.SINGLE_SAMPLE_EXCURSION, held.sights)
                return None
            else:
                certain = self._make_certain(held, Decision.CAME_BACK_LATER, stayed_s)
        self._net += sign
        self._met[sign] = (at, frame)
        self._sights_beyond = 0
        return certain

    def _reopen(self, held: _Held) -> None:
        self._held = None
        self._net = held.made.sign
        self._record(PassReopened())

    def _drop_held(self, reason: Reason, value: float) -> None:
        self._held = None
        self._record(PassDropped(reason, value))

    def _make_certain(self, held: _Held, how: Decision, waited_s: float) -> Pass:
        self.side = held.made.sign
        self._passes += 1
        self._held = None
        self._record(PassCertain(held.made, how, waited_s, held.sights))
        return held.made

    def _find_origin(self, sight: Sight) -> None:
        distance = sight.distance_heights
        side = 1 if distance > 0 else -1
        clear = self._recent.clear_heights(side, rules.ORIGIN_CLEAR_HEIGHTS)
        if clear or sight.hidden_beyond:
            self._take_side(side, Evidence.CLEAR if clear else Evidence.BORDER, clear or abs(distance))
            if clear and not sight.jitter_heights and clear < SURE_HEIGHTS:
                self._doubt_heights = clear
        elif abs(distance) < rules.ORIGIN_NEAR_HEIGHTS or self._net != 0:
            self._near_since = None
            self._net = 0
        elif self._near_since is None:
            self._near_since = sight.t
        elif sight.t - self._near_since >= rules.ORIGIN_STAY_S - rules.TIME_SLACK_S:
            self._take_side(side, Evidence.STAY, sight.t - self._near_since)

    def _review_origin(self, sight: Sight) -> None:
        """Take the side back if the jitter is known by now, and could have been what the side was taken for."""
        doubt, limit = self._doubt_heights, rules.ORIGIN_CLEAR_HEIGHTS
        is_far = sight.distance_heights * self.side >= SURE_HEIGHTS
        if is_far or sight.is_measured:
            self._doubt_heights = 0.0
        if is_far or not sight.is_measured or doubt >= max(limit, sight.sure_heights):
            return
        if not self._recent.clear_heights(self.side, limit):
            if self._held is not None:
                self._reopen(self._held)
            self.side = 0

    def _find_destination(self, sight: Sight) -> None:
        distance = sight.distance_heights * self.side
        if distance >= rules.ORIGIN_CLEAR_HEIGHTS:
            self._net = 0
            self._record(ClearAgain(self.side))
        elif beyond := self._recent.clear_heights(-self.side, rules.DESTINATION_CLEAR_HEIGHTS):
            if self._net * self.side < 0:
                self._hold(
                    Pass(-self.side, *self._recent.crossed_at(-self.side, self._met[-self.side]), self._passes),
                    beyond,
                    sight.t,
                )
            else:
                self._take_side(-self.side, Evidence.ROUND_THE_END, beyond)

    def _hold(self, made: Pass, beyond_heights: float, now: float) -> None:
        self._held = _Held(made, self._sights_beyond, now if self._recent.newest.jitters else made.t)
        self._net = 0
        self._record(PassHeld(made, beyond_heights))

    def _take_side(self, side: int, how: Evidence, value: float) -> None:
        self.side = side
        self._net = 0
        self._near_since = None
        self._record(SideTaken(side, how, value))

    def _record(self, fact: PassageFact) -> None:
        if self.facts is not None:
            self.facts.append(fact)


def _is_proven(held: _Held, recent: RecentSights) -> bool:
    """Return whether a held pass is beyond the line by what is known of the object's jitter now."""
    beyond = recent.clear_heights(held.made.sign, rules.DESTINATION_CLEAR_HEIGHTS)
    return beyond > 0 or not recent.newest.jitters
