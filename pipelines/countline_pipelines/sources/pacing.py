"""Streams that come in bursts, such as HLS: how fast their stamps run, and when each frame is due. Pure but for waits.

A segment comes at once, so the arrival of a frame shows nothing about its time. The arrivals of many segments do. A
segment arrives when the server has published it and FFmpeg has asked for it, so it is late by up to one interval of
asking, and never early. Stamps that run at the pace of the clock keep the delays of the segments within one interval.
Nominal stamps let the delays grow or fall without limit. `BurstMeter` fits a line to the delays (H. Theil, "A
rank-invariant method of linear and polynomial regression analysis", 1950; P. K. Sen, 1968): the median of slopes
ignores segments that a stall delayed.
"""

import threading
from collections import deque
from itertools import combinations, pairwise
from statistics import median
from typing import Final

from countline_pipelines.sources.stamps import StampLine
from countline_pipelines.sources.wall_clock import WALL

PAUSE_S: Final = 0.5
"""A burst begins after a pause of at least this."""
MOST_TRICKLE: Final = 0.5
"""A burst that takes a larger share of the time until the next one is limited by the network, and is not used."""
_WINDOWS: Final = (64, 32, 16, 8, 4)
"""In bursts, longest first."""
LEAST_DRIFT: Final = 0.003
"""More than a crystal or a rounded fraction can drift."""
LEAST_CHANGE: Final = 1.5
LEAST_CHANGE_S: Final = 0.3
"""The delay must change by so many intervals between bursts, plus these seconds: the time of asking changes it by one
interval."""
NO_CHANGE: Final = 0.6
"""Stamps and arrivals agree if the delay changes by less than so many intervals over `AGREED_BURSTS`."""
AGREED_BURSTS: Final = 8
STRAIGHT: Final = 0.6
MOST_OFF: Final = 0.125
"""At most this share of the bursts may be off the line by more than `STRAIGHT` intervals."""
REFINED: Final = 0.25
"""A rate is replaced by another one if the two would differ by so many intervals over the window."""

SEGMENTS: Final = 3.0
"""FFmpeg begins so many segments before the end of a playlist, so a right stream is held back for at most so many."""
LEAST_LEAD: Final = 1.0
"""In intervals between bursts. A stream that is held back for less could run empty."""
SLACK: Final = 1.15
"""A stream that is held back for so many times what it should be is played faster until it is no longer."""
FASTER: Final = 0.2
NEW_LINE_S: Final = 60.0
"""A frame that is due later than this after its arrival begins a new time line."""

_Burst = tuple[float, float]
"""Arrival of the first frame, and stamp of the last one, seconds."""


class BurstMeter:
    """Measures how many seconds pass while the stamps of a stream in bursts advance by one.

    One thread observes, and another may read the attributes.

    Args:
        period_s: time between two frames, as the stream states it.
        turn_s: after which time the counter of the stamps starts again.

    Attributes:
        rate: the last measured rate; 1.0, exactly, for stamps that agree with arrivals.
        interval_s: usual time between two bursts; 0 until it is known.
    """

    def __init__(self, period_s: float, turn_s: float) -> None:
        self._line = StampLine(period_s, turn_s)
        self._bursts: deque[_Burst] = deque(maxlen=_WINDOWS[0])
        self._began_at = 0.0
        self._last: tuple[float, float] | None = None  # arrival and stamp of the last frame
        self.rate = 1.0
        self.interval_s = 0.0

    def observe(self, stamp_s: float, arrived_at: float) -> None:
        """Add a frame.

        Args:
            stamp_s: its decoding time: in order, and at the same pace as presentation times.
            arrived_at: when it arrived, Unix time.
        """
        if self._last is None or arrived_at - self._last[0] >= PAUSE_S:
            self._finish(arrived_at)
            self._began_at = arrived_at
        self._last = (arrived_at, self._line.advance(stamp_s))

    def _finish(self, next_at: float) -> None:
        if self._last is None:
            return
        ended_at, stamp_s = self._last
        if ended_at - self._began_at <= MOST_TRICKLE * (next_at - self._began_at):
            self._bursts.append((self._began_at, stamp_s))
            self._measure(list(self._bursts))

    def _measure(self, bursts: list[_Burst]) -> None:
        if len(bursts) > 1:
            self.interval_s = _interval_s(bursts[-AGREED_BURSTS:])
        for size in _WINDOWS:
            if len(bursts) < size:
                continue
            window = bursts[-size:]
            interval_s, passed_s = _interval_s(window), window[-1][1] - window[0][1]
            slope = _steady_slope(window, interval_s)
            if slope is None:
                continue
            change_s = abs(slope * passed_s)
            if slope < 0.0 and not _is_new_low(bursts, size):
                continue
            if change_s > max(LEAST_CHANGE * interval_s + LEAST_CHANGE_S, LEAST_DRIFT * passed_s):
                self._adopt(1.0 + slope, passed_s, interval_s)
                return
            if size >= AGREED_BURSTS and change_s < NO_CHANGE * interval_s:
                self.rate = 1.0
                return

    def _adopt(self, rate: float, passed_s: float, interval_s: float) -> None:
        if self.rate == 1.0 or abs(rate - self.rate) * passed_s > REFINED * interval_s:
            self.rate = rate


