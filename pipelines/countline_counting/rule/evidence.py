"""On which side of a line an object is, from distances that jitter."""

import math
from collections import deque

from countline_counting import rules
from countline_counting.rule.passes import Sight


class RecentSights:
    """The last sights of one object at one line, as far back as `rules.RECENT_S`; one, if its boxes do not jitter."""

    __slots__ = ("_sights",)

    def __init__(self) -> None:
        self._sights: deque[Sight] = deque()

    def add(self, sight: Sight) -> None:
        """Take the next sight."""
        sights = self._sights
        if sight.is_measured and not sight.jitters:
            sights.clear()
        sights.append(sight)
        while sights[0].t < sight.t - rules.RECENT_S:
            sights.popleft()

    @property
    def newest(self) -> Sight:
        """The last sight."""
        return self._sights[-1]

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

    def crossed_at(self, side: int, met: tuple[float, int]) -> tuple[float, int]:
        """Return the time and the frame at which the object went over the line to a side.

        That is when the path last met the line (`met`). If the boxes jitter, it is what separates best the sights
        before the line from those beyond it. There the running sum of distances is least: before, the object was on
        the other side by and large, and since then on this one. This is the change-point of Page (Continuous
        inspection schemes, 1954).
        """
        if not self.newest.jitters:
            return met
        total, least, last = 0.0, 0.0, 0
        for i, sight in enumerate(self._sights, start=1):
            total += sight.distance_heights * side
            if total <= least:
                least, last = total, i
        after = self._sights[min(last, len(self._sights) - 1)]
        return (self._sights[max(0, last - 1)].t + after.t) / 2, after.frame
