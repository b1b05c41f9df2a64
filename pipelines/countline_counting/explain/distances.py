"""Distances between steps of a path and a line, in pixels, and the points of a path that explanations show."""

import math
from itertools import pairwise

import numpy as np

from countline_counting.explain.journal import PathPoint
from countline_counting.geometry.segments import Point, PolyLine


def path_point(line: PolyLine, what: str, t: float, xy_px: Point, height_px: float = math.nan) -> PathPoint:
    """Return a point of the path, with its distance from the line measured by a height; NaN without a height."""
    return PathPoint(what, t, xy_px, signed_px(line, xy_px) / height_px)


def signed_px(line: PolyLine, point: Point) -> float:
    """Return the signed distance of a point from the line or its extension, positive on the right."""
    return float(line.signed_distance_px(np.array([point]))[0])


def apart_px(line: PolyLine, point: Point) -> float:
    """Return the distance of a point from the line itself, not from its extension."""
    return min(_from_segment_px(a, b, point) for a, b in pairwise(line.points))


def past_the_end_px(line: PolyLine, before: Point, after: Point) -> float:
    """Return the distance of a step from the nearer end of the line."""
    return min(_from_segment_px(before, after, end) for end in (line.points[0], line.points[-1]))


def _from_segment_px(a: Point, b: Point, p: Point) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    share = min(1.0, max(0.0, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length)) if length else 0.0
    return math.hypot(p[0] - a[0] - share * dx, p[1] - a[1] - share * dy)
