"""One line over all objects of a camera."""

from collections.abc import Container

import numpy as np

from countline_counting import rules
from countline_counting.geometry.segments import Floats, Point, PolyLine
from countline_counting.objects.sights import Sights
from countline_counting.rule.facts import Listener, PassageFacts
from countline_counting.rule.passage import Passage
from countline_counting.rule.passes import Pass, Sight
from countline_counting.spec import Line


class LineCounter:
    """Applies the crossing rule to every object at one line.

    Nearly every object is clear of the line and does not move towards it. Array arithmetic finds the others, and only
    those go through their `Passage` one by one. With a listener, so does every object from the time it comes near the
    line until it is clear again at two sights.

    Args:
        line: the line.
        size_wh: size of the picture in pixels.
        listener: receives a `PassageFacts` for each step of each object.
    """

    def __init__(self, line: Line, size_wh: tuple[int, int], listener: Listener | None = None) -> None:
        self.line = line
        self.path = PolyLine(tuple((x * size_wh[0], y * size_wh[1]) for x, y in line.points))
        self._listener = listener
        self._passages: dict[int, Passage] = {}
        """By row, as everything below."""
        self._held: set[int] = set()
        self._near: set[int] = set()
        """Objects that a listener follows."""
        self._side = np.zeros(0, dtype=np.int8)
        self._open = np.zeros(0, dtype=np.bool_)

    def see(self, sights: Sights) -> list[tuple[int, Pass]]:
        """Take the sights of one moment; return (row, pass) for each pass that became certain."""
        self._reserve(int(sights.rows.max(initial=-1)) + 1)
        distance_px = self.path.signed_distance_px(sights.xy_px)
        found = []
        for i in self._worth_a_look(sights, distance_px):
            certain = self._look(sights, i, float(distance_px[i] / sights.height_px[i]))
            if certain is not None:
                found.append((int(sights.rows[i]), certain))
        return found

    def decide(self, now: float, rows: Container[int] | None = None) -> list[tuple[int, Pass]]:
        """Return (row, pass) for each pass that became certain by the passing of time; of all rows, or of some."""
        found = []
        for row in sorted(self._held if rows is None else (row for row in self._held if row in rows)):
            certain = self._decide_one(row, self._passages[row], now)
            if certain is not None:
                found.append((row, certain))
                self._index(row)
        return found

    def overdue(self, now: float) -> set[int]:
        """Return the rows of the objects whose passes have waited for as long as they may."""
        return {row for row in self._held if self._passages[row].is_overdue(now)}

    def end(self, row: int) -> Pass | None:
        """Forget an object; return its last pass if that was still held back."""
        passage = self._passages.pop(row, None)
        self._held.discard(row)
        self._near.discard(row)
        if row < len(self._side):
            self._side[row] = 0
            self._open[row] = True
        if passage is None:
            return None
        certain = passage.end()
        if self._listener is not None:
            self._listener(self._facts(row, passage, ended=True))
        return certain

    def _worth_a_look(self, sights: Sights, distance_px: Floats) -> list[int]:
        """Return which of the sights can change the state of their passages."""
        moved = sights.xy_px - sights.before_xy_px
        step_px = np.hypot(moved[:, 0], moved[:, 1])
        rows, apart_px = sights.rows, np.abs(distance_px)
        # A step that is shorter than the distance to the line cannot meet it; the margin is far above any rounding.
        may_meet = ~(apart_px > step_px * (1 + 1e-9) + 1e-6)
        elsewhere = (np.sign(distance_px) != self._side[rows]) & (
            apart_px >= rules.DESTINATION_CLEAR_HEIGHTS * sights.height_px
        )
        if self._listener is not None:  # a touch is a fact too
            may_meet |= apart_px < rules.ORIGIN_NEAR_HEIGHTS * sights.height_px
        look: list[int] = np.nonzero(self._open[rows] | may_meet | elsewhere)[0].tolist()
        return look

    def _look(self, sights: Sights, i: int, distance_heights: float) -> Pass | None:
        row = int(sights.rows[i])
        passage = self._passages.get(row)
        if passage is None:
            passage = self._passages[row] = Passage(None if self._listener is None else [])
        side = passage.side
        x, y = sights.xy_px[i].tolist()
        was_x, was_y = sights.before_xy_px[i].tolist()
        before = None if was_x != was_x else (float(sights.before_t[i]), (was_x, was_y))  # noqa: PLR0124  (NaN)
        beyond = self._hidden_beyond(sights, i, distance_heights)
        height_px = float(sights.height_px[i])
        sight = Sight(float(sights.t[i]), int(sights.frame[i]), (x, y), distance_heights, beyond, height_px)
        certain = passage.see(self.path, before, sight)
        if self._listener is not None:
            self._listener(self._facts(row, passage, before, sight))
        if certain is None:
            certain = self._decide_one(row, passage, sight.t)
        self._index(row)
        if self._listener is not None:
            self._follow(row, passage.side != side, distance_heights * passage.side < rules.ORIGIN_CLEAR_HEIGHTS)
        return certain

    def _follow(self, row: int, changed_side: bool, is_near: bool) -> None:
        """Keep an object open for the listener until two sights in succession are clear of the line."""
        was_near = row in self._near
        if changed_side or is_near:
            self._near.add(row)
        else:
            self._near.discard(row)
        self._open[row] |= changed_side or is_near or was_near

    def _decide_one(self, row: int, passage: Passage, now: float) -> Pass | None:
        certain = passage.decide(now)
        if certain is not None and self._listener is not None:
            self._listener(self._facts(row, passage))
        return certain

    def _facts(
        self,
        row: int,
        passage: Passage,
        before: tuple[float, Point] | None = None,
        sight: Sight | None = None,
        *,
        ended: bool = False,
    ) -> PassageFacts:
        """Take the facts that a passage has recorded."""
        facts, passage.facts = tuple(passage.facts or ()), []
        return PassageFacts(self.line, row, facts, passage.side, before, sight, ended, passage.clear_heights)

    def _hidden_beyond(self, sights: Sights, i: int, distance_heights: float) -> bool:
        """Whether the hidden anchor is farther from the line, on the same side, than the visible one."""
        if not sights.hidden[i].any():
            return False
        farther = sights.xy_px[i] + sights.hidden[i] * sights.height_px[i]
        there = float(self.path.signed_distance_px(farther[None])[0] / sights.height_px[i])
        return there * distance_heights > 0 and abs(there) > abs(distance_heights)

    def _index(self, row: int) -> None:
        """Copy the state of a passage into the arrays."""
        passage = self._passages[row]
        self._side[row] = passage.side
        self._open[row] = not passage.idle
        if passage.held is not None:
            self._held.add(row)
        else:
            self._held.discard(row)

    def _reserve(self, size: int) -> None:
        if size > len(self._side):
            more = max(size, 2 * len(self._side)) - len(self._side)
            self._side = np.concatenate([self._side, np.zeros(more, dtype=np.int8)])
            self._open = np.concatenate([self._open, np.ones(more, dtype=np.bool_)])
