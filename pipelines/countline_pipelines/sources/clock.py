"""Capture times from presentation times, and which frames are due. Pure: every clock is an argument.

A camera's presentation times (PTS) are even but start anywhere and drift by up to some 100 ppm; arrival times are true
but jitter with the network. A frame can arrive late and never early, so the smallest of `arrival - PTS` over the last
minute is the camera's offset, and the capture clock follows it slowly.

Some PTS jump or stand still (`stamps.StampLine` mends them), and some run at a pace of their own (`drift.DriftMeter`
measures it). So a live frame is dated in three steps: its PTS, unbroken; at the pace of the clock; plus the offset. The
first two change nothing in PTS that are right.
"""

import math
from collections import deque
from dataclasses import replace
from typing import Final

from countline_pipelines.sources.drift import DriftMeter
from countline_pipelines.sources.stamps import StampLine, StampReport

DISCONTINUITY_S: Final = 5.0
"""PTS that drift further than this against arrival start a new time line."""
WINDOW_S: Final = 60.0
BUCKET_S: Final = 5.0
SLEW: Final = 0.005
"""Most seconds a second by which the offset moves: far more than a crystal drifts, too little to falsify speeds."""
SETTLING_S: Final = 3.0
SETTLING_SLEW: Final = 0.2
"""In the first `SETTLING_S` the offset may move faster: the first frames of a stream often come in a burst. So it may
after a change of pace, until it has caught up."""
CAUGHT_UP_S: Final = 0.01
LAG_S: Final = 2.0
"""PTS that lag behind arrivals by more than this for `LAG_LASTS_S`, at no steady pace, are not used any more."""
LAG_LASTS_S: Final = 4.0
STEP_S: Final = 1e-6
NTP_PLAUSIBLE_S: Final = 5.0
"""A camera's clock that differs from ours by more than this is not synchronised, and is not used."""
NTP_REPORT_S: Final = 0.001
"""The Unix time of PTS 0 changes by more than this when a new sender report has come."""
_DEFAULT_PERIOD_S: Final = 0.04


class CaptureClock:
    """Capture times of one connection to a live camera: strictly growing, never in the future.

    Args:
        period_s: time between two frames, as the stream states it.
        has_own_stamps: False if the demuxer makes up the PTS. Frames are then dated by their arrival until their rate
            is known.
        is_paced: True if frames are held back to the pace of their PTS. Their arrivals then show nothing about a lag.
        turn_s: after which time the counter of the PTS starts again.
    """

    def __init__(
        self,
        period_s: float = _DEFAULT_PERIOD_S,
        *,
        has_own_stamps: bool = True,
        is_paced: bool = False,
        turn_s: float = math.inf,
    ) -> None:
        self._pace = _StreamPace(period_s, turn_s, by_arrival=not has_own_stamps)
        self._has_own_stamps = has_own_stamps
        self._is_paced = is_paced
        self._offset = _Offset()
        self._lagging_since: float | None = None
        self._last_t = -math.inf
        self._ntp = (math.nan, math.nan)  # Unix time of PTS 0, and the line of stamps that it belongs to

    def stamp(self, pts_s: float | None, arrived_at: float) -> float:
        """The capture time of a frame.

        Args:
            pts_s: its presentation time in seconds; None if it has none.
            arrived_at: Unix time at which it was read.
        """
        return self.date(self.advance(pts_s, arrived_at), arrived_at)

    def advance(self, pts_s: float | None, arrived_at: float) -> float:
        """Return the time of a frame in the stream: seconds, unbroken, at the pace of the clock, from any origin.

        `stamp` in two steps is for frames that are held back between their reading and `date`.
        """
        time_s, is_new_pace = self._pace.advance(pts_s, arrived_at)
        if is_new_pace:
            self._offset.catch_up()
        return time_s

    def date(self, time_s: float, arrived_at: float) -> float:
        """The capture time of the frame that `advance` returned `time_s` for; `arrived_at` is when it was due."""
        lag_s = self._offset.follow(time_s, arrived_at)
        self._watch_lag(lag_s, arrived_at)
        t = min(time_s + self._offset.value, arrived_at)
        self._last_t = max(t, self._last_t + STEP_S)
        return self._last_t

    def _watch_lag(self, lag_s: float, arrived_at: float) -> None:
        if lag_s <= LAG_S or self._is_paced or self._offset.is_catching_up:
            self._lagging_since = None
        elif self._lagging_since is None:
            self._lagging_since = arrived_at
        elif arrived_at - self._lagging_since > LAG_LASTS_S:
            self._pace.follow_arrivals()
            self._offset.catch_up()

    def observe_ntp(self, pts_s: float, ntp_s: float, arrived_at: float) -> None:
        """Use the Unix time that the camera states for a PTS (RTCP sender report), if it is plausible.

        A report is used for the PTS that it belongs to: not beyond a jump, and not for PTS that run at a wrong pace.
        """
        zero_at, line = ntp_s - pts_s, self._pace.line
        if not abs(zero_at - self._ntp[0]) <= NTP_REPORT_S:
            self._ntp = (zero_at, line)
        is_plausible = -NTP_PLAUSIBLE_S <= arrived_at - ntp_s <= NTP_PLAUSIBLE_S
        is_usable = is_plausible and line == self._ntp[1] and self._pace.is_true
        self._offset.stated = zero_at - line if is_usable else None

    @property
    def believes_camera(self) -> bool:
        """Whether frames are dated by the camera's own clock."""
        return self._offset.stated is not None

    @property
    def report(self) -> StampReport:
        """What was wrong with the stamps."""
        return self._pace.report if self._has_own_stamps else self._pace.line_report


