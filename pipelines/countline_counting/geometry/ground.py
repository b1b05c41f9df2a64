"""The ground plane of a camera: where objects stand in metres, how fast and in which direction they move.

Picture and ground differ by a homography, which four reference points fix: no three of them on one line, and all four
before the horizon (Hartley and Zisserman, Multiple View Geometry, 2nd edition, chapters 2 and 4). Speed and heading
come from a straight even motion, fitted by least squares. An object stands at the middle of the lower edge of its box,
whatever its anchor is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

import numpy as np

from countline_counting.errors import GeometryError
from countline_counting.geometry.segments import Floats, Point
from countline_counting.limits import GROUND_POINTS

THINNEST: Final = 1e-3
"""Three points are on one line where twice the triangle's area is less than this share of its longest side squared."""
MOTION_S: Final = 1.0
"""The motion at a moment is fitted to the sights up to this long before and after it."""

_FIELD: Final = "ground_plane"


@dataclass(frozen=True, slots=True)
class GroundPlane:
    """The ground of one camera.

    Raises:
        GeometryError: the points do not fix a ground.
    """

    points: tuple[tuple[Point, Point], ...]
    """Four pairs: a point of the picture, 0..1, and its place on the ground, in metres."""
    _to_ground: Floats = field(init=False, repr=False, compare=False)
    """(3, 3): homogeneous coordinates of the picture, 0..1, to those of the ground."""

    def __post_init__(self) -> None:
        _check_numbers(self.points)
        image, ground = (tuple(pair[i] for pair in self.points) for i in (0, 1))
        _check_shape(image, "in the picture")
        _check_shape(ground, "on the ground")
        weights = _weights(ground) / _weights(image)
        if horizon_is_between(image, ground):
            raise GeometryError(
                _FIELD,
                "the horizon would run between the points",
                "see that each point of the picture stands beside its own place on the ground",
            )
        # Each reference point is mapped to its place, with the weight at which the fourth one is, too.
        from_image = _homogeneous(image[:3]).T
        to_ground = _homogeneous(ground[:3]).T * weights
        object.__setattr__(self, "_to_ground", to_ground @ np.linalg.inv(from_image))

    def metres(self, xy_px: Floats, size_wh: tuple[int, int]) -> Floats:
        """Return where (N, 2) points of the picture lie on the ground, (N, 2); NaN for those beyond the horizon."""
        image = np.column_stack([np.asarray(xy_px, dtype=np.float64) / size_wh, np.ones(len(xy_px))])
        mapped = image @ self._to_ground.T
        before_horizon = mapped[:, 2:] > 0
        ground: Floats = np.where(before_horizon, mapped[:, :2] / np.where(before_horizon, mapped[:, 2:], 1.0), np.nan)
        return ground


def _check_numbers(points: tuple[tuple[Point, Point], ...]) -> None:
    if len(points) != GROUND_POINTS:
        raise GeometryError(_FIELD, f"{len(points)} points, {GROUND_POINTS} are needed", "give four reference points")
    for (x, y), place in points:
        if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):  # also refuses NaN
            raise GeometryError(
                _FIELD,
                f"({x:g}, {y:g}) lies outside the picture, whose coordinates go from 0 to 1",
                "divide pixels by the picture's width and height",
            )
        if not all(map(math.isfinite, place)):
            raise GeometryError(_FIELD, f"{place} is no place", "give metres")


def _check_shape(points: tuple[Point, ...], where: str) -> None:
    found = three_on_a_line(points)
    if found is not None:
        listed = ", ".join(f"({x:g}, {y:g})" for x, y in found)
        raise GeometryError(
            _FIELD, f"{listed} lie on one line {where}", "give four corners of an area, as large as can be"
        )


def three_on_a_line(points: Sequence[Point]) -> tuple[Point, Point, Point] | None:
    """Return three of some points that are on one line, or nearly; None where there are none."""
    for a, b, c in combinations(points, 3):
        longest = max(math.dist(a, b), math.dist(b, c), math.dist(a, c))
        if abs(_cross(a, b, c)) <= THINNEST * longest**2:
            return a, b, c
    return None


def horizon_is_between(image: Sequence[Point], ground: Sequence[Point]) -> bool:
    """Return whether a camera that sees four places of the ground at these points has the horizon among them.

    It has not where the homography maps all four points with weights of one sign.

    Args:
        image: four points of the picture, no three on a line.
        ground: their places, no three on a line.
    """
    return not bool((_weights(ground) / _weights(image) > 0).all())


def _cross(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _weights(points: Sequence[Point]) -> Floats:
    """Return (3,) barycentric coordinates of the fourth point in the triangle of the first three."""
    a, b, c, d = points
    return np.array([_cross(d, b, c), _cross(a, d, c), _cross(a, b, d)]) / _cross(a, b, c)


def _homogeneous(points: tuple[Point, ...]) -> Floats:
    return np.column_stack([np.array(points, dtype=np.float64), np.ones(len(points))])


@dataclass(frozen=True, slots=True)
class Travel:
    """Motion of an object at a moment; None where too few sights are known."""

    heading_deg: float | None = None
    """Direction in the picture, clockwise from straight up, 0 <= heading < 360."""
    speed_m_per_s: float | None = None
    """Along the ground; None also without a ground plane."""


def travel(history: Floats, t: float, ground: GroundPlane | None, size_wh: tuple[int, int]) -> Travel:
    """Return the motion of an object around a moment.

    Args:
        history: (M, 5) sights in any order: time, centre x and y, width, height of the box in pixels; NaN where empty.
        t: the moment.
        ground: the ground plane; None for none.
        size_wh: of the picture, in pixels.
    """
    away_s = np.abs(history[:, 0] - t)
    near = np.sort(np.argsort(away_s, kind="stable")[: max(2, int((away_s <= MOTION_S).sum()))])
    rows = history[near]
    rows = rows[~np.isnan(rows[:, 0])]
    feet = np.column_stack([rows[:, 1], rows[:, 2] + rows[:, 4] / 2])
    velocity = _slope(rows[:, 0], feet)
    if velocity is None:
        return Travel()
    # Twice: of a tiny negative angle the remainder is 360 itself.
    heading_deg = math.degrees(math.atan2(velocity[0], -velocity[1])) % 360.0 % 360.0 if any(velocity) else None
    on_ground = None if ground is None else _slope(rows[:, 0], ground.metres(feet, size_wh))
    return Travel(heading_deg, None if on_ground is None else math.hypot(*on_ground))


def _slope(times: Floats, places: Floats) -> tuple[float, float] | None:
    """Fit a straight even motion by least squares; None for fewer than two moments, or where a place is unknown."""
    if len(times) < 2 or np.isnan(places).any():
        return None
    relative = times - times.mean()
    spread = float(relative @ relative)
    if spread == 0.0:
        return None
    x, y = (relative @ (places - places.mean(axis=0)) / spread).tolist()
    return x, y
