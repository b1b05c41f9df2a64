"""Capture times from presentation times, and which frames are due. Pure: every clock is an argument.

A camera's presentation times (PTS) are even but start anywhere and drift by up to some 100 ppm; arrival times are true
but jitter with the network. A frame can arrive late and never early, so the smallest of `arrival - PTS` over the last
minute is the camera's offset, and the capture clock follows it slowly.
"""

import math
from collections import deque
from typing import Final

DISCONTINUITY_S: Final = 5.0
"""PTS that jump further than this against arrival start a new time line."""
WINDOW_S: Final = 60.0
BUCKET_S: Final = 5.0
SLEW: Final = 0.005
"""Most seconds a second by which the offset moves: far more than a crystal drifts, too little to falsify speeds."""
SETTLING_S: Final = 3.0
SETTLING_SLEW: Final = 0.2
"""In the first `SETTLING_S` the offset may move faster: the first frames of a stream often come in a burst."""
STEP_S: Final = 1e-6
NTP_PLAUSIBLE_S: Final = 5.0
"""A camera's clock that differs from ours by more than this is not synchronised, and is not used."""


class CaptureClock:
    """Capture times of one connection to a live camera: strictly growing, never in the future."""

    def __init__(self) -> None:
        self._offset: float | None = None
        self._minima: deque[tuple[float, float]] = deque()  # (arrival at the start of a bucket, smallest offset)
        self._started_at = 0.0
        self._last_pts = 0.0
        self._last_t = -math.inf
        self._ntp_offset: float | None = None

    def observe_ntp(self, pts_s: float, ntp_s: float, arrived_at: float) -> None:
        """Use the Unix time that the camera states for a PTS (RTCP sender report), if it is plausible."""
        is_plausible = -NTP_PLAUSIBLE_S <= arrived_at - ntp_s <= NTP_PLAUSIBLE_S
        self._ntp_offset = ntp_s - pts_s if is_plausible else None

    def stamp(self, pts_s: float, arrived_at: float) -> float:
        """The capture time of a frame.

        Args:
            pts_s: its presentation time in seconds.
            arrived_at: Unix time at which it was read.
        """
        self._follow(pts_s, arrived_at)
        assert self._offset is not None
        t = min(pts_s + self._offset, arrived_at)
        self._last_pts, self._last_t = pts_s, max(t, self._last_t + STEP_S)
        return self._last_t

    def _follow(self, pts_s: float, arrived_at: float) -> None:
        observed = arrived_at - pts_s
        if self._offset is None or abs(observed - self._offset) > DISCONTINUITY_S:
            self._offset, self._started_at, self._ntp_offset = observed, arrived_at, None
            self._minima.clear()
        self._remember(observed, arrived_at)
        smallest = min(value for _, value in self._minima)
        target = smallest if self._ntp_offset is None else self._ntp_offset
        elapsed = max(0.0, pts_s - self._last_pts) if self._last_t > -math.inf else 0.0
        settling = arrived_at - self._started_at < SETTLING_S
        reach = min(elapsed, 1.0) * (SETTLING_SLEW if settling else SLEW)
        self._offset += min(reach, max(-reach, target - self._offset))

    def _remember(self, observed: float, arrived_at: float) -> None:
        if self._minima and arrived_at - self._minima[-1][0] < BUCKET_S:
            start, value = self._minima[-1]
            self._minima[-1] = (start, min(value, observed))
        else:
            self._minima.append((arrived_at, observed))
        while arrived_at - self._minima[0][0] > WINDOW_S:
            self._minima.popleft()


class FileClock:
    """Seconds from the start of a file, by its PTS; at an even pace where PTS are missing or run backwards."""

    def __init__(self, frame_period_s: float) -> None:
        self._period_s = frame_period_s
        self._origin: float | None = None
        self._last: float | None = None

    def position(self, pts_s: float | None) -> float:
        """The position of the next frame, in seconds from the first frame; strictly growing."""
        if self._last is None:
            self._origin, self._last = pts_s, 0.0
            return 0.0
        expected = self._last + self._period_s
        if pts_s is None or self._origin is None:
            self._last = expected
            return expected
        position = pts_s - self._origin
        if position <= self._last:  # a recording that was joined from parts: its PTS begin again
            self._origin, position = pts_s - expected, expected
        self._last = position
        return position


class RateGate:
    """Chooses the frames that are looked at, by their time: an uneven stream is thinned out evenly.

    Args:
        rate: wanted frames a second; 0 lets every frame pass.
    """

    SLACK: Final = 0.45
    """Share of a period by which a frame may be early, so that at equal rates jitter costs no frame."""

    def __init__(self, rate: float) -> None:
        self._period_s = 1.0 / rate if rate > 0 else 0.0
        self._due = -math.inf

    def passes(self, t: float) -> bool:
        """Whether the frame captured at `t` is looked at."""
        if self._period_s == 0.0:
            return True
        if t < self._due - self.SLACK * self._period_s:
            return False
        behind = t - self._due >= self._period_s
        self._due = (t if behind else self._due) + self._period_s
        return True
