"""Time by the frames: which frames are in order, and how long the stream was running."""

from enum import Enum

from countline_counting.coverage import longest_gap_s
from countline_counting.rules import CLOCK_RESET_S

_PERIOD_WEIGHT = 0.1
"""Share of the newest gap in the running mean of the frame period."""


class Arrival(Enum):
    """How a frame's time relates to the frame before."""

    NEXT = "next"
    LATE = "late"
    """Not newer than a counted frame: late, doubled or out of order."""
    RESET = "reset"
    """So much older that the camera's clock was set back."""


class RunningClock:
    """Adds up the time in which frames came. A stall of the stream adds at most `longest_gap_s`."""

    def __init__(self) -> None:
        self.t = float("-inf")
        self.running_s = 0.0
        self._period_s = 0.0

    @property
    def period_s(self) -> float:
        """Running mean of the time between two frames; 0 before the second frame."""
        return self._period_s

    def admit(self, t: float) -> Arrival:
        """Classify the next frame by its time. Only a `NEXT` frame moves the clock."""
        if self.t == float("-inf"):
            self.t = t
            return Arrival.NEXT
        gap_s = t - self.t
        if gap_s < -CLOCK_RESET_S:
            return Arrival.RESET
        if gap_s <= 0:
            return Arrival.LATE
        self.t = t
        ran_s = min(gap_s, longest_gap_s(self._period_s))
        # A stall shows nothing about the frame rate, except that it may have become slower.
        self._period_s += (ran_s - self._period_s) * (_PERIOD_WEIGHT if self._period_s else 1.0)
        self.running_s += ran_s
        return Arrival.NEXT
