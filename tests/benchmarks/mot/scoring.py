"""The scoring rule of the sequence benchmarks: true crossings, the error of totals, and matches in time.

This is not the rule that the product counts by. It takes the bottom-centre of each true box, and asks whether the path
goes from one side of a finite line to the other through the line. How far an object must be from the line before and
after is a matter of opinion, so two rules bound the answer: the strict one wants 0.25 box heights on both sides, the
lenient one 0.05 before and 0.2 after. A total is wrong by its distance from that interval, for each line and direction.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from countline_counting.events import Crossing, Direction
from countline_counting.spec import Line
from countline_pipelines.evaluation.mot import Boxes

STRICT, LENIENT = (0.25, 0.25), (0.05, 0.2)
"""Distances from the line, before and beyond it, in median heights of the object."""
MATCH_S = 1.0
SIGNS = (1, -1)

LINES = (
    Line("across", ((0.15, 0.55), (0.85, 0.55))),
    Line("upright", ((0.5, 0.95), (0.5, 0.2))),
    Line("diagonal", ((0.25, 0.9), (0.7, 0.35))),
)
"""The same three lines in every sequence."""

Place = tuple[float, float]


class Passage(NamedTuple):
    """One way over a line."""

    frame: int
    sign: int
    """1 is in, -1 is out."""


@dataclass
class Score:
    """Sums over lines and directions; scores add up."""

    true: int = 0
    error: int = 0
    hits: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def share(self) -> float:
        """Error as a share of the true crossings."""
        return self.error / max(1, self.true)

    @property
    def precision(self) -> float:
        return self.hits / max(1, self.hits + self.false)

    @property
    def recall(self) -> float:
        return self.hits / max(1, self.hits + self.missed)

    @property
    def f1(self) -> float:
        return 2 * self.hits / max(1, 2 * self.hits + self.false + self.missed)


@dataclass
class TrueLine:
    """What the two rules say about one line."""

    strict: list[Passage] = field(default_factory=list)
    lenient: list[Passage] = field(default_factory=list)

    def bounds(self, sign: int) -> tuple[int, int]:
        """Return the least and the largest right total of a direction."""
        totals = [sum(each.sign == sign for each in rule) for rule in (self.strict, self.lenient)]
        return min(totals), max(totals)


def true_lines(objects: Boxes, size_wh: tuple[int, int]) -> list[TrueLine]:
    """Return the truth of each of `LINES`."""
    return [
        TrueLine(*(list(passages(objects, in_pixels(line, size_wh), *rule)) for rule in (STRICT, LENIENT)))
        for line in LINES
    ]


def score(truth: Sequence[TrueLine], counted: Sequence[Sequence[Passage]], fps: float) -> Score:
    """Score what was counted at each of `LINES`."""
    total = Score()
    for line, found in zip(truth, counted, strict=True):
        hits, missed = _matched(line, found, round(MATCH_S * fps))
        total += Score(hits=hits, false=len(found) - hits, missed=missed)
        for sign in SIGNS:
            low, high = line.bounds(sign)
            count = sum(each.sign == sign for each in found)
            total += Score(true=high, error=max(0, low - count, count - high))
    return total


def mere_passages(boxes: Boxes, size_wh: tuple[int, int]) -> list[list[Passage]]:
    """Return what the lenient rule counts over boxes with ids, at each of `LINES`."""
    return [list(passages(boxes, in_pixels(line, size_wh), *LENIENT)) for line in LINES]


def counted_passages(crossings: Iterable[Crossing], fps: float) -> list[list[Passage]]:
    """Return crossings of the product at each of `LINES`."""
    found: dict[str, list[Passage]] = {line.id: [] for line in LINES}
    for crossing in crossings:
        sign = 1 if crossing.direction is Direction.IN else -1
        found[crossing.line_id].append(Passage(round(crossing.t * fps) + 1, sign))
    return list(found.values())


def passages(boxes: Boxes, line: tuple[Place, Place], before: float, beyond: float) -> Iterator[Passage]:
    """Return the passages of every id: from one side to the other, through the line between its two ends."""
    for number in np.unique(boxes.ids):
        rows = boxes.ids == number
        frames, xyxy = boxes.frame[rows].tolist(), boxes.xyxy[rows]
        height = float(np.median(xyxy[:, 3] - xyxy[:, 1]))
        feet = np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]], axis=1)
        yield from _of_path(frames, [(x, y) for x, y in feet.tolist()], line, before * height, beyond * height)


def _of_path(
    frames: list[int], feet: list[Place], line: tuple[Place, Place], before_px: float, beyond_px: float
) -> Iterator[Passage]:
    length = float(np.hypot(line[1][0] - line[0][0], line[1][1] - line[0][1]))
    steps = [0, *(_meeting(*line, *step) for step in pairwise(feet))]
    side, met, last_met = 0, 0, 0
    for frame, foot, step in zip(frames, feet, steps, strict=True):
        if step:
            met, last_met = met + step, frame
        distance = _turn(*line, foot) / length
        now = 1 if distance > 0 else -1
        if abs(distance) <= (beyond_px if side == -now else before_px):
            continue
        if side == -now and met:
            yield Passage(last_met, now)
        if side != now:
            side, met = now, 0


def _matched(truth: TrueLine, found: Sequence[Passage], within: int) -> tuple[int, int]:
    """Return hits and misses. What only the lenient rule counts may be found, and need not be."""
    used: set[int] = set()
    for frame, sign in sorted(found):
        near = [
            (abs(frame - true.frame), i)
            for i, true in enumerate(truth.lenient)
            if true.sign == sign and i not in used and abs(frame - true.frame) <= within
        ]
        used |= {min(near)[1]} if near else set()
    left = [true for i, true in enumerate(truth.lenient) if i not in used]
    missed = sum(any(t.sign == sign and abs(frame - t.frame) <= within for t in left) for frame, sign in truth.strict)
    return len(used), missed


def in_pixels(line: Line, size_wh: tuple[int, int]) -> tuple[Place, Place]:
    """Return both ends of a line in pixels."""
    (ax, ay), (bx, by) = line.points
    return (ax * size_wh[0], ay * size_wh[1]), (bx * size_wh[0], by * size_wh[1])


def _turn(a: Place, b: Place, p: Place) -> float:
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def _meeting(a: Place, b: Place, p: Place, q: Place) -> int:
    """Return the side to which the step from p to q leads through the line; 0 if it does not meet it."""
    side = _turn(a, b, q) >= 0
    if (_turn(a, b, p) >= 0) == side or (_turn(p, q, a) > 0) == (_turn(p, q, b) > 0):
        return 0
    return 1 if side else -1
