"""How noisy the boxes of one camera are, measured while they are tracked.

The filter assumes the noise of a usual detector. Boxes of another detector, or of a camera in rain, may be noisier.
Then the filter follows the noise, gates refuse the right boxes, and tracks break or change objects. The difference of
a box from its prediction (the *innovation*) shows the noise: if the assumed noise is right, half of the innovations
are larger than 0.67 of their expected standard deviations. So the ratio of the true noise to the assumed one grows by a
small step with each larger innovation and shrinks with each smaller one (a stochastic approximation of the median,
Robbins and Monro 1951). Single jumps hardly change a median.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEP: Final = 0.05
"""Change of the logarithm of a ratio with each measured box."""
LONGEST_STEP: Final = 0.2
"""Largest change in one frame, so that a crowd that starts to move at once is not taken for noise."""
USUAL_RATIO: Final = 0.7
"""The filter assumes at least this noise of any box, so a smaller ratio changes nothing."""
LEAST_RATIO: Final = 0.4
"""Ratios start here and do not fall below it. The distance to `USUAL_RATIO` is a margin, so that chance changes nothing
either."""
LARGEST_RATIO: Final = 3.0
"""Ratios do not grow beyond this."""
SURE_DOUBT: Final = 1.5
"""Only boxes are measured whose variance is expected to be at most this many times the usual one: noise of weak boxes
and of boxes in a crowd is expected already."""
MEDIAN: Final = 0.6745
"""Median of the absolute value of a normal variable, in standard deviations."""


class MeasuredNoise:
    """The noise of a camera's boxes as a ratio to the noise that the filter assumes, by the noisiest axis."""

    def __init__(self) -> None:
        self._logs: Floats = np.full(4, math.log(LEAST_RATIO))
        """(4,) logarithms of the ratios of x, y, width, height."""
        self.ratio = LEAST_RATIO

    def take(self, innovation: Floats, deviation: Floats, doubt: Floats) -> None:
        """Measure the boxes of one frame.

        Args:
            innovation: (M, 4) differences of boxes from their predictions, in lengths.
            deviation: (M, 4) standard deviations that the filter expects of them.
            doubt: (M,) factors of the expected variance.
        """
        sure = doubt < SURE_DOUBT
        larger = np.sign(np.abs(innovation[sure]) - MEDIAN * deviation[sure]).sum(axis=0)
        step = np.clip(STEP * larger, -LONGEST_STEP, LONGEST_STEP)
        self._logs = np.clip(self._logs + step, math.log(LEAST_RATIO), math.log(LARGEST_RATIO))
        self.ratio = math.exp(self._logs.max())
