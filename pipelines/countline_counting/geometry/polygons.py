"""Exact geometry of polygons: whether a point lies inside, and whether an outline crosses itself.

Signs and degenerate cases are those of `segments`.
"""

from countline_counting.geometry.segments import Point, Points, segments_meet, side, turn


def inside(polygon: Points, p: Point) -> bool:
    """Return whether p is in the polygon (even-odd rule), as the crossings of its outline (`path_crossings`) say."""
    odd = False
    for a, b in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        # A ray to the right from the shifted point meets only edges with one end at its height or above and one below.
        if (a[1] > p[1]) != (b[1] > p[1]) and side(a, b, p) == (1 if a[1] > b[1] else -1):
            odd = not odd
    return odd


def polygon_crosses_itself(polygon: Points) -> bool:
    """Return whether two edges of the outline meet anywhere but at the corner that they share.

    Args:
        polygon: three corners or more, finite coordinates; the last one is joined to the first.
    """
    edges = list(zip(polygon, (*polygon[1:], polygon[0]), strict=True))
    if any(a == b for a, b in edges):
        return True
    for i, first in enumerate(edges):
        for j in range(i + 1, len(edges)):
            if _edges_clash(first, edges[j], follows=j == i + 1, precedes=i == 0 and j == len(edges) - 1):
                return True
    return False


def _edges_clash(first: tuple[Point, Point], second: tuple[Point, Point], *, follows: bool, precedes: bool) -> bool:
    if follows or precedes:
        (far, corner), (_, other) = (first, second) if follows else (second, first)
        return turn(far, corner, other) == 0 and _points_back(far, corner, other)
    return segments_meet(*first, *second)


def _points_back(far: Point, corner: Point, other: Point) -> bool:
    """Return whether corner to other runs back along far to corner; all three are on one line."""
    return (other[0] - corner[0]) * (far[0] - corner[0]) > 0 or (other[1] - corner[1]) * (far[1] - corner[1]) > 0
