"""How far the boxes of one object jitter about a line, measured where it matters: while the object stands on the line.

The path of an object that stands on a line goes over it and back again and again, never far, and often within less than
`rules.EXCURSION_S`. A walker stays on a side for longer. So short excursions show that the boxes jitter, whatever the
frame rate, and quick turns do not look like jitter. The distances of the sights between two meetings with the line then
show how far the boxes jitter.
"""

import math
import statistics
from collections import deque
from typing import Final, NamedTuple

from countline_counting import rules

SIGHT_SPACING_S: Final = 0.1
"""Distances are kept at least this far apart in time, so that they cover some seconds at any frame rate ..."""
MOST_SIGHTS: Final = 100
"""... and at most this number of them."""
INDEPENDENT_S: Final = 0.4
"""Errors of boxes are independent at least this far apart in time: the filter of a tracker makes neighbours alike."""
MEDIAN: Final = 0.6745
"""Median of the absolute value of a normal variable, in standard deviations."""


class Clearance(NamedTuple):
    """How far an object is beyond a line, and how far it must be to be clear of the line, in heights."""

    value: float
    least: float

    @property
    def clear(self) -> bool:
        """Whether the object is clear of the line."""
        return self.value >= self.least


class LineJitter:
    """The jitter of one object about one line."""

    __slots__ = ("_distances", "_excursion", "_independent", "_independent_t", "_met_t", "_short", "_sights", "_sum")

    def __init__(self) -> None:
        self._distances: deque[tuple[float, float]] = deque(maxlen=MOST_SIGHTS)
        """Time and distance, without sign, of sights between two meetings."""
        self._short: deque[float] = deque(maxlen=rules.JITTER_EXCURSIONS)
        """Times at which the last short excursions ended."""
        self._excursion: list[tuple[float, float]] = []
        """The same as `_distances`, since the last meeting."""
        self._met_t = self._independent_t = -math.inf
        self._sights = self._independent = 0
        """Numbers of sights since the last meeting, and of those whose errors are independent."""
        self._sum = 0.0
        """Sum of their distances, with sign."""

    def see(self, t: float, distance_heights: float) -> None:
        """Take the next sight; distances are positive on the right-hand side of the line."""
        if self._short and self._short[-1] < t - rules.JITTER_MEMORY_S:
            self._short.clear()
            self._distances.clear()
        if t - self._met_t < rules.LATEST_S:
            self._excursion.append((t, abs(distance_heights)))
        if t - self._independent_t >= INDEPENDENT_S - rules.TIME_SLACK_S:
            self._independent_t = t
            self._independent += 1
        self._sights += 1
        self._sum += distance_heights

    def meet(self, t: float) -> None:
        """Take a meeting of the path and the line: it ends an excursion and begins the next one."""
        away_s = t - self._met_t
        farthest = max((distance for _, distance in self._excursion), default=math.inf)
        if away_s < rules.LATEST_S and farthest < rules.JITTER_HEIGHTS:
            self._keep()
            if away_s < rules.EXCURSION_S or self._sights < rules.EXCURSION_SAMPLES:
                self._short.append(t)
        self._met_t, self._independent_t = t, -math.inf
        self._excursion = []
        self._sights = self._independent = 0
        self._sum = 0.0

    def _keep(self) -> None:
        for t, distance in self._excursion:
            if not self._distances or t - self._distances[-1][0] >= SIGHT_SPACING_S - rules.TIME_SLACK_S:
                self._distances.append((t, distance))

    @property
    def deviation_heights(self) -> float:
        """The standard deviation of the jitter; 0 if there are too few short excursions to speak of any."""
        if len(self._short) < rules.JITTER_EXCURSIONS:
            return 0.0
        return statistics.median(distance for _, distance in self._distances) / MEDIAN

    def clearance(self, side: int, distance_heights: float) -> Clearance:
        """Return how far the object is beyond the line, at its last sight or by the mean since it met the line.

        Args:
            side: which side is beyond: 1 right, -1 left.
            distance_heights: of the last sight, with sign.
        """
        beyond, least = distance_heights * side, rules.DESTINATION_CLEAR_HEIGHTS
        sure = rules.JITTER_DEVIATIONS * self.deviation_heights
        if sure <= least or beyond <= 0 or beyond >= sure:
            return Clearance(beyond, max(least, sure))
        mean = self._sum * side / self._sights
        return Clearance(mean, max(least, sure / math.sqrt(self._independent)))
