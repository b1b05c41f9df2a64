"""Movement: smooth routes on the ground, and journeys along them in time.

A journey repeats every `period_s`: an object that starts at `start_s` starts again one period later. A journey must be
shorter than the period, so an object is never in two places.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

STEP_M = 0.05
"""Spacing of a route's samples; bends have radii of at least a metre."""


@dataclass(frozen=True)
class GroundRoute:
    """A smooth curve through way-points."""

    waypoints: tuple[tuple[float, float], ...]
    """X, Y in metres, at least two."""

    @cached_property
    def _samples(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        points = _catmull_rom(np.array(self.waypoints, dtype=np.float64))
        lengths = np.hypot(*np.diff(points, axis=0).T)
        return np.concatenate([[0.0], np.cumsum(lengths)]), points

    @cached_property
    def length_m(self) -> float:
        """Length along the curve."""
        return float(self._samples[0][-1])

    def at(self, distance_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions (N, 2) in metres at distances (N,) in metres along the route."""
        along, points = self._samples
        return np.stack(
            [np.interp(distance_m, along, points[:, 0]), np.interp(distance_m, along, points[:, 1])], axis=-1
        )

    def place(self, distance_m: float) -> tuple[float, float, float]:
        """Position X, Y in metres and heading in radians (0 is +X, counter-clockwise seen from above)."""
        behind = min(max(distance_m - 0.1, 0.0), self.length_m - 0.2)
        (x0, y0), (x, y), (x1, y1) = self.at(np.array([behind, distance_m, behind + 0.2]))
        return float(x), float(y), math.atan2(y1 - y0, x1 - x0)


def _catmull_rom(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centripetal Catmull-Rom spline through (N, 2) points by Barry and Goldman's pyramid, sampled finely."""
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt(np.hypot(*np.diff(padded, axis=0).T)))])
    pieces = []
    for i in range(len(points) - 1):
        steps = max(2, math.ceil(float(np.hypot(*(points[i + 1] - points[i]))) / STEP_M))
        t = np.linspace(knots[i + 1], knots[i + 2], steps, endpoint=False)[:, None]
        pieces.append(_pyramid(padded[i : i + 4], knots[i : i + 4], t))
    return np.concatenate([*pieces, points[-1:]])


def _pyramid(points: NDArray[np.float64], knots: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    level = list(points)
    for width in (1, 2):
        level = [_blend(level[i], level[i + 1], knots[i], knots[i + width], t) for i in range(len(level) - 1)]
    return _blend(level[0], level[1], knots[1], knots[2], t)


def _blend(
    a: NDArray[np.float64], b: NDArray[np.float64], start: float, end: float, t: NDArray[np.float64]
) -> NDArray[np.float64]:
    return a + (b - a) * ((t - start) / (end - start))


@dataclass(frozen=True)
class Stop:
    """A stop on a route."""

    at_m: float
    """Distance along the route at which the object stands."""
    lasts_s: float
    ease_s: float = 0.6
    """Time to come to a stop, and to start again."""


@dataclass(frozen=True)
class Journey:
    """Moves along a route once per period."""

    path: GroundRoute
    start_s: float
    speed_ms: float
    stops: tuple[Stop, ...] = ()

    @cached_property
    def _timetable(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Knots of the monotone map from time since the start to distance, with easing around each stop."""
        times, distances = [0.0], [0.0]
        for stop in self.stops:
            ease_m = self.speed_ms * stop.ease_s / 2
            times.append(times[-1] + (stop.at_m - ease_m - distances[-1]) / self.speed_ms)
            distances.append(stop.at_m - ease_m)
            _append_ease(times, distances, self.speed_ms, stop.ease_s, arriving=True)
            times.append(times[-1] + stop.lasts_s)
            distances.append(distances[-1])
            _append_ease(times, distances, self.speed_ms, stop.ease_s, arriving=False)
        times.append(times[-1] + (self.path.length_m - distances[-1]) / self.speed_ms)
        distances.append(self.path.length_m)
        return np.array(times), np.array(distances)

    @cached_property
    def duration_s(self) -> float:
        """Time from the first way-point to the last, including stops."""
        return float(self._timetable[0][-1])

    def elapsed_s(self, t: float, period_s: float) -> float | None:
        """Seconds since the last start at time t; None if the journey has ended."""
        elapsed = (t - self.start_s) % period_s
        return elapsed if elapsed < self.duration_s else None

    def distance_m(self, elapsed_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distances in metres after (N,) seconds."""
        return np.interp(elapsed_s, *self._timetable)

    def pace(self, elapsed_s: float) -> float:
        """Present speed as a share of `speed_ms`, 0 to 1."""
        ahead, behind = self.distance_m(np.array([elapsed_s + 0.05, elapsed_s - 0.05]))
        moving_s = min(elapsed_s + 0.05, self.duration_s) - max(elapsed_s - 0.05, 0.0)
        return min(1.0, float(ahead - behind) / (self.speed_ms * moving_s))


def _append_ease(times: list[float], distances: list[float], speed_ms: float, ease_s: float, *, arriving: bool) -> None:
    """Add samples of a parabola that takes the speed to zero, or back."""
    t0, d0 = times[-1], distances[-1]
    for part in (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0):
        gone = part - part * part / 2 if arriving else part * part / 2
        times.append(t0 + part * ease_s)
        distances.append(d0 + gone * ease_s * speed_ms)
