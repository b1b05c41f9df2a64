"""Whether a polygon's outline crosses itself, and whether four points fix a ground: exact, in rational arithmetic.

The data plane holds the same rule when it counts; here it is the gate, so that nobody stores what cannot be counted.
"""

from fractions import Fraction
from itertools import combinations
from typing import Final

Point = tuple[Fraction, Fraction]
Edge = tuple[Point, Point]
THINNEST: Final = Fraction(1, 1000)
"""Three points are on one line where twice the triangle's area is less than this share of its longest side squared."""


def crosses_itself(corners: list[tuple[float, float]]) -> bool:
    """Whether two edges meet anywhere but at the corner that they share.

    Args:
        corners: finite coordinates, three or more; the last is joined to the first.
    """
    exact = [(Fraction(x), Fraction(y)) for x, y in corners]
    edges = list(zip(exact, [*exact[1:], exact[0]], strict=True))
    if any(a == b for a, b in edges):
        return True
    last = len(edges) - 1
    for i, first in enumerate(edges):
        for j in range(i + 1, len(edges)):
            if j == i + 1:
                clash = _folds_back(first, edges[j])
            elif i == 0 and j == last:
                clash = _folds_back(edges[j], first)
            else:
                clash = _meet(first, edges[j])
            if clash:
                return True
    return False


def has_three_on_a_line(points: list[tuple[float, float]]) -> bool:
    """Whether any three of some finite points are on one line, or nearly."""
    return any(
        abs(_cross(a, b, c)) <= THINNEST * max(_apart(a, b), _apart(b, c), _apart(a, c))
        for a, b, c in combinations([(Fraction(x), Fraction(y)) for x, y in points], 3)
    )


def horizon_is_between(image: list[tuple[float, float]], ground: list[tuple[float, float]]) -> bool:
    """Whether a camera that sees four places of the ground at these points has the horizon among them.

    It has not where the fourth point lies to each side of the triangle of the other three as its place does to theirs
    (the weights at which a homography maps the points have one sign then).

    Args:
        image: four points, no three on a line.
        ground: their places, no three on a line.
    """
    seen, real = (_weights(*[(Fraction(x), Fraction(y)) for x, y in points]) for points in (image, ground))
    return any(a * b < 0 for a, b in zip(seen, real, strict=True))


def _weights(a: Point, b: Point, c: Point, d: Point) -> list[Fraction]:
    """Barycentric coordinates of d in the triangle of the others."""
    whole = _cross(a, b, c)
    return [_cross(d, b, c) / whole, _cross(a, d, c) / whole, _cross(a, b, d) / whole]


def _apart(a: Point, b: Point) -> Fraction:
    """The distance squared."""
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2


def _cross(a: Point, b: Point, p: Point) -> Fraction:
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def _turn(a: Point, b: Point, p: Point) -> int:
    """1 when p is to the right of a to b on the screen, -1 to the left, 0 on the line through them."""
    cross = _cross(a, b, p)
    return (cross > 0) - (cross < 0)


def _folds_back(first: Edge, second: Edge) -> bool:
    """Whether the second edge, which begins where the first ends, runs back over it."""
    (far, corner), (_, other) = first, second
    if _turn(far, corner, other) != 0:
        return False
    along = (far[0] - corner[0]) * (other[0] - corner[0]) + (far[1] - corner[1]) * (other[1] - corner[1])
    return along > 0


def _meet(first: Edge, second: Edge) -> bool:
    (a, b), (c, d) = first, second
    abc, abd, cda, cdb = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if abc != abd and cda != cdb:
        return True
    touching = ((abc, a, b, c), (abd, a, b, d), (cda, c, d, a), (cdb, c, d, b))
    return any(turn == 0 and _in_box(u, v, p) for turn, u, v, p in touching)


def _in_box(a: Point, b: Point, p: Point) -> bool:
    return min(a[0], b[0]) <= p[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])