class _StreamPace:
    """The time of each frame in the stream: its PTS without jumps, at the pace at which frames arrive."""

    def __init__(self, period_s: float, turn_s: float, *, by_arrival: bool) -> None:
        self._line = StampLine(period_s, turn_s)
        self._meter = DriftMeter()
        self._by_arrival = by_arrival
        self._slip_s = 0.0  # time in the stream minus unbroken PTS
        self._last: tuple[float, float] | None = None  # unbroken PTS and arrival of the last frame

    def advance(self, pts_s: float | None, arrived_at: float) -> tuple[float, bool]:
        """Return a frame's time in the stream, and whether its pace is a new one."""
        stamp_before, arrived_before = self._last or (0.0, arrived_at)
        elapsed_s = max(0.0, arrived_at - arrived_before)
        stamp_s = self._line.advance(pts_s, elapsed_s / self._meter.rate)
        before = (self._by_arrival, self._meter.rate)
        if self._meter.add(stamp_s, arrived_at):
            self._by_arrival = False
        passed_s = stamp_s - stamp_before
        if self._by_arrival:
            self._slip_s += elapsed_s - passed_s
        elif self._meter.rate != 1.0:
            self._slip_s += (self._meter.rate - 1.0) * passed_s
        self._last = (stamp_s, arrived_at)
        return stamp_s + self._slip_s, before != (self._by_arrival, self._meter.rate)

    def follow_arrivals(self) -> None:
        """Let arrivals alone set the pace, until their rate is known."""
        self._by_arrival = True

    @property
    def is_true(self) -> bool:
        """Whether the pace of the PTS is that of the clock."""
        return not self._by_arrival and self._meter.rate == 1.0

    @property
    def line(self) -> float:
        """Time in the stream minus PTS: the same as long as the PTS neither jump nor change their pace."""
        return self._line.line + self._slip_s

    @property
    def line_report(self) -> StampReport:
        return self._line.report

    @property
    def report(self) -> StampReport:
        if self.is_true:
            return self._line.report
        return replace(self._line.report, rate=self._meter.rate, by_arrival=self._by_arrival)


class _Offset:
    """Capture time minus time in the stream."""

    def __init__(self) -> None:
        self.value = 0.0
        self.stated: float | None = None
        """By the camera's own clock; None if it is not used."""
        self._minima: deque[tuple[float, float]] = deque()  # (arrival at the start of a bucket, smallest offset)
        self._last_time_s: float | None = None
        self._settling_until = 0.0
        self.is_catching_up = False

    def follow(self, time_s: float, arrived_at: float) -> float:
        """Take a frame. Return by how much it arrived later than its time and the offset say, seconds."""
        observed = arrived_at - time_s
        if self._last_time_s is None or abs(observed - self.value) > DISCONTINUITY_S:
            self.value, self.stated, self.is_catching_up = observed, None, False
            self._settling_until = arrived_at + SETTLING_S
            self._minima.clear()
        self._remember(observed, arrived_at)
        target = min(value for _, value in self._minima) if self.stated is None else self.stated
        elapsed_s = 0.0 if self._last_time_s is None else max(0.0, time_s - self._last_time_s)
        self._approach(target, min(elapsed_s, 1.0), is_settling=arrived_at < self._settling_until)
        self._last_time_s = time_s
        return observed - self.value

    def catch_up(self) -> None:
        """Forget the delays until now: they were measured at another pace."""
        self._minima.clear()
        self.stated, self.is_catching_up = None, True

    def _approach(self, target: float, elapsed_s: float, *, is_settling: bool) -> None:
        reach = elapsed_s * (SETTLING_SLEW if is_settling or self.is_catching_up else SLEW)
        self.value += min(reach, max(-reach, target - self.value))
        self.is_catching_up = self.is_catching_up and abs(target - self.value) > CAUGHT_UP_S

    def _remember(self, observed: float, arrived_at: float) -> None:
        if self._minima and arrived_at - self._minima[-1][0] < BUCKET_S:
            start, value = self._minima[-1]
            self._minima[-1] = (start, min(value, observed))
        else:
            self._minima.append((arrived_at, observed))
        while arrived_at - self._minima[0][0] > WINDOW_S:
            self._minima.popleft()


class FileClock:
    """Seconds from the start of a file by its PTS, mended by `stamps.StampLine`.

    Only the file decides, so that counting it again gives the same times.

    Args:
        frame_period_s: usual time between two frames.
        turn_s: after which time the counter of the PTS starts again.
    """

    def __init__(self, frame_period_s: float, turn_s: float = math.inf) -> None:
        self._line = StampLine(frame_period_s, turn_s)

    def position(self, pts_s: float | None, *, is_gap: bool = False) -> float:
        """The position of the next frame, in seconds from the first frame; strictly growing.

        Args:
            pts_s: its PTS; None if it has none.
            is_gap: whether frames before it are missing, so that a step forward of any length is a gap.
        """
        return self._line.advance(pts_s, is_gap=is_gap)

    @property
    def furthest_s(self) -> float:
        """The largest PTS, seconds from the first one."""
        return self._line.furthest_s

    @property
    def report(self) -> StampReport:
        """What was wrong with the stamps."""
        return self._line.report


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
