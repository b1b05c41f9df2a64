"""Rates and latencies of one camera over the last seconds.

Each meter has one writing thread; who reads from another one sees values that are a moment old at worst.
"""

from collections import deque
from typing import Final

WINDOW_S: Final = 5.0
_MOST: Final = 400


class RateMeter:
    """Events a second over the last seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MOST)

    def tick(self, now: float) -> None:
        """Note an event at monotonic time `now`."""
        self._times.append(now)

    def rate(self, now: float) -> float:
        """Events a second; 0 when there were none lately."""
        recent = [t for t in list(self._times) if now - t <= WINDOW_S]
        span_s = now - recent[0] if len(recent) > 1 else 0.0
        return (len(recent) - 1) / span_s if span_s > 0 else 0.0


class LatencyMeter:
    """The 95th percentile over the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def note(self, now: float, latency_s: float) -> None:
        """Note a latency at monotonic time `now`."""
        self._samples.append((now, latency_s))

    def p95_s(self, now: float) -> float:
        """Seconds; 0 when there is nothing recent."""
        recent = sorted(latency for t, latency in list(self._samples) if now - t <= WINDOW_S)
        return recent[min(len(recent) - 1, int(0.95 * len(recent)))] if recent else 0.0
