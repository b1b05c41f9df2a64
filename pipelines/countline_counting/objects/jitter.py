"""How much the boxes of each object jitter, measured on the object's own path.

Three sights in succession give one sample: how far the middle one lies from the straight even motion between its
neighbours. An object that brakes by a height a second squared deviates by 0.005 heights in two tenths of a second, so
what is left is noise of the boxes. The mean is that of logarithms: a jump of the tracker, or a sudden stop, changes it
little.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats
from countline_counting.rules import JITTER_SPACING_S

LONGEST_S: Final = 1.0
"""Three sights that span more than this give no sample, because the object may have changed its speed meanwhile."""
LEAST_SAMPLES: Final = 3
"""Jitter is unknown, and counts as none, until there are this many samples: the middle one of three is no outlier."""
MEMORY_SAMPLES: Final = 100
"""Weight of the past, in samples. The mean of 100 logarithms of normal noise is exact to a twelfth."""
LEAST_HEIGHTS: Final = 0.002
"""Smaller deviations count as this one: stored paths are no more exact (`trajectories.table.ERROR_HEIGHTS`)."""
_NORMAL: Final = math.exp((math.log(2) + 0.5772156649015329) / 2)
"""Standard deviation of normal noise in units of exp(mean of log of its size)."""


class JitterMeter:
    """Measures the jitter of each object. Rows are those of the table of objects."""

    def __init__(self) -> None:
        self._past = np.zeros((0, 2, 3))
        """(R, 2, 3) t, x, y of the last two spaced sights, the older one first; NaN for none."""
        self._mean_log = np.zeros((0, 2))
        """(R, 2) mean logarithm of the deviations along x and y, in heights."""
        self._samples = np.zeros(0)
        self._jitter = np.zeros((0, 2))
        """(R, 2) standard deviations in heights; 0 while unknown."""

    def take(self, rows: NDArray[np.intp], t: Floats, xy_px: Floats, height_px: Floats) -> Floats:
        """Take sights of N different objects; return (N, 2) standard deviations of their jitter in heights, by axis.

        Args:
            rows: (N,) rows of the objects.
            t: (N,) capture times.
            xy_px: (N, 2) anchors.
            height_px: (N,) heights of the objects.
        """
        self._reserve(int(rows.max(initial=-1)) + 1)
        spaced = np.nonzero(~(t - self._past[rows, 1, 0] < JITTER_SPACING_S - 1e-6))[0]
        if len(spaced):
            chosen = rows[spaced]
            newest = np.column_stack([t[spaced], xy_px[spaced]])
            self._sample(chosen, newest, height_px[spaced])
            self._past[chosen, 0] = self._past[chosen, 1]
            self._past[chosen, 1] = newest
        jitter: Floats = self._jitter[rows]
        return jitter

    def forget(self, row: int) -> None:
        """Free the row."""
        if row < len(self._samples):
            self._past[row] = np.nan
            self._mean_log[row] = self._samples[row] = self._jitter[row] = 0

    def _sample(self, rows: NDArray[np.intp], newest: Floats, height_px: Floats) -> None:
        older, middle = self._past[rows, 0], self._past[rows, 1]
        span_s = newest[:, 0] - older[:, 0]
        usable = span_s <= LONGEST_S + 1e-6  # False for NaN
        if not usable.any():
            return
        rows, older, middle, newest = rows[usable], older[usable], middle[usable], newest[usable]
        share = ((middle[:, 0] - older[:, 0]) / span_s[usable])[:, None]
        apart_px = np.abs(middle[:, 1:] - older[:, 1:] * (1 - share) - newest[:, 1:] * share)
        # The deviation holds the noise of three sights; the root makes it that of one.
        one = apart_px / (height_px[usable, None] * np.sqrt(1 + share**2 + (1 - share) ** 2))
        samples = self._samples[rows] + 1
        weight = 1 / np.minimum(samples, MEMORY_SAMPLES)
        self._mean_log[rows] += (np.log(np.maximum(one, LEAST_HEIGHTS)) - self._mean_log[rows]) * weight[:, None]
        self._samples[rows] = samples
        known = samples >= LEAST_SAMPLES
        self._jitter[rows[known]] = np.exp(self._mean_log[rows[known]]) * _NORMAL

    def _reserve(self, size: int) -> None:
        missing = size - len(self._samples)
        if missing <= 0:
            return
        more = max(missing, len(self._samples), 16)
        self._past = np.concatenate([self._past, np.full((more, 2, 3), np.nan)])
        self._mean_log = np.concatenate([self._mean_log, np.zeros((more, 2))])
        self._samples = np.concatenate([self._samples, np.zeros(more)])
        self._jitter = np.concatenate([self._jitter, np.zeros((more, 2))])
