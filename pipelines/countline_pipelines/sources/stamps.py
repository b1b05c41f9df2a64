"""Unbroken time from the presentation times (PTS) of a source. Pure.

PTS are right nearly always, and then they are used as they are. Four faults occur, in recordings and in streams:

* *Disorder*: stamps that are repeated, by however many frames, or out of order by a few frames. Later stamps are right
  again.
* *Outliers*: single stamps that lie far away, often by hours.
* *Jumps*: all later stamps lie elsewhere. A recorder joined two files, a camera set its clock, a counter wrapped.
* *Gaps*: nothing was recorded. The stamps are right, and the time has passed.

Two lines of time separate them. `StampLine` trusts one line, that is, one distance between stamps and time. A stamp
that does not fit the trusted line begins a doubtful line, which goes on one frame period after the last frame. If a
later stamp fits the trusted line, the doubtful line is dropped, and no time was lost or gained. After
`CONFIRMED_FRAMES` the doubtful line is the trusted one.

A step forward is a gap, and fits, up to `LONGEST_GAP_S`. A longer step is a jump, with three exceptions. A step that
follows a step of at least half its length is the rate of a slow source, such as a time-lapse. Time that passed between
the arrivals of two frames of a live stream has really passed. And the time of frames that are known to be missing, in a
damaged file, has passed.
"""

import math
from collections import deque
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Final

LONGEST_GAP_S: Final = 5.0
"""A longer step between two stamps of a file is a jump. A recorder that pauses for longer (without motion, say) makes
such steps too; nothing in the file distinguishes the two, and a false gap of hours does more harm than a closed one."""
CONFIRMED_FRAMES: Final = 8
"""More frames than an encoder reorders."""
DISORDER_S: Final = 1.0
"""A step back by more than this is a jump, a shorter one is disorder."""
SAME_S: Final = 1e-6
"""Stamps that are nearer to each other are the same: containers count in ticks of 11 microseconds or more."""
SLOW_RATE: Final = 2.0
"""A long step is a rate if the step before it was longer than this part of it."""
USUAL_STEPS: Final = 10.0
"""A gap of so many usual steps is none of the faults, however slow the source."""
STALL_S: Final = 1.0
"""A live stream that jumps after a pause of more than this loses the pause, not one frame."""
WRAP_WITHIN_S: Final = 60.0
"""A counter that starts again has wrapped if its stamps then go on within this time. Otherwise it was set back."""
_STEPS: Final = 9


class StampCounter:
    """Undoes the wraps of a counter of stamps, which has a limited number of bits.

    FFmpeg adds a whole turn to stamps that lie before the first one, so a counter that was set back by minutes seems to
    jump a day ahead. And it undoes one wrap only.

    Args:
        turn_s: after which time the counter starts again; infinite for one that never does.
    """

    def __init__(self, turn_s: float = math.inf) -> None:
        self._turn_s = turn_s
        self._turns = 0
        self._last: float | None = None

    def unwrap(self, pts_s: float) -> float:
        """Return a stamp, in seconds, with the turns until then."""
        if math.isinf(self._turn_s):
            return pts_s
        counted = pts_s % self._turn_s
        step_s = 0.0 if self._last is None else counted - self._last
        if abs(step_s) > self._turn_s - WRAP_WITHIN_S:
            self._turns += 1 if step_s < 0 else -1
        self._last = counted
        return counted + self._turns * self._turn_s


@dataclass(frozen=True, slots=True)
class StampReport:
    """What was wrong with the stamps of a source since it was opened."""

    jumps: int = 0
    """Jumps and outliers."""
    first_jump_s: float = 0.0
    """By how much the first one jumped, seconds."""
    first_jump_at_s: float = 0.0
    """When: seconds from the first frame."""
    disordered: int = 0
    """Stamps that were repeated or out of order."""
    rate: float = 1.0
    """Of a live stream: seconds that pass while its stamps advance by one."""
    by_arrival: bool = False
    """Whether its frames are dated by their arrival alone."""

    @property
    def is_clean(self) -> bool:
        """Whether the stamps are used as they are."""
        return self == CLEAN


CLEAN: Final = StampReport()


