"""Streams that come in bursts, such as HLS: how fast their stamps run, and when each frame is due. Pure but for waits.

A segment comes at once, so the arrival of a frame shows nothing about its time. The delays of many bursts do. The delay
of a burst is its arrival minus its newest stamp. Let stamps be right. Then no delay is below the delay `c` of a segment
that is read when it is published. And the newest segment of a burst was published after FFmpeg asked for the burst
before, so the delay exceeds `c` by at most the time since that burst. In short, `delay - gap <= c <= delay` holds for
every burst. A stall of the network makes the delay and the gap longer by the same time, so it breaks neither bound.
Nominal stamps let the delays grow or fall without limit, until the bounds of some bursts contradict those of others.

This holds if a request takes less than `PAUSE_S`. A slower network that works off a backlog looks like stamps that run
too fast, until the backlog ends.

`BurstMeter` looks for two such contradictions in a row, because `c` itself may change once. It measures the rate by
the median of slopes (H. Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950; P. K. Sen,
1968), which ignores bursts that a stall delayed.
"""

import math
import threading
from collections import deque
from itertools import combinations
from statistics import median
from typing import Final, NamedTuple

from countline_pipelines.sources.stamps import StampLine
from countline_pipelines.sources.wall_clock import WALL

PAUSE_S: Final = 0.5
"""A burst begins after a pause of at least this."""
MOST_TRICKLE: Final = 0.5
"""A burst that takes a larger share of the time until the next one is limited by the network, and is not used."""
THIRD: Final = 2
"""Bursts in each third of the shortest window: a pace is measured after three times as many bursts at the earliest."""
_WINDOWS: Final = tuple(3 * THIRD << power for power in reversed(range(5)))
"""In bursts, longest first."""
LEAST_DRIFT: Final = 0.003
"""More than a crystal or a rounded fraction can drift."""
LEAST_CONTRADICTION_S: Final = 0.2
"""By how much bounds must contradict each other: the time of a request varies."""
STRAIGHT: Final = 0.6
MOST_OFF: Final = 0.125
"""At most this share of the bursts may be off the line by more than `STRAIGHT` intervals."""
NO_CHANGE: Final = 0.6
"""Stamps are right again if the delay changes by less than so many intervals over a window in which the measured rate
would change it by more than `MUST_CHANGE` intervals."""
MUST_CHANGE: Final = 2.0
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


class _Burst(NamedTuple):
    arrived_at: float
    """Of its first frame."""
    stamp: float
    """Of its last frame, seconds."""
    gap_s: float
    """Time since the burst before it arrived."""

    @property
    def delay(self) -> float:
        return self.arrived_at - self.stamp


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
        self._began_at, self._gap_s = 0.0, 0.0
        self._last: tuple[float, float, float] | None = None  # arrival, stamp, and unbroken stamp of the last frame
        self._least_delay_s = math.inf
        self.rate = 1.0
        self.interval_s = 0.0

    def observe(self, stamp_s: float, arrived_at: float) -> None:
        """Add a frame.

        Args:
            stamp_s: its decoding time: in order, and at the same pace as presentation times.
            arrived_at: when it arrived, Unix time.
        """
        if self._last is None:
            self._began_at = arrived_at
            stamp = self._line.advance(stamp_s)
        else:
            arrived_before, stamp_before, before = self._last
            delay_s = arrived_at - (before + stamp_s - stamp_before)
            # Segments that left the playlist during a stall are a gap. After a jump, stamps may lead as never before.
            stamp = self._line.advance(stamp_s, is_gap=delay_s >= self._least_delay_s - self.interval_s)
            if arrived_at - arrived_before >= PAUSE_S:
                self._finish(arrived_at)
        self._least_delay_s = min(self._least_delay_s, arrived_at - stamp)
        self._last = (arrived_at, stamp_s, stamp)

    def _finish(self, next_at: float) -> None:
        ended_at, _, stamp = self._last or (0.0, 0.0, 0.0)
        passed_s = next_at - self._began_at
        if self._gap_s > 0.0 and ended_at - self._began_at <= MOST_TRICKLE * passed_s:
            self._bursts.append(_Burst(self._began_at, stamp, self._gap_s))
            self._measure(list(self._bursts))
        self._began_at, self._gap_s = next_at, passed_s

    def _measure(self, bursts: list[_Burst]) -> None:
        self.interval_s = _interval_s(bursts[-3 * THIRD :])
        for size in _WINDOWS:
            if len(bursts) < size:
                continue
            window, before = bursts[-size:], bursts[:-size]
            interval_s, passed_s = _interval_s(window), window[-1].stamp - window[0].stamp
            slope = _steady_slope(window, interval_s) if _is_nominal(window, before) else None
            if slope is not None:
                self._adopt(1.0 + slope, passed_s, interval_s)
                return
            if abs(self.rate - 1.0) * passed_s > MUST_CHANGE * interval_s and _is_level(window, interval_s):
                self.rate = 1.0
                return

    def _adopt(self, rate: float, passed_s: float, interval_s: float) -> None:
        if self.rate == 1.0 or abs(rate - self.rate) * passed_s > REFINED * interval_s:
            self.rate = rate


def _interval_s(bursts: list[_Burst]) -> float:
    return median(burst.gap_s for burst in bursts)


def _bounds(bursts: list[_Burst]) -> list[tuple[float, float]]:
    """Of each third of a window: bounds of the delay of a segment that is read when it is published."""
    size = len(bursts) // 3
    thirds = (bursts[at : at + size] for at in range(0, len(bursts), size))
    return [
        (max(burst.delay - burst.gap_s for burst in third), min(burst.delay for burst in third)) for third in thirds
    ]


def _is_nominal(bursts: list[_Burst], before: list[_Burst]) -> bool:
    """Whether the bounds of each third contradict those of the third before it, in the same direction.

    Until the delay is lower than before the window, a delay that falls is a stall that ends.
    """
    (low_1, high_1), (low_2, high_2), (low_3, high_3) = _bounds(bursts)
    least_s = max(LEAST_CONTRADICTION_S, LEAST_DRIFT * (bursts[-1].stamp - bursts[0].stamp) / 3)
    if min(low_2 - high_1, low_3 - high_2) > least_s:
        return True
    is_new_low = all(high_3 < burst.delay for burst in before)
    return is_new_low and min(low_1 - high_2, low_2 - high_3) > least_s


def _is_level(bursts: list[_Burst], interval_s: float) -> bool:
    """Whether the smallest delays of the thirds of a window are the same."""
    highs = [high for _, high in _bounds(bursts)]
    return max(highs) - min(highs) < NO_CHANGE * interval_s


def _steady_slope(bursts: list[_Burst], interval_s: float) -> float | None:
    """By how much the delay grows while the stamps advance by one, if the delays lie on a line; else None."""
    slope = median(
        (after.delay - before.delay) / (after.stamp - before.stamp) for before, after in combinations(bursts, 2)
    )
    if slope <= -1.0:
        return None
    off = [burst.delay - slope * burst.stamp for burst in bursts]
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
