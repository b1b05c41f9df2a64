"""Whether the stamps of a live stream run at the pace of the clock, measured by when frames arrive. Pure.

Stamps come from a crystal, which is off by 100 ppm at most, or from a fraction such as 30000/1001 that was rounded,
which is off by 0.1 %. Other stamps are *nominal*: a camera or a demuxer counts frames and multiplies with a stated
period, whatever the camera really sends. They drift by per cents, often by half.

A network delays frames, by jitter, by stalls, and by bursts after stalls. So one delay shows nothing. `DriftMeter`
keeps the smallest delay of each quarter of a second, as estimators of clock skew do (V. Paxson, "On calibrating
measurements of packet transit times", 1998; S. Moon, P. Skelly, D. Towsley, "Estimation and removal of clock skew from
network delay measurements", 1999), and believes in a drift only if the delays lie on a straight line: a stall and
its burst do not. Delays that fall count only once they are lower than before: until then, a backlog is worked off. It
tries windows from 1.5 s to a minute, because a large drift shows at once and a small one late.
"""

import math
from collections import deque
from statistics import median
from typing import Final

BUCKET_S: Final = 0.25
GROUPS: Final = 6
"""A window is cut into so many groups; the smallest delays of the groups must lie on a line."""
_WINDOWS: Final = tuple(GROUPS << power for power in range(6))
"""In buckets: 1.5, 3, 6, 12, 24 and 48 s, longer if frames come more seldom than buckets."""
LEAST_DRIFT: Final = 0.003
"""More than a crystal or a rounded fraction can drift. Below it, `clock.CaptureClock` follows."""
LEAST_CHANGE_S: Final = 0.15
LEAST_CHANGE_AT_ONCE_S: Final = 0.4
"""Least change of the delay within a window, and within a window shorter than `AGREED_S`."""
STRAIGHT: Final = 0.15
"""Share of the change by which the delays may be off the line."""
NOISE: Final = 4.0
"""The delay must change by so many times the usual noise."""
AGREED_S: Final = 5.0
"""Stamps and arrivals agree if the smallest delays change by less than `AGREED_CHANGE_S` for so long."""
AGREED_CHANGE_S: Final = 0.1
REFINED_S: Final = 0.1
"""A rate is replaced by another one if the two would differ by this over the window."""

_Sample = tuple[float, float]
"""Arrival and delay of the least delayed frame of a bucket, seconds."""


class DriftMeter:
    """Measures how many seconds pass while stamps advance by one.

    Attributes:
        rate: the last measured rate; 1.0, exactly, for stamps that agree with arrivals.
    """

    def __init__(self) -> None:
        self._buckets: deque[_Sample] = deque(maxlen=_WINDOWS[-1])
        self._began_at = 0.0
        self.rate = 1.0

    def add(self, stamp_s: float, arrived_at: float) -> bool:
        """Add a frame. Return whether there is a measurement, of a rate that may be the old one.

        Args:
            stamp_s: its stamp, without jumps.
            arrived_at: when it arrived, Unix time.
        """
        sample = (arrived_at, arrived_at - stamp_s)
        if self._buckets and 0.0 <= arrived_at - self._began_at < BUCKET_S:
            self._buckets[-1] = min(self._buckets[-1], sample, key=_delay)
            return False
        measured = self._measure()  # before this frame, with which a bucket only begins
        self._began_at = arrived_at
        self._buckets.append(sample)
        return measured

    def _measure(self) -> bool:
        buckets = list(self._buckets)
        noise_s = _noise_s(buckets)
        for size in reversed(_WINDOWS):
            if len(buckets) < size:
                continue
            lowest = _lowest(buckets[-size:])
            before = min((delay for _, delay in buckets[:-size]), default=math.inf)
            span_s = lowest[-1][0] - lowest[0][0]
            if (rate := _steady_rate(lowest, noise_s)) is not None and (rate > 1.0 or lowest[-1][1] < before):
                self._adopt(rate, span_s)
                return True
            if span_s >= AGREED_S and _agrees([*lowest, min(buckets[-GROUPS:], key=_delay)], noise_s):
                self.rate = 1.0
                return True
        return False

    def _adopt(self, rate: float, span_s: float) -> None:
        is_refined = abs(rate / self.rate - 1.0) * span_s > REFINED_S
        if is_refined or self.rate == 1.0:
            self.rate = rate


def _lowest(buckets: list[_Sample]) -> list[_Sample]:
    size = len(buckets) // GROUPS
    return [min(buckets[at : at + size], key=_delay) for at in range(0, len(buckets), size)]


def _steady_rate(lowest: list[_Sample], noise_s: float) -> float | None:
    """Seconds of arrival to a second of stamps, if the delays lie on a line that is steep enough; else None.

    The line is over stamps, not over arrivals: the delay grows by a second in each second of a stall, so over arrivals
    a stall is a line.
    """
    stamps = [arrived_at - delay for arrived_at, delay in lowest]
    passed_s, change_s = stamps[-1] - stamps[0], lowest[-1][1] - lowest[0][1]
    span_s = passed_s + change_s
    needed_s = LEAST_CHANGE_AT_ONCE_S if span_s < AGREED_S else LEAST_CHANGE_S
    if min(passed_s, span_s) <= 0.0 or abs(change_s) < max(needed_s, LEAST_DRIFT * span_s, NOISE * noise_s):
        return None
    slope, first = change_s / passed_s, lowest[0][1]
    off_s = max(
        abs(delay - first - slope * (stamp - stamps[0])) for stamp, (_, delay) in zip(stamps, lowest, strict=True)
    )
    return 1.0 + slope if off_s <= STRAIGHT * abs(change_s) else None


def _agrees(lowest: list[_Sample], noise_s: float) -> bool:
    delays = list(map(_delay, lowest))
    return max(delays) - min(delays) < max(AGREED_CHANGE_S, noise_s)


def _delay(sample: _Sample) -> float:
    return sample[1]


def _noise_s(buckets: list[_Sample]) -> float:
    """By how much the smallest delay of a bucket is usually off the line through its neighbours, doubled."""
    delays = [delay for _, delay in buckets]
    bends = [
        abs(before - 2 * delay + after) for before, delay, after in zip(delays, delays[1:], delays[2:], strict=False)
    ]
    return median(bends) if bends else 0.0
