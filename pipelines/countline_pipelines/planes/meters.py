"""Counts, rates and latencies of one camera's frames.

Each object here has one writing thread. A reader in another thread sees values that are at most a moment old.
"""

import time
from collections import deque
from typing import Final

from countline_pipelines.sources.wall_clock import WALL

WINDOW_S: Final = 5.0
"""Rates and latencies cover this much time before now."""
_MOST: Final = 400


class RateMeter:
    """Events a second over the last `WINDOW_S`."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MOST)

    def tick(self, now: float) -> None:
        """Record an event at monotonic time `now`."""
        self._times.append(now)

    def rate(self, now: float) -> float:
        """Events a second; 0 if there are fewer than two in the window."""
        recent = [t for t in list(self._times) if now - t <= WINDOW_S]
        span_s = now - recent[0] if len(recent) > 1 else 0.0
        return (len(recent) - 1) / span_s if span_s > 0 else 0.0


class LatencyMeter:
    """The 95th percentile of latencies over the last `WINDOW_S`."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def record(self, now: float, latency_s: float) -> None:
        """Record a latency at monotonic time `now`."""
        self._samples.append((now, latency_s))

    def p95_s(self, now: float) -> float:
        """Seconds; 0 if the window is empty."""
        recent = sorted(latency for t, latency in list(self._samples) if now - t <= WINDOW_S)
        return recent[min(len(recent) - 1, int(0.95 * len(recent)))] if recent else 0.0


class DropCounter:
    """Frames that a camera left out. The thread that sends frames on writes."""

    def __init__(self) -> None:
        self.total = 0
        """Since the counter was made."""
        self._pending = 0

    def add(self, frames: int) -> None:
        """Record left-out frames."""
        self.total += frames
        self._pending += frames

    def carry(self, frames: int) -> None:
        """Frames that a sent frame carried, which was left out itself: the next one carries them."""
        self._pending += frames

    def take_pending(self) -> int:
        """Frames left out since the last call; each frame that is sent on carries this number."""
        pending, self._pending = self._pending, 0
        return pending

    def forget_pending(self) -> None:
        """Start a new run: its first frame does not carry what was left out before."""
        self._pending = 0


class Throughput:
    """Counted and dropped frames of the present run, and the rate and latency of counting.

    Args:
        drops: the left-out frames.
        finite: True for a finite file, whose latency begins at decoding; else latency begins at capture.
    """

    def __init__(self, drops: DropCounter, *, finite: bool) -> None:
        self._drops = drops
        self._finite = finite
        self._rate, self._latency = RateMeter(), LatencyMeter()
        self._dropped_before_run = 0
        self.processed = 0
        """Frames counted in the present run."""
        self.last_counted_at = time.monotonic()
        """Monotonic time of the last counted frame; at first, of the start."""
        self.last_t: float | None = None
        """Capture time of the last counted frame."""

    @property
    def dropped(self) -> int:
        """Frames left out in the present run."""
        return self._drops.total - self._dropped_before_run

    def begin_run(self) -> None:
        """Count frames from zero."""
        self.processed, self._dropped_before_run = 0, self._drops.total

    def record(self, t: float, decoded_at: float) -> float:
        """Record a frame that was just counted.

        Args:
            t: its capture time.
            decoded_at: monotonic time of its decoding.

        Returns:
            Its latency in seconds; negative if the camera's clock is ahead of ours.
        """
        now = time.monotonic()
        latency_s = now - decoded_at if self._finite else WALL.now() - t
        self._latency.record(now, latency_s)
        self._rate.tick(now)
        self.processed += 1
        self.last_counted_at, self.last_t = now, t
        return latency_s

    def rate(self, now: float) -> float:
        """Counted frames a second."""
        return self._rate.rate(now)

    def latency_p95_s(self, now: float) -> float:
        """95th percentile of latency, seconds."""
        return self._latency.p95_s(now)
