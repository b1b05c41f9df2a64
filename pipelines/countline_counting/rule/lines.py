"""When has an object crossed a line? The state of one object at one line, and the counter of a line over all objects.

The rule is told, with a picture, in the package's own docstring; `Passage` is that rule, and `LineCounter` saves the
work of applying it to objects at which nothing can happen.
"""

from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.events import Direction
from countline_counting.geometry.segments import Floats, Point, PolyLine, path_crossings
from countline_counting.rule.reasons import Reason
from countline_counting.spec import Line

TIME_SLACK_S = 1e-6
"""Unix times in double precision are good to a quarter of a microsecond; comparisons of times allow for that."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One observation of one object, as a line sees it."""

    t: float
    frame: int
    xy_px: Point
    distance_heights: float
    """Signed distance from the line in heights of the box, positive on the right-hand side."""
    hidden_beyond: bool = False
    """Whether the anchor really lies farther from the line, in the part that the picture's border cuts off."""
    height_px: float = 1.0
    """The height by which the distance was measured."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A crossing that is certain."""

    sign: int
    """1 in, -1 out."""
    t: float
    frame: int
    sequence: int
    """Number of this pass among those of the object over the line, from 0."""

    @property
    def direction(self) -> Direction:
        return Direction.IN if self.sign > 0 else Direction.OUT


@dataclass(slots=True)
class _Held:
    """A pass that is held back until it is certain that the object does not come back at once."""

    made: Pass
    sights: int
    """How often the object was seen beyond the line since."""


class Watch:
    """Hears what a passage makes of each meeting; this one does not listen. `explain` has one that does.

    Methods that take a side are told that of the object after the step.
    """

    __slots__ = ()

    @property
    def open(self) -> bool:
        """Whether it wants to see the object's next sight, wherever that is."""
        return False

    def step(self, before: tuple[float, Point] | None, sight: Sight) -> None:
        """A sight comes, before anything is made of it."""

    def met(self, sign: int, at: float, fraction: float) -> None:
        """The path met the line on the step, so far along it."""

    def took_side(self, how: str, value: float) -> None:
        """It is known where the object is: `how`, and by which measured value."""

    def held(self, made: Pass, beyond: float) -> None:
        """The meetings so far are a pass, which is held back; `beyond` in heights."""

    def again(self) -> None:
        """The last meeting goes the way of the pass that is held back."""

    def undone(self, reason: Reason, value: float) -> None:
        """The pass that was held back, and the last meeting, are dropped."""

    def certain(self, made: Pass, how: str, waited_s: float, sights: int) -> None:
        """The pass that was held back counts."""

    def dropped(self, reason: Reason, side: int) -> None:
        """The meetings so far lead nowhere."""

    def clear(self, side: int) -> None:
        """The object is clear of the line on the side where it comes from."""

    def stepped(self, side: int) -> None:
        """The sight was dealt with."""

    def ended(self, side: int) -> None:
        """No sight will come any more."""


NOBODY = Watch()