class StampLine:
    """Turns stamps into unbroken time: seconds from the first frame, strictly growing.

    Args:
        period_s: usual time between two frames, as the source states it; replaced by what its stamps show.
        turn_s: after which time the counter of the stamps starts again.
    """

    def __init__(self, period_s: float, turn_s: float = math.inf) -> None:
        self._counter = StampCounter(turn_s)
        self._steps = deque([period_s], maxlen=_STEPS)
        self._origin: float | None = None
        self._given_origin = 0.0
        self._trusted = self._doubtful = 0.0  # time minus stamp, of the two lines
        self._doubts = 0
        self._frames = 0
        self._time = -math.inf
        self._fitted = (0.0, 0)  # time and number of the last frame on the trusted line
        self._stamp = self._stamp_step = 0.0
        self._longest_gap_s = LONGEST_GAP_S
        self._gap = (0.0, 0.0)  # the last long step on the trusted line: where it began, and its length
        self.line = 0.0
        """Time minus stamp of the last frame that has a stamp."""
        self.furthest_s = 0.0
        """The largest stamp as the source gave it, wraps included, seconds from the first one."""
        self.report = CLEAN

    def advance(self, pts_s: float | None, elapsed_s: float = 0.0, *, is_gap: bool = False) -> float:
        """The time of the next frame.

        Args:
            pts_s: its stamp in seconds; None if it has none. A stamp that is no finite number counts as none.
            elapsed_s: of a live stream, the time since the last frame arrived, in seconds of its stamps.
            is_gap: whether frames before it are missing, so that a step forward of any length is a gap.
        """
        is_stamped = pts_s is not None and math.isfinite(pts_s)
        given_s = float(pts_s or 0.0)
        stamp = self._counter.unwrap(given_s) if is_stamped else 0.0
        if is_gap and is_stamped and self._origin is not None:
            elapsed_s = max(0.0, stamp - self._origin + self._trusted - self._time)
        time = self._of_stamp(stamp, given_s, elapsed_s) if is_stamped else self._next(0.0)
        self._time, self._frames = time, self._frames + 1
        return time

    def _next(self, elapsed_s: float) -> float:
        if self._frames == 0:
            return 0.0
        time = self._time + (elapsed_s if elapsed_s > STALL_S else self.period_s)
        return max(time, math.nextafter(self._time, math.inf))

    @property
    def period_s(self) -> float:
        """Usual time between two frames."""
        return median_low(self._steps)

    def _of_stamp(self, pts_s: float, given_s: float, elapsed_s: float) -> float:
        if self._origin is None:
            self._origin, self._given_origin = pts_s, given_s
            self._trusted = self._next(0.0)
            self._fitted = (self._trusted, self._frames)
            self.line = self._trusted - given_s
            return self._trusted
        stamp = pts_s - self._origin
        step_s, self._stamp = stamp - self._stamp, stamp
        self.furthest_s = max(self.furthest_s, given_s - self._given_origin)
        time = self._fit(stamp, step_s, elapsed_s)
        self._stamp_step = step_s
        self.line = time - given_s
        return time

    def _fit(self, stamp: float, step_s: float, elapsed_s: float) -> float:
        time = stamp + self._trusted
        if self._fits(time, step_s, elapsed_s):
            self._learn(time)
            return time
        if abs(step_s) < SAME_S:  # it says nothing about the line of the next stamp: recorders stamp whole seconds
            self.report = replace(self.report, disordered=self.report.disordered + 1)
            return self._next(elapsed_s)
        time = stamp + self._doubtful
        if not self._doubts or not self._fits(time, step_s, elapsed_s):
            self._record(stamp, elapsed_s)
            time = self._next(elapsed_s)
            self._doubtful = time - stamp
        self._doubts += 1
        if self._doubts > CONFIRMED_FRAMES:
            self._learn_from_doubts(stamp)
            self._trusted, self._doubts = self._doubtful, 0
            self._fitted = (time, self._frames)
        return time

    def _fits(self, time: float, step_s: float, elapsed_s: float) -> bool:
        gap_s = time - self._time
        if gap_s < SAME_S:
            return False
        if gap_s <= max(self._longest_gap_s, USUAL_STEPS * self.period_s) + elapsed_s:
            return True
        if math.isclose(gap_s, step_s, abs_tol=0.001) and self._stamp_step > step_s / SLOW_RATE:
            self._longest_gap_s = SLOW_RATE * gap_s
            return True
        return False

    def _learn(self, time: float) -> None:
        """Keep the step to a frame on the trusted line; of frames between that were in doubt, all share it."""
        since, number = self._fitted
        step_s = (time - since) / (self._frames - number)
        if step_s > DISORDER_S and not self._doubts:
            self._gap = (since, time - since)
        self._steps.append(step_s)
        self._fitted, self._doubts = (time, self._frames), 0

    def _learn_from_doubts(self, stamp: float) -> None:
        """Keep the mean step of stamps in doubt: the source may state a longer one, which would stretch time."""
        since, number = self._fitted
        step_s = (stamp + self._trusted - since) / (self._frames - number)
        if 0.0 < step_s <= self._longest_gap_s:
            self._steps.append(step_s)

    def _record(self, stamp: float, elapsed_s: float) -> None:
        off_s = stamp + (self._doubtful if self._doubts else self._trusted) - self._time
        gap_from, gap_s = self._gap
        if gap_s and off_s < -gap_s / 2 and self._time + off_s > gap_from:
            # The stamps are back where they were before the last gap: that was an outlier, too small to show itself.
            self._longest_gap_s, self._gap = gap_s / 2, (0.0, 0.0)
        if -DISORDER_S <= off_s <= 0.0:
            self.report = replace(self.report, disordered=self.report.disordered + 1)
        elif self.report.jumps:
            self.report = replace(self.report, jumps=self.report.jumps + 1)
        else:
            jump_s = off_s - max(elapsed_s, self.period_s)
            self.report = replace(self.report, jumps=1, first_jump_s=jump_s, first_jump_at_s=self._time)
