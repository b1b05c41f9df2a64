"""Distances between steps of a path and a line, in pixels, and the points of a path that explanations show."""

import math

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
    return float(line.distance_px(np.array([point]))[0])


def past_the_end_px(line: PolyLine, before: Point, after: Point) -> float:
    """Return the distance of a step between two different points from the nearer end of the line."""
    return float(PolyLine((before, after)).distance_px(np.array([line.points[0], line.points[-1]])).min())
