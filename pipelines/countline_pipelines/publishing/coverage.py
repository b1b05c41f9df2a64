"""Which spans of time a camera was really processed in (design.md §1 *coverage*, §5.6). Pure.

Coverage is the union of frame intervals; a gap between two processed frames counts as processed where it is no longer
than max(2 periods, 1 s). The period is the median of the last intervals, so that a stream that sends fewer frames than
it states is not taken for one that drops them.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final

LONGEST_GAP_S: Final = 1.0
LONGEST_GAP_PERIODS: Final = 2.0
_INTERVALS: Final = 9


@dataclass(frozen=True, slots=True)
class Span:
    """A span in which the camera was processed, ends included."""

    start: float
    end: float
    frames: int
    frames_dropped: int


class CoverageTracker:
    """Joins the frames of one run to spans.

    Args:
        period_s: expected time between processed frames.
        since: capture time of the last frame of the run from which this one takes over: what lies between is processed.
    """

    def __init__(self, period_s: float, since: float | None = None) -> None:
        self._intervals: deque[float] = deque([period_s], maxlen=_INTERVALS)
        self._start = since
        self._last = since or 0.0
        self._frames = 0
        self._dropped = 0
        self._closed: list[Span] = []

    def add(self, t: float, dropped: int = 0) -> None:
        """Note a processed frame and how many were dropped just before it."""
        if self._start is None:
            self._start = t
        else:
            if t - self._last > self._longest_gap_s():
                self._close()
                self._start = t
            self._intervals.append(t - self._last)
        self._last = t
        self._frames += 1
        self._dropped += dropped

    def _longest_gap_s(self) -> float:
        return max(LONGEST_GAP_S, LONGEST_GAP_PERIODS * median(self._intervals))

    def _close(self) -> None:
        if self._start is not None and (self._frames or self._dropped):
            self._closed.append(Span(self._start, self._last, self._frames, self._dropped))
        self._frames = self._dropped = 0

    def cut(self) -> list[Span]:
        """The spans since the last cut; the next one begins where the last one ends, so nothing falls between."""
        self._close()
        if self._start is not None:
            self._start = self._last
        spans, self._closed = self._closed, []
        return spans
