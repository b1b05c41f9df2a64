"""Joins the fragments of one object before anything is counted.

A tracker loses an object behind a pillar and finds it again under a new id. At a line where people queue, this may
happen many times. So each new id is first a *fragment*. If an object that could be the same was lost shortly before,
the fragment waits for a moment: the old id may come back, and the fragment's own motion becomes known. Then the
fragment continues that object or becomes a new one. Counting ignores a fragment while it waits, and counts afterwards
what the fragment did meanwhile.

A fragment continues an object if time, distance, size and class allow it. An object that would have had to jump is
another object.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from countline_counting.objects.table import Motion, fit_motion

SETTLE_S: Final = 0.3
"""How long a fragment waits if it may continue an object."""
REACH_HEIGHTS: Final = 0.5
"""Largest distance from the expected place at which an object may appear again at once ..."""
REACH_HEIGHTS_PER_S: Final = 0.6
"""... and how much larger this distance is for each second in which the object was unseen."""
SIZE_RATIO: Final = 1.6
"""Largest ratio of heights, either way."""
SURE_OF_DIRECTION: Final = 2.5
"""A fragment does not continue an object that moved the opposite way, or that it would have had to run back to, if each
velocity has this many standard errors in the opposite direction. By chance, one in about 700 fragments of an object
that stands has this."""
SURE_SCORE: Final = 0.6
"""Two detections that do not touch are one fast object only from this score on. Three detections are, at any score."""
OTHER_CLASS_COST: Final = 0.5
"""Share of the reach that a change of class takes up."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One observation of the tracker."""

    t: float
    running_s: float
    frame: int
    xyxy_px: Box
    score: float
    class_id: int
    estimate: tuple[float, ...] = ()
    """As in `Observations`."""


@dataclass(slots=True)
class Fragment:
    """A new id of the tracker whose object is not known yet."""

    raw_id: int
    number: int
    picture_wh: tuple[int, int]
    observed: list[Observed] = field(default_factory=list)
    awaited: frozenset[int] = frozenset()
    """Rows of the objects that the fragment may continue. These do not end while the fragment waits."""

    def start(self) -> Motion:
        """Return where the fragment began and how it moved there."""
        return fit_motion(self.history(), at_start=True)

    @property
    def confirmed(self) -> bool:
        """Whether the fragment is an object and not a false detection."""
        if len(self.observed) != 2:
            return len(self.observed) > 2
        first, second = self.observed
        return _touch(first.xyxy_px, second.xyxy_px) or min(first.score, second.score) >= SURE_SCORE

    @property
    def born_t(self) -> float:
        return self.observed[0].t

    def history(self) -> list[tuple[float, float, float, float, float]]:
        """Return rows of t, centre x, centre y, width, height."""
        return [
            (o.t, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
            for o in self.observed
            for x1, y1, x2, y2 in (o.xyxy_px,)
        ]


def _touch(box: Box, other: Box) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


@dataclass(frozen=True, slots=True)
class Lost:
    """An object that is out of sight."""

    row: int
    """In the table of objects."""
    motion: Motion
    class_id: int
    unseen_s: float
    """Running time from its last sight to the fragment's first."""
    left: bool = False
    """Whether the object walked out of the picture when it was last seen."""


def join_cost(lost: Lost, start: Motion, class_id: int, *, leaves: bool) -> float:
    """Return how unlikely it is that a fragment continues an object: 0 is certain, above 1 is impossible.

    Args:
        lost: the object.
        start: where the fragment began and how it moved there.
        class_id: of the fragment.
        leaves: whether the fragment walks out of the picture.
    """
    walked_out = lost.left and (lost.unseen_s > SETTLE_S or not leaves)
    if walked_out or are_opposite(lost.motion, start):
        return math.inf
    ratio = math.exp(abs(math.log(start.size_wh_px[1] / lost.motion.size_wh_px[1])))
    if ratio > SIZE_RATIO:
        return math.inf
    height = math.sqrt(start.size_wh_px[1] * lost.motion.size_wh_px[1])
    if turned_twice(lost.motion, start, height):
        return math.inf
    forward = _miss_px(lost.motion, start.xy_px, lost.unseen_s)
    reach = height * (REACH_HEIGHTS + REACH_HEIGHTS_PER_S * lost.unseen_s)
    return forward / reach + 0.3 * (ratio - 1) + (OTHER_CLASS_COST if class_id != lost.class_id else 0.0)


def _miss_px(motion: Motion, xy_px: tuple[float, float], elapsed_s: float) -> float:
    """Return the distance of a place from the object's expected way: it went on as it moved, or stopped on the way."""
    way_x, way_y = motion.velocity_px_s[0] * elapsed_s, motion.velocity_px_s[1] * elapsed_s
    off_x, off_y = xy_px[0] - motion.xy_px[0], xy_px[1] - motion.xy_px[1]
    length = way_x**2 + way_y**2
    share = min(1.0, max(0.0, (off_x * way_x + off_y * way_y) / length)) if length > 0 else 0.0
    return math.hypot(off_x - share * way_x, off_y - share * way_y)


def are_opposite(motion: Motion, other: Motion) -> bool:
    """Return whether two motions have opposite directions, beyond their errors."""
    return _goes_against(motion, other.velocity_px_s) and _goes_against(other, motion.velocity_px_s)


def turned_twice(motion: Motion, later: Motion, height_px: float) -> bool:
    """Return whether one object would have run back unseen: the later place lies behind both motions, beyond errors.

    Args:
        motion: before it was out of sight.
        later: after that.
        height_px: of the object; a place nearer than `REACH_HEIGHTS` lies behind by chance.
    """
    way = (later.xy_px[0] - motion.xy_px[0], later.xy_px[1] - motion.xy_px[1])
    is_far = math.hypot(*way) > REACH_HEIGHTS * height_px
    return is_far and _goes_against(motion, way) and _goes_against(later, way)


def _goes_against(motion: Motion, direction: tuple[float, float]) -> bool:
    """Return whether a motion has a part opposite to a direction of any length, beyond its error."""
    (x, y), (along_x, along_y) = motion.velocity_px_s, direction
    backwards = -(x * along_x + y * along_y)
    return backwards > SURE_OF_DIRECTION * motion.velocity_error_px_s * math.hypot(along_x, along_y)


def best_joins(costs: list[list[float]]) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of the cheapest matching. A cost above 1 makes no pair."""
    if not costs or not costs[0]:
        return []
    table = np.minimum(np.array(costs), 1e6)
    rows, columns = linear_sum_assignment(np.where(table > 1, 1e6, table))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if table[r, c] <= 1]