class Passage:
    """The state of one object at one line."""

    __slots__ = ("_held", "_met", "_near_since", "_net", "_passes", "_recent", "_sights_beyond", "_watch", "side")

    def __init__(self, watch: Watch = NOBODY) -> None:
        self.side = 0
        """Where the object comes from: 1 right, -1 left, 0 not known yet."""
        self._net = 0
        """Crossings to the right less those to the left since the object was last clear of the line."""
        self._met: dict[int, tuple[float, int]] = {}
        """Time and frame of the last meeting in each direction."""
        self._recent: deque[tuple[float, int]] = deque()
        """Times and frames of the sights since the last meeting, as far back as `rules.SLOW_PASS_S`."""
        self._sights_beyond = 0
        self._passes = 0
        self._held: _Held | None = None
        self._near_since: float | None = None
        self._watch = watch

    @property
    def idle(self) -> bool:
        """Whether nothing is open: the next sight matters only if it meets the line or is clear on the other side."""
        return self.side != 0 and self._net == 0 and self._held is None and not self._watch.open

    @property
    def held(self) -> Pass | None:
        """The pass that awaits its decision."""
        return self._held.made if self._held else None

    def see(self, line: PolyLine, before: tuple[float, Point] | None, sight: Sight) -> Pass | None:
        """Take the next sight of the object and say what became certain by it.

        Args:
            line: the line in pixels.
            before: time and place of the sight before this one, None for the first.
            sight: the new one.
        """
        certain = None
        self._watch.step(before, sight)
        if before is not None:
            for fraction, sign in path_crossings(line.points, before[1], sight.xy_px):
                at = before[0] + fraction * (sight.t - before[0])
                self._watch.met(sign, at, fraction)
                certain = self._meet_line(sign, at, sight.frame) or certain
        self._sights_beyond += 1
        if self._held is not None:
            self._held.sights += 1
        elif self.side == 0:
            self._find_origin(sight)
        else:
            self._find_destination(sight)
        self._watch.stepped(self.side)
        return certain or self.decide(sight.t)

    def decide(self, now: float) -> Pass | None:
        """Say what has become certain by the passing of time."""
        held = self._held
        if held is None:
            return None
        waited_s, stayed = now - held.made.t, held.sights >= rules.EXCURSION_SAMPLES
        if waited_s < (rules.EXCURSION_S if stayed else rules.DECIDE_LATEST_S) - TIME_SLACK_S:
            return None
        return self._make_certain(held, "stayed" if stayed else "unseen", waited_s)

    def end(self) -> Pass | None:
        """Say what is certain now that the object will not be seen again."""
        held = self._held
        certain = self._make_certain(held, "ended", 0.0) if held is not None else None
        self._watch.ended(self.side)
        return certain

    def _meet_line(self, sign: int, at: float, frame: int) -> Pass | None:
        held, certain = self._held, None
        if held is not None:
            if sign == held.made.sign:
                self._watch.again()
                return None  # it went round the end and through again: still beyond
            stayed_s = at - held.made.t
            if stayed_s < rules.EXCURSION_S - TIME_SLACK_S:
                self._undo(Reason.CAME_BACK_TOO_SOON, stayed_s)
                return None
            if held.sights < rules.EXCURSION_SAMPLES:
                self._undo(Reason.SINGLE_SAMPLE_EXCURSION, held.sights)
                return None
            certain = self._make_certain(held, "came back later", stayed_s)
        self._net += sign
        self._met[sign] = (at, frame)
        self._recent.clear()
        self._sights_beyond = 0
        return certain

    def _undo(self, reason: Reason, value: float) -> None:
        self._held = None
        self._watch.undone(reason, value)

    def _make_certain(self, held: _Held, how: str, waited_s: float) -> Pass:
        self.side = held.made.sign
        self._passes += 1
        self._held = None
        self._watch.certain(held.made, how, waited_s, held.sights)
        return held.made

    def _find_origin(self, sight: Sight) -> None:
        distance = sight.distance_heights
        side = 1 if distance > 0 else -1
        if abs(distance) >= rules.ORIGIN_CLEAR_HEIGHTS or sight.hidden_beyond:
            clear = abs(distance) >= rules.ORIGIN_CLEAR_HEIGHTS
            self._take_side(side, "clear" if clear else "border", abs(distance))
        elif abs(distance) < rules.ORIGIN_NEAR_HEIGHTS or self._net != 0:
            self._near_since = None
            self._net = 0
        elif self._near_since is None:
            self._near_since = sight.t
        elif sight.t - self._near_since >= rules.ORIGIN_STAY_S - TIME_SLACK_S:
            self._take_side(side, "stay", sight.t - self._near_since)

    def _find_destination(self, sight: Sight) -> None:
        distance = sight.distance_heights * self.side
        if self._net:
            self._remember(sight)
        if distance >= rules.ORIGIN_CLEAR_HEIGHTS:
            self._net = 0
            self._watch.clear(self.side)
        elif distance <= -rules.DESTINATION_CLEAR_HEIGHTS:
            if self._net * self.side < 0:
                made = Pass(-self.side, *self._moment(sight), self._passes)
                self._held = _Held(made, self._sights_beyond)
                self._net = 0
                self._watch.held(made, -distance)
            else:
                self._take_side(-self.side, "round the end", -distance)

    def _remember(self, sight: Sight) -> None:
        recent = self._recent
        recent.append((sight.t, sight.frame))
        while recent[0][0] < sight.t - rules.SLOW_PASS_S:
            recent.popleft()

    def _moment(self, clear: Sight) -> tuple[float, int]:
        """Return time and frame of a pass: when the line was met, but not long before it was clear beyond."""
        met = self._met[-self.side]
        earliest = clear.t - rules.SLOW_PASS_S
        if met[0] >= earliest:
            return met
        return earliest, self._recent[0][1]

    def _take_side(self, side: int, how: str, value: float) -> None:
        unknown = self.side == 0
        self._watch.dropped(Reason.NEVER_CLEAR_AT_ORIGIN if unknown else Reason.WENT_ROUND_THE_END, side)
        self._watch.took_side(how, value)
        self.side = side
        self._net = 0
        self._near_since = None


@dataclass(frozen=True, slots=True)
class Sights:
    """The sights of one moment, of many objects; no object twice."""

    slots: NDArray[np.intp]
    """(N,) where each object's state is kept."""
    t: Floats
    """(N,) capture times."""
    frame: NDArray[np.int64]
    """(N,) frame indices."""
    xy_px: Floats
    """(N, 2) anchors."""
    hidden: Floats
    """(N, 2) the way from the anchor to where it would be if the picture went on: its direction, and its length as a
    share of what the border hides; 0 where it hides nothing."""
    height_px: Floats
    """(N,) sizes by which distances are measured."""
    before_t: Floats
    """(N,) times of the sights before these."""
    before_xy_px: Floats
    """(N, 2) anchors then; NaN for an object that is seen for the first time."""
    width_px: Floats
    """(N,) the other side of that size."""


