"""Where an object comes from that came into view just before a line: its motion shows it, if that is clear.

An object comes out of a door, or from behind a pillar or another person, so near a line that it was never clear of it.
A box there is no evidence of a side, because it is no more exact than that. But an object that moves evenly over the
line came from where its motion leads back to.
"""

import math

from countline_counting import rules
from countline_counting.objects.table import PLACE_NOISE, PLACE_NOISE_SIGHTS
from countline_counting.rule.jitter import Clearance


class Approach:
    """The motion of one object across a line since it came into view.

    Args:
        side: where it came into view: 1 right, -1 left.
        t: when.
    """

    __slots__ = ("_sum_d", "_sum_dd", "_sum_t", "_sum_td", "_sum_tt", "beyond_heights", "side", "sights", "t")

    def __init__(self, side: int, t: float) -> None:
        self.side = side
        self.t = t
        self.beyond_heights = 0.0
        """How far beyond the line the object was at most."""
        self.sights = 0
        self._sum_t = self._sum_d = self._sum_tt = self._sum_td = self._sum_dd = 0.0

    def see(self, t: float, distance_heights: float) -> None:
        """Take the next sight; distances are positive on the right-hand side of the line."""
        passed_s, beyond = t - self.t, -self.side * distance_heights
        self.beyond_heights = max(self.beyond_heights, beyond)
        self.sights += 1
        self._sum_t += passed_s
        self._sum_d += beyond
        self._sum_tt += passed_s * passed_s
        self._sum_td += passed_s * beyond
        self._sum_dd += beyond * beyond

    @property
    def certainty(self) -> Clearance:
        """The speed towards the line and over it, in standard errors; 0 if nothing is shown.

        The straight motion that fits best has the speed, and the distances of the sights from it have the error. The
        expected noise counts as some sights more. The object's own jitter has to outweigh it, and the motion has to
        begin on the side where the object came into view: else the first box was only a bad one.
        """
        n = self.sights  # two of them fit any straight motion and show no jitter
        spread = self._sum_tt - self._sum_t**2 / n if n else 0.0
        if n - 2 <= PLACE_NOISE_SIGHTS or spread <= 0:
            return Clearance(0.0, rules.APPROACH_DEVIATIONS)
        common = self._sum_td - self._sum_t * self._sum_d / n
        start = (common / spread * self._sum_t - self._sum_d) / n
        if start < rules.ORIGIN_NEAR_HEIGHTS:
            return Clearance(0.0, rules.APPROACH_DEVIATIONS)
        off = max(0.0, self._sum_dd - self._sum_d**2 / n - common**2 / spread)
        noise = math.sqrt((off + PLACE_NOISE_SIGHTS * PLACE_NOISE**2) / (n - 2 + PLACE_NOISE_SIGHTS))
        return Clearance(common / math.sqrt(spread) / noise, rules.APPROACH_DEVIATIONS)
