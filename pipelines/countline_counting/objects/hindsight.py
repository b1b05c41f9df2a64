"""Where boxes are noisy, lines and zones see each object a moment later, and then where hindsight puts it.

The noise of boxes moves the path of an object over a line and back, and near a line it hides on which side the object
was. Boxes that come later show it better (`tracking.smoothing`). Who an object is does not wait: ids, healing and the
boxes that are shown live are as without hindsight.

A camera whose boxes are exact gains nothing, so nothing is held back there. The measured noise decides this
(`tracking.noise`), with two limits, so that a camera between them does not go back and forth. Each sight is returned
once, and those of one object in the order of time, whatever the noise does meanwhile.
"""

from collections import deque
from collections.abc import Collection
from typing import Final

import numpy as np

from countline_counting import rules
from countline_counting.objects.sights import Observations
from countline_counting.tracking import TrackerSettings
from countline_counting.tracking.motion import Floats, corners
from countline_counting.tracking.noise import USUAL_RATIO
from countline_counting.tracking.smoothing import BOX, smoothed

CALM_RATIO: Final = 0.5
"""Sights are held back from `USUAL_RATIO` of noise on, until the noise falls below this."""
BLOCK_S: Final = 0.25
"""Hindsight looks back this often, which costs less than to look back at each frame."""


class Hindsight:
    """Holds back the observations of one camera while its boxes are noisy.

    Args:
        tracking: the settings of the tracker whose estimates are corrected.
    """

    def __init__(self, tracking: TrackerSettings) -> None:
        self.holds = False
        """Whether observations are held back now."""
        self.seen_until = float("-inf")
        """Capture time until which every sight was returned."""
        self._wander = np.array([tracking.acceleration, tracking.growth])
        self._held: deque[Observations] = deque()
        self._looked_t = float("-inf")

    def follow(self, noise_ratio: float, now: float) -> list[Observations]:
        """Take the noise of the newest frame; return what need not be held back any more."""
        if not self.holds:
            self.holds = noise_ratio >= USUAL_RATIO
            if self.holds:
                self._looked_t = now
            return []
        if noise_ratio >= CALM_RATIO:
            return []
        self.holds = False
        return self.release_all()

    def hold(self, observed: Observations) -> None:
        """Hold back observations."""
        self._held.append(observed)

    def due(self, now: float) -> list[Observations]:
        """Return what was held back for long enough at a capture time, corrected."""
        if not self.holds:
            self.seen_until = now
            return []
        if now - self._looked_t < BLOCK_S - rules.TIME_SLACK_S:
            return []
        self._looked_t = now
        until = now - rules.HINDSIGHT_S + rules.TIME_SLACK_S
        self.seen_until = max(self.seen_until, until)
        count = 0
        while count < len(self._held) and self._held[count].t.max() <= until:
            count += 1
        boxes = self._look_back() if count else []
        return [self._held.popleft().at(boxes[i]) for i in range(count)]

    def release(self, rows: Collection[int]) -> list[Observations]:
        """Return now what is held back of some objects."""
        if not rows or not self._held:
            return []
        wanted, boxes = np.array(sorted(rows)), self._look_back()
        released, kept = [], deque[Observations]()
        for observed, better in zip(self._held, boxes, strict=True):
            chosen = np.isin(observed.rows, wanted)
            if chosen.any():
                released.append(observed.at(better).of(chosen))
                observed = observed.of(~chosen)  # noqa: PLW2901
            if len(observed.rows):
                kept.append(observed)
        self._held = kept
        return released

    def release_all(self) -> list[Observations]:
        """Return everything that is held back."""
        released = [observed.at(better) for observed, better in zip(self._held, self._look_back(), strict=True)]
        self._held.clear()
        return released

    def _look_back(self) -> list[Floats]:
        """Return the corrected (N, 4) boxes of everything that is held back, in the same order.

        The estimates of one track correct each other. An object that was healed has several tracks.
        """
        if not self._held:
            return []
        rows, tracks, t, estimates = (
            np.concatenate([getattr(observed, name) for observed in self._held])
            for name in ("rows", "tracks", "t", "estimates")
        )
        order = np.argsort(rows, kind="stable")  # the observations of an object are held in the order of time
        one, other = order[:-1], order[1:]
        same = (rows[one] == rows[other]) & (tracks[one] == tracks[other])
        following = np.full(len(rows), -1)
        following[one[same]] = other[same]
        ends = np.cumsum([len(observed.rows) for observed in self._held]).tolist()
        moments = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        boxes = corners(smoothed(estimates, t, following, moments, self._wander)[:, BOX])
        return [boxes[moment] for moment in moments]
