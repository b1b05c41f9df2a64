"""Second boxes: two boxes of one object that overlap too little to be one by a single frame, and move as one.

A detector may report a person, and beside it the upper or the lower half of the person. Both boxes get tracks, and each
track would count. Such a pair lies nested, has different shapes (half a person is wider for its height than a person),
and keeps its place within the larger box. A child in front of an adult has the shape of a person.
"""

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.geometry.boxes import areas
from countline_counting.geometry.segments import Floats
from countline_counting.objects.table import Objects
from countline_counting.tracking.association import overlaps


class Second(IntEnum):
    """Whether an object is a second box of another one."""

    NO = 0
    MAYBE = 1
    """The pair is nested, but not for long enough yet. Crossings of the object wait."""
    YES = 2


@dataclass(slots=True)
class _Pair:
    """A nested pair since the start of its window."""

    began: float
    last: float
    sights: int
    half: Floats
    """(4,) sum of the relative boxes over the first half of the window, and their number."""
    half_sights: int
    total: Floats
    second: bool = False


class Doubles:
    """Finds the objects that are second boxes and marks them in the table of objects (`second`)."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._pairs: dict[tuple[int, int], _Pair] = {}
        """By row of the larger box and row of the smaller one."""

    def take(self, rows: NDArray[np.intp], t: float, xyxy_px: Floats) -> None:
        """Take the boxes (N, 4) of a frame's objects."""
        for i, j in _nested(xyxy_px):
            self._take_pair((int(rows[i]), int(rows[j])), t, _relative(xyxy_px[i], xyxy_px[j]))
        if self._pairs:
            self._mark(t)

    def forget(self, row: int) -> None:
        """Forget an object that has ended."""
        for key in [key for key in self._pairs if row in key]:
            self._clear(key)

    def _take_pair(self, key: tuple[int, int], t: float, relative: Floats) -> None:
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = _Pair(t, t, 0, np.zeros(4), 0, np.zeros(4))
        pair.last = t
        pair.sights += 1
        pair.total += relative
        if t - pair.began < rules.AS_ONE_S / 2:
            pair.half += relative
            pair.half_sights += 1
        elif t - pair.began >= rules.AS_ONE_S - rules.TIME_SLACK_S:
            pair.second = _moves_as_one(pair)
            pair.began, pair.sights, pair.half_sights = t, 0, 0
            pair.half, pair.total = np.zeros(4), np.zeros(4)

    def _mark(self, t: float) -> None:
        table = self._objects
        for key in [key for key, pair in self._pairs.items() if t - pair.last > rules.AS_ONE_S / 2]:
            self._clear(key)
        for (larger, smaller), pair in self._pairs.items():
            # The older track keeps its count. Of two that began together, the larger box is the whole object.
            is_older = table["first_t"][smaller] < table["first_t"][larger] - rules.AS_ONE_S
            table["second"][larger if is_older else smaller] = Second.YES if pair.second else Second.MAYBE

    def _clear(self, key: tuple[int, int]) -> None:
        del self._pairs[key]
        self._objects["second"][list(key)] = Second.NO


def _nested(xyxy_px: Floats) -> list[tuple[int, int]]:
    """Return the pairs (larger, smaller) of boxes that lie one in the other."""
    first, second, share = overlaps(xyxy_px, xyxy_px)
    chosen = (first != second) & (share >= rules.SECOND_BOX_OVERLAP)
    if not chosen.any():
        return []
    first, second, share, area = first[chosen], second[chosen], share[chosen], areas(xyxy_px)
    common = share * (area[first] + area[second]) / (1 + share)
    inside = (area[first] > area[second]) & (common >= rules.SECOND_BOX_SHARE * area[second])
    return list(zip(first[inside].tolist(), second[inside].tolist(), strict=True))


def _relative(larger: Floats, smaller: Floats) -> Floats:
    """Return (4,) the smaller box in units of the larger one."""
    size = np.tile(larger[2:] - larger[:2], 2)
    relative: Floats = (smaller - np.tile(larger[:2], 2)) / size
    return relative


def _moves_as_one(pair: _Pair) -> bool:
    """Return whether the smaller box is a part of the larger object by its shape, and stays at its place in it."""
    later = pair.sights - pair.half_sights
    if not pair.half_sights or not later:
        return False
    moved = np.abs(pair.half / pair.half_sights - (pair.total - pair.half) / later).max()
    left, top, right, bottom = (pair.total / pair.sights).tolist()
    shape = abs(math.log(max(right - left, 1e-6) / max(bottom - top, 1e-6)))
    return bool(moved <= rules.AS_ONE_APART) and shape >= math.log(rules.PART_SHAPE)