def _is_new_low(bursts: list[_Burst], size: int) -> bool:
    """Whether the delay is lower than before a window. Until then, a delay that falls is a stall that ends."""
    before = [arrived_at - stamp for arrived_at, stamp in bursts[:-size]]
    if not before:
        return size >= AGREED_BURSTS
    arrived_at, stamp = bursts[-1]
    return arrived_at - stamp < min(before)


def _interval_s(bursts: list[_Burst]) -> float:
    return median(after - before for (before, _), (after, _) in pairwise(bursts))


def _steady_slope(bursts: list[_Burst], interval_s: float) -> float | None:
    """By how much the delay grows while the stamps advance by one, if the delays lie on a line; else None."""
    points = [(stamp, arrived_at - stamp) for arrived_at, stamp in bursts]
    slope = median((later - delay) / (then - stamp) for (stamp, delay), (then, later) in combinations(points, 2))
    if slope <= -1.0:
        return None
    off = [delay - slope * stamp for stamp, delay in points]
    middle = median(off)
    outliers = sum(abs(value - middle) > STRAIGHT * interval_s for value in off)
    return slope if outliers <= MOST_OFF * len(bursts) else None


class EvenPace:
    """Holds the frames of a stream in bursts back to an even pace.

    Args:
        stop: ends a wait at once.
        meter: of the stream; None if frames are read only when they are due, so that their arrivals show nothing.
    """

    def __init__(self, stop: threading.Event, meter: BurstMeter | None) -> None:
        self._stop = stop
        self._meter = meter
        self._anchor: float | None = None  # when a frame is due, minus its time in the stream
        self._arrived_at = self._due = self._time_s = 0.0
        self._excess_s = 0.0

    def reached(self, arrived_at: float) -> float:
        """Return when a frame would have been read if frames were read only when they are due."""
        return max(arrived_at, self._due) if self._meter is not None else arrived_at

    def hold(self, time_s: float, arrived_at: float) -> float:
        """Wait until a frame is due, and return that Unix time.

        Args:
            time_s: of the frame in the stream.
            arrived_at: Unix time at which it was read.
        """
        due = self._due_of(time_s, arrived_at)
        self._arrived_at, self._due, self._time_s = arrived_at, due, time_s
        self._stop.wait(max(0.0, due - WALL.now()))
        return due

    def _due_of(self, time_s: float, arrived_at: float) -> float:
        reached = self.reached(arrived_at)
        due = reached if self._anchor is None else time_s + self._anchor
        # The buffer ran empty, or a new time line begins: this frame is due now.
        if self._anchor is None or arrived_at > due or due - reached > NEW_LINE_S:
            self._anchor, self._excess_s = reached - time_s, 0.0
            return reached
        self._notice_excess(due, arrived_at)
        faster_s = min(self._excess_s, FASTER * max(0.0, time_s - self._time_s))
        self._excess_s -= faster_s
        self._anchor -= faster_s
        return due - faster_s

    def _notice_excess(self, due: float, arrived_at: float) -> None:
        """At the first frame of a burst, compare for how long it is held back with the interval of the bursts."""
        interval_s = 0.0 if self._meter is None else self._meter.interval_s
        if arrived_at - self._arrived_at >= PAUSE_S and interval_s > 0.0:
            held_s = due - arrived_at
            wanted_s = self._wanted() * interval_s
            self._excess_s = held_s - wanted_s if held_s > SLACK * wanted_s else 0.0

    def _wanted(self) -> float:
        """For how long a stream should be held back, in intervals between bursts.

        FFmpeg asks as often as the playlist states by its stamps. If they run too fast, it asks too seldom, and a burst
        is several segments.
        """
        rate = 1.0 if self._meter is None else self._meter.rate
        return max(LEAST_LEAD, SEGMENTS * min(1.0, rate))