class LineCounter:
    """One line over all objects.

    Nearly every object is nearly always clear of the line and on its way nowhere: those are told by array arithmetic,
    and only the others are looked at one by one.

    Args:
        line: the line.
        size_wh: size of the picture in pixels.
        watch: makes what hears of each object (slot) at this line, where somebody wants to know.
    """

    def __init__(
        self, line: Line, size_wh: tuple[int, int], watch: Callable[[Line, PolyLine, int], Watch] | None = None
    ) -> None:
        self.line = line
        self._watch = watch
        self.path = PolyLine(tuple((x * size_wh[0], y * size_wh[1]) for x, y in line.points))
        self._passages: dict[int, Passage] = {}
        self._held: set[int] = set()
        self._side = np.zeros(0, dtype=np.int8)
        self._open = np.zeros(0, dtype=np.bool_)

    def see(self, sights: Sights) -> list[tuple[int, Pass]]:
        """Take the sights of one moment; return (slot, pass) for what became certain."""
        self._reserve(int(sights.slots.max(initial=-1)) + 1)
        distance_px = self.path.signed_distance_px(sights.xy_px)
        found = []
        for i in self._worth_a_look(sights, distance_px):
            certain = self._look(sights, i, float(distance_px[i] / sights.height_px[i]))
            if certain is not None:
                found.append((int(sights.slots[i]), certain))
        return found

    def decide(self, now: float, slots: Container[int] | None = None) -> list[tuple[int, Pass]]:
        """Return (slot, pass) for what became certain by the passing of time, seen or not; of all, or of some slots."""
        found = []
        for slot in sorted(self._held if slots is None else (slot for slot in self._held if slot in slots)):
            certain = self._passages[slot].decide(now)
            if certain is not None:
                found.append((slot, certain))
                self._note(slot)
        return found

    def end(self, slot: int) -> Pass | None:
        """Forget an object; return its last pass if that was still held back."""
        passage = self._passages.pop(slot, None)
        self._held.discard(slot)
        if slot < len(self._side):
            self._side[slot] = 0
            self._open[slot] = True
        return passage.end() if passage is not None else None

    def _worth_a_look(self, sights: Sights, distance_px: Floats) -> list[int]:
        moved = sights.xy_px - sights.before_xy_px
        step_px = np.hypot(moved[:, 0], moved[:, 1])
        slots, apart_px = sights.slots, np.abs(distance_px)
        # A path no longer than the way to the line cannot have met it; the margin is far above any rounding.
        may_meet = ~(apart_px > step_px * (1 + 1e-9) + 1e-6)
        elsewhere = (np.sign(distance_px) != self._side[slots]) & (
            apart_px >= rules.DESTINATION_CLEAR_HEIGHTS * sights.height_px
        )
        if self._watch is not None:
            may_meet |= apart_px < rules.ORIGIN_NEAR_HEIGHTS * sights.height_px
        look: list[int] = np.nonzero(self._open[slots] | may_meet | elsewhere)[0].tolist()
        return look

    def _look(self, sights: Sights, i: int, distance_heights: float) -> Pass | None:
        slot = int(sights.slots[i])
        passage = self._passages.get(slot)
        if passage is None:
            watch = NOBODY if self._watch is None else self._watch(self.line, self.path, slot)
            passage = self._passages[slot] = Passage(watch)
        x, y = sights.xy_px[i].tolist()
        was_x, was_y = sights.before_xy_px[i].tolist()
        before = None if was_x != was_x else (float(sights.before_t[i]), (was_x, was_y))  # noqa: PLR0124  (NaN)
        beyond = self._hidden_beyond(sights, i, distance_heights)
        height_px = float(sights.height_px[i])
        sight = Sight(float(sights.t[i]), int(sights.frame[i]), (x, y), distance_heights, beyond, height_px)
        certain = passage.see(self.path, before, sight)
        self._note(slot)
        return certain

    def _hidden_beyond(self, sights: Sights, i: int, distance_heights: float) -> bool:
        """Whether the hidden anchor is farther from the line on the same side than the one that is seen."""
        if not sights.hidden[i].any():
            return False
        farther = sights.xy_px[i] + sights.hidden[i] * sights.height_px[i]
        there = float(self.path.signed_distance_px(farther[None])[0] / sights.height_px[i])
        return there * distance_heights > 0 and abs(there) > abs(distance_heights)

    def _note(self, slot: int) -> None:
        """Copy what the arrays know of a passage."""
        passage = self._passages[slot]
        self._side[slot] = passage.side
        self._open[slot] = not passage.idle
        if passage.held is not None:
            self._held.add(slot)
        else:
            self._held.discard(slot)

    def _reserve(self, size: int) -> None:
        if size > len(self._side):
            more = max(size, 2 * len(self._side)) - len(self._side)
            self._side = np.concatenate([self._side, np.zeros(more, dtype=np.int8)])
            self._open = np.concatenate([self._open, np.ones(more, dtype=np.bool_)])
