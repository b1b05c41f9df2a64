"""On which side of a line an object is, from distances that jitter."""

import math
from collections import deque

from countline_counting import rules
from countline_counting.rule.passes import Sight


class Approach:
    """The way of an object towards a line and over it, since it came into view.

    Args:
        first: its first sight.
    """

    __slots__ = ("_farthest", "_first", "_net", "_setback", "_sights", "side")

    def __init__(self, first: Sight) -> None:
        self._first = first
        self.side = 1 if first.distance_heights > 0 else -1
        """On which the object came into view."""
        self._net = 0
        self._sights = 0
        self._farthest = -abs(first.distance_heights)
        self._setback = 0.0

    def add(self, sight: Sight) -> None:
        """Take the next sight."""
        progress = -sight.distance_heights * self.side
        self._farthest = max(self._farthest, progress)
        self._setback = max(self._setback, self._farthest - progress)
        self._sights += 1

    def meet(self, sign: int) -> None:
        """Take a meeting of the path and the line."""
        self._net += sign

    def origin_heights(self) -> float:
        """Return how far before the line the object came into view, if its motion shows that it came from there.

        It does if the object then went over the line without going back by more than `rules.ORIGIN_NEAR_HEIGHTS`, and
        was seen at least three times: two sights are a motion, and the third one confirms it. If not, return 0.
        """
        distance = abs(self._first.distance_heights)
        least = max(rules.ORIGIN_NEAR_HEIGHTS, self._first.sure_heights)
        passed = self._net == -self.side and self._sights >= rules.MOTION_SAMPLES
        return distance if passed and distance >= least and self._setback <= rules.ORIGIN_NEAR_HEIGHTS else 0.0


class RecentSights:
    """The last sights of one object at one line, as far back as `rules.RECENT_S`."""

    __slots__ = ("_sights",)

    def __init__(self) -> None:
        self._sights: deque[Sight] = deque()

    def add(self, sight: Sight) -> None:
        """Take the next sight."""
        sights = self._sights
        sights.append(sight)
        while sights[0].t < sight.t - rules.RECENT_S:
            sights.popleft()

    def clear(self) -> None:
        """Forget the sights."""
        self._sights.clear()

    def clear_heights(self, side: int, limit_heights: float) -> float:
        """Return how far the object is from the line on a side, if it is surely beyond a limit there; else 0.

        The object is beyond the limit if its last sight is on that side, and if for some number of last sights the
        mean is beyond the limit, and `rules.SURE_DEVIATIONS` of its own jitter from the line. So an object whose boxes
        do not jitter needs one sight. The more they jitter, the more sights or the more distance it needs.
        """
        newest = self._sights[-1]
        if newest.distance_heights * side <= 0:
            return 0.0
        if newest.sure_heights <= limit_heights:
            distance = newest.distance_heights * side
            return distance if distance >= limit_heights else 0.0
        total = 0.0
        for count, sight in enumerate(reversed(self._sights), start=1):
            total += sight.distance_heights * side
            independent = min(count, 1 + int((newest.t - sight.t) / rules.JITTER_SPACING_S + 1e-3))
            mean = total / count
            if mean >= limit_heights and mean * math.sqrt(independent) >= newest.sure_heights:
                return mean
        return 0.0

    def turning(self, side: int) -> tuple[float, int]:
        """Return the time and the frame that separate best what was before the line from what is beyond, on a side.

        There the running sum of distances is least: before, the object was on the other side by and large, and since
        then on this one. This is the change-point of Page (Continuous inspection schemes, 1954).
        """
        total, least, last = 0.0, 0.0, 0
        for i, sight in enumerate(self._sights, start=1):
            total += sight.distance_heights * side
            if total <= least:
                least, last = total, i
        after = self._sights[min(last, len(self._sights) - 1)]
        return (self._sights[max(0, last - 1)].t + after.t) / 2, after.frame
