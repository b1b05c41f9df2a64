"""Whether a polygon's outline crosses or touches itself: exact, in rational arithmetic on the given coordinates.

The data plane holds the same rule when it counts; here it is the gate, so that nobody stores what cannot be counted.
"""

from fractions import Fraction

Point = tuple[Fraction, Fraction]
Edge = tuple[Point, Point]


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


def _turn(a: Point, b: Point, p: Point) -> int:
    """1 when p is to the right of a to b on the screen, -1 to the left, 0 on the line through them."""
    cross = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
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
