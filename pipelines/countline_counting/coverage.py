"""Coverage: the spans of time in which a camera was really being processed. The one rule for gaps.

Coverage is the union of frame intervals. A gap between two processed frames counts as processed up to
max(2 periods, 1 s), and so does the gap after the last frame (`longest_gap_s`).

The period is the median of the last nine intervals between processed frames, and the first of them is the interval that
the source promises. A median, because one long gap or one double frame must not change it: the mean of the intervals
grows with the very gap that it is to judge, and a span of one or two frames has no mean at all. So a stream that sends
fewer frames than it states is not taken for one that drops frames.

Only the worker sees the frames. It measures the period, cuts spans at gaps that are longer, and reports the period of
each span (`CoverageSpan.period_s`). Ingest extends a span beyond its last frame by the same function of that period.

A worker that drops frames evenly leaves no gap. `keeps_up` is the rule by which such a camera shows as degraded.

Times are capture times in seconds.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final

from countline_counting.rules import STALL_S

LONGEST_GAP_PERIODS: Final = 2.0
_INTERVALS: Final = 9
KEPT_UP: Final = 0.8
"""Share of its frames that a worker counts if it keeps up with a camera. Rates of a few seconds vary."""


def longest_gap_s(period_s: float) -> float:
    """Return the longest gap between frames that counts as processed, in seconds.

    Args:
        period_s: usual time between processed frames; 0 if it is not known.
    """
    return max(STALL_S, LONGEST_GAP_PERIODS * period_s)


@dataclass(frozen=True, slots=True)
class CoverageSpan:
    """A span in which a camera was processed, both ends included."""

    start: float
    end: float
    frames: int
    frames_dropped: int
    period_s: float
    """Usual time between processed frames at the end of the span."""


class CoverageTracker:
    """Joins the frames of one run to spans.

    Args:
        period_s: expected time between processed frames.
        since: capture time of the last frame of the run that this run takes over from; the time between counts as
            processed.
    """

    def __init__(self, period_s: float, since: float | None = None) -> None:
        self._intervals: deque[float] = deque([period_s], maxlen=_INTERVALS)
        self._start = since
        self._last = since or 0.0
        self._frames = 0
        self._dropped = 0
        self._closed: list[CoverageSpan] = []

    def add(self, t: float, dropped: int = 0) -> None:
        """Add a processed frame and the number of frames that were dropped just before it."""
        if self._start is None:
            self._start = t
        else:
            if t - self._last > longest_gap_s(self._period_s()):
                self._close()
                self._start = t
            self._intervals.append(t - self._last)
        self._last = t
        self._frames += 1
        self._dropped += dropped

    def _period_s(self) -> float:
        return median(self._intervals)

    def _close(self) -> None:
        if self._start is not None and (self._frames or self._dropped):
            span = CoverageSpan(self._start, self._last, self._frames, self._dropped, self._period_s())
            self._closed.append(span)
        self._frames = self._dropped = 0

    def cut(self) -> list[CoverageSpan]:
        """Return the spans since the last cut. The next span begins where the last one ends, so that they touch."""
        self._close()
        if self._start is not None:
            self._start = self._last
        spans, self._closed = self._closed, []
        return spans


def wanted_fps(source_fps: float, rate: float) -> float:
    """Return the frames a second that should be counted: those of the source, at most `rate` unless that is 0."""
    return min(source_fps, rate) if rate else source_fps


def keeps_up(counted_fps: float, wanted: float) -> bool:
    """Whether enough frames are counted."""
    return counted_fps >= KEPT_UP * wanted
