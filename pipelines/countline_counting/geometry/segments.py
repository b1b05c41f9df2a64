"""Exact plane geometry: on which side of a segment a point lies, and how often a path crosses a line.

No answer depends on rounding. Signs are computed in floating point with Shewchuk's error bound (Adaptive Precision
Floating-Point Arithmetic, 1997). Where the bound does not decide, they are computed in rational arithmetic on the same
numbers.

A point that lies exactly on a line and a path that runs through a corner are no special cases: every point of a path
is taken to be moved by (e, e^2) with an infinitely small e > 0 (simulation of simplicity, Edelsbrunner and Mücke 1990).
So each point has one side, a crossing at a corner belongs to exactly one of the two segments, and the crossings of a
closed line always add up to the change inside, however degenerate the path is.

Coordinates have x to the right and y downwards, as pictures have. The *right* side of a directed segment is positive.
"""

from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Points = tuple[Point, ...]
Floats = NDArray[np.float64]

_ERROR_BOUND: Final = (3.0 + 16.0 * 2.0**-53) * 2.0**-53
_UNDERFLOW: Final = 1e-300
"""Shewchuk's bound holds while no product underflows; far above where that begins."""


def turn(a: Point, b: Point, p: Point) -> int:
    """Return the exact sign of cross(b - a, p - a): 1 when p is right of a to b on the screen, -1 left, 0 on it."""
    left = (b[0] - a[0]) * (p[1] - a[1])
    right = (b[1] - a[1]) * (p[0] - a[0])
    difference = left - right
    if abs(difference) > _ERROR_BOUND * (abs(left) + abs(right)) + _UNDERFLOW:
        return 1 if difference > 0 else -1
    return _turn_rational(a, b, p)


def _turn_rational(a: Point, b: Point, p: Point) -> int:
    (ax, ay), (bx, by), (px, py) = ((Fraction(x), Fraction(y)) for x, y in (a, b, p))
    cross = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    return (cross > 0) - (cross < 0)


def side(a: Point, b: Point, p: Point) -> int:
    """Return the side of the line through a and b (a != b) on which p lies: 1 right, -1 left, also for p on it."""
    return turn(a, b, p) or _side_of_shift(a, b)


def _side_of_shift(a: Point, b: Point) -> int:
    """Return the sign of cross(b - a, (e, e^2)): where the infinitely small shift takes a point on the line."""
    if a[1] != b[1]:
        return -1 if b[1] > a[1] else 1
    return 1 if b[0] > a[0] else -1


def crossing_sign(a: Point, b: Point, p: Point, q: Point) -> int:
    """Return 1 when the step p to q crosses the segment a to b to its right (*in*), -1 to its left, 0 if not."""
    before, after = side(a, b, p), side(a, b, q)
    if before == after:
        return 0
    # The path is shifted, so its line lies to the other side of a vertex that it would run through.
    at_a = turn(p, q, a) or -_side_of_shift(p, q)
    at_b = turn(p, q, b) or -_side_of_shift(p, q)
    return after if at_a != at_b else 0


def crossing_fraction(a: Point, b: Point, p: Point, q: Point) -> float:
    """Return how far along the step p to q, which crosses a to b, the crossing lies: 0..1."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    before = dx * (p[1] - a[1]) - dy * (p[0] - a[0])
    after = dx * (q[1] - a[1]) - dy * (q[0] - a[0])
    if before == after:
        return 0.5
    return min(1.0, max(0.0, before / (before - after)))


def path_crossings(points: Points, p: Point, q: Point) -> list[tuple[float, int]]:
    """Return the crossings of the step p to q over a poly-line: (fraction along the step, sign), in the order met."""
    found = []
    for a, b in pairwise(points):
        sign = crossing_sign(a, b, p, q) if a != b else 0
        if sign:
            found.append((crossing_fraction(a, b, p, q), sign))
    return sorted(found)


def segments_meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Return whether two closed segments have a point in common."""
    abc, abd, cda, cdb = turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)
    if abc != abd and cda != cdb:
        return True
    touching = ((abc, a, b, c), (abd, a, b, d), (cda, c, d, a), (cdb, c, d, b))
    return any(sign == 0 and _in_box(u, v, p) for sign, u, v, p in touching)


def _in_box(a: Point, b: Point, p: Point) -> bool:
    return min(a[0], b[0]) <= p[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])


class PolyLine:
    """The segments of a poly-line in pixels, for computing with many points at once."""

    def __init__(self, points: Points) -> None:
        kept = [points[0], *(q for p, q in pairwise(points) if p != q)]
        self.points: Points = tuple(kept)
        corners = np.array(kept, dtype=np.float64)
        self._a, self._b = corners[:-1], corners[1:]
        self._delta = self._b - self._a
        self._length = np.hypot(self._delta[:, 0], self._delta[:, 1])
        self._closed = len(kept) > 2 and kept[0] == kept[-1]

    def signed_distance_px(self, points: Floats) -> Floats:
        """Return how far (N, 2) points lie from the line, positive on its right side; (N,).

        The side is that of the nearest segment. Beyond a free end the distance is the one to the end's extension, so
        an object that walks round the end changes side without having crossed.
        """
        if len(self._length) == 1:
            return self._across(points)[:, 0]
        across, along = self._across(points), self._along(points)
        squared = self._squared(points, along)
        nearest, beyond_end = self._nearest(across, along, squared)
        rows = np.arange(len(points))
        signed = across[rows, nearest]
        apart = np.sqrt(squared[rows, nearest])
        distance: Floats = np.where(beyond_end, signed, np.copysign(apart, signed))
        return distance

    def distance_px(self, points: Floats) -> Floats:
        """Return how far (N, 2) points lie from the line itself, not from its extension; (N,)."""
        distance: Floats = np.sqrt(self._squared(points, self._along(points)).min(axis=1))
        return distance

    def _across(self, points: Floats) -> Floats:
        """Return distances at right angles from the line through each segment, (N, S)."""
        dx, dy = self._delta[:, 0], self._delta[:, 1]
        return (dx * (points[:, 1, None] - self._a[:, 1]) - dy * (points[:, 0, None] - self._a[:, 0])) / self._length

    def _along(self, points: Floats) -> Floats:
        """Return where the foot of each point lies on each segment, 0 at its start and 1 at its end, (N, S)."""
        relative = points[:, None, :] - self._a
        along: Floats = np.einsum("nsd,sd->ns", relative, self._delta) / self._length**2
        return along

    def _squared(self, points: Floats, along: Floats) -> Floats:
        """Return squared distances to the segments themselves, (N, S)."""
        along = along[..., None]
        foot = np.where(along <= 0, self._a, np.where(along >= 1, self._b, self._a + along * self._delta))
        squared: Floats = ((points[:, None, :] - foot) ** 2).sum(axis=2)
        return squared

    def _nearest(self, across: Floats, along: Floats, squared: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the index of the nearest segment of each point, and whether the point lies beyond a free end."""
        # At a corner two segments are equally near: the one that the point lies more squarely beside knows its side.
        tie = squared <= squared.min(axis=1, keepdims=True)
        nearest = np.where(tie, np.abs(across), -1.0).argmax(axis=1)
        if self._closed:
            return nearest, np.zeros(len(nearest), dtype=np.bool_)
        foot = along[np.arange(len(nearest)), nearest]
        last = len(self._length) - 1
        return nearest, ((nearest == 0) & (foot <= 0)) | ((nearest == last) & (foot >= 1))
