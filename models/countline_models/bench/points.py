"""Settings, windows of time and measured points; pure."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STABLE_WINDOWS: Final = 3
STABLE_RATIO: Final = 1.1
"""Largest ratio of the best to the worst of the last windows, in throughput and in latency."""


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """How Triton runs a model."""

    max_batch_size: int
    instances: int
    max_queue_delay_us: int = 0

    @property
    def frames_a_request(self) -> int:
        """Frames in one request.

        A worker joins the frames of its cameras and sends full batches, so Triton need not wait. A queue delay is for
        many senders of small requests: it is measured with requests of one frame, which Triton can join.
        """
        return 1 if self.max_queue_delay_us else self.max_batch_size


@dataclass(frozen=True, slots=True)
class Window:
    """The requests that were answered within one span of time."""

    seconds: float
    frames: int
    latencies_ms: tuple[float, ...]
    """One latency for each request."""

    @property
    def frames_per_s(self) -> float:
        """Throughput."""
        return self.frames / self.seconds

    @property
    def mean_latency_ms(self) -> float:
        """Mean over its requests; infinite if there are none."""
        return sum(self.latencies_ms) / len(self.latencies_ms) if self.latencies_ms else math.inf


@dataclass(frozen=True, slots=True)
class BenchPoint:
    """The measurement of one setting under one load."""

    setting: Setting
    in_flight: int
    """Batches at Triton at any time, running or queued."""
    frames_per_s: float
    latency_p50_ms: float
    """Latency of a request, from sending to answer."""
    latency_p95_ms: float
    latency_p99_ms: float
    spread: float
    """Throughput of the fastest window minus the slowest, as a share of the mean."""
    stable: bool
    """Whether the windows agreed before the time limit."""
    requests: int


def settings_of(
    batch_sizes: Sequence[int], instances: Sequence[int], queue_delays_us: Sequence[int] = (0,)
) -> list[Setting]:
    """Every useful combination, each once; a queue delay is useless for batches of one frame.

    >>> settings_of([1, 4], [2], [0, 500])
    [Setting(max_batch_size=1, instances=2, max_queue_delay_us=0), Setting(max_batch_size=4, instances=2, \
max_queue_delay_us=0), Setting(max_batch_size=4, instances=2, max_queue_delay_us=500)]
    """
    made = itertools.product(sorted(set(instances)), sorted(set(batch_sizes)), sorted(set(queue_delays_us)))
    return [Setting(batch, count, delay) for count, batch, delay in made if batch > 1 or delay == 0]


def loads_of(setting: Setting, given: Sequence[int] = ()) -> list[int]:
    """Numbers of batches in flight with which a setting is measured.

    The default is 1, for the latency of an idle server, and instances + 1, as a worker does, so that each instance
    finds its next batch in the queue.
    """
    return sorted(set(given)) if given else sorted({1, setting.instances + 1})


def is_stable(windows: Sequence[Window]) -> bool:
    """Whether the last windows agree in throughput and in latency."""
    last = windows[-STABLE_WINDOWS:]
    if len(last) < STABLE_WINDOWS or not all(window.frames for window in last):
        return False
    rates = [window.frames_per_s for window in last]
    latencies = [window.mean_latency_ms for window in last]
    return max(rates) <= STABLE_RATIO * min(rates) and max(latencies) <= STABLE_RATIO * min(latencies)


def point_of(setting: Setting, in_flight: int, windows: Sequence[Window]) -> BenchPoint:
    """The point of the last windows, which must contain at least one request."""
    last = windows[-STABLE_WINDOWS:]
    latencies_ms = sorted(latency for window in last for latency in window.latencies_ms)
    rates = [window.frames_per_s for window in last]
    frames_per_s = sum(window.frames for window in last) / sum(window.seconds for window in last)
    return BenchPoint(
        setting=setting,
        in_flight=in_flight,
        frames_per_s=frames_per_s,
        latency_p50_ms=percentile(latencies_ms, 50),
        latency_p95_ms=percentile(latencies_ms, 95),
        latency_p99_ms=percentile(latencies_ms, 99),
        spread=(max(rates) - min(rates)) / frames_per_s,
        stable=is_stable(windows),
        requests=len(latencies_ms),
    )


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The percentile by nearest rank; the sequence must not be empty.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.0
    """
    return ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)]
