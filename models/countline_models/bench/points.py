"""What is tried and what is found: settings, windows of time, points; pure."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STABLE_WINDOWS: Final = 3
STABLE_RATIO: Final = 1.1
"""The best of the last windows is at most so many times the worst, in throughput and in latency."""


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """How Triton runs a model."""

    max_batch_size: int
    instances: int
    max_queue_delay_us: int = 0

    @property
    def frames_a_request(self) -> int:
        """Frames that one request carries.

        A worker joins frames of its cameras itself and sends whole batches, which Triton need not wait for. A queue
        delay is for many senders of little: it is tried with requests of one frame, so that there is something to join.
        """
        return 1 if self.max_queue_delay_us else self.max_batch_size


@dataclass(frozen=True, slots=True)
class Window:
    """What ended within one span of time."""

    seconds: float
    frames: int
    latencies_ms: tuple[float, ...]
    """Of the requests that were answered in it."""

    @property
    def frames_per_s(self) -> float:
        """Throughput."""
        return self.frames / self.seconds

    @property
    def mean_latency_ms(self) -> float:
        """Mean over its requests; infinite where none was answered."""
        return sum(self.latencies_ms) / len(self.latencies_ms) if self.latencies_ms else math.inf


@dataclass(frozen=True, slots=True)
class BenchPoint:
    """What was measured of one setting under one load."""

    setting: Setting
    in_flight: int
    """Batches that were with Triton at any time: being run, or waiting."""
    frames_per_s: float
    latency_p50_ms: float
    """Of a request, from its sending to its answer."""
    latency_p95_ms: float
    latency_p99_ms: float
    spread: float
    """How far apart the windows were: fastest less slowest, as a share of their mean throughput."""
    stable: bool
    """Whether the windows agreed before time was up."""
    requests: int


def settings_of(
    batch_sizes: Sequence[int], instances: Sequence[int], queue_delays_us: Sequence[int] = (0,)
) -> list[Setting]:
    """Every combination that makes sense, each once: where a batch is one frame there is nothing to wait for.

    >>> settings_of([1, 4], [2], [0, 500])
    [Setting(max_batch_size=1, instances=2, max_queue_delay_us=0), Setting(max_batch_size=4, instances=2, \
max_queue_delay_us=0), Setting(max_batch_size=4, instances=2, max_queue_delay_us=500)]
    """
    made = itertools.product(sorted(set(instances)), sorted(set(batch_sizes)), sorted(set(queue_delays_us)))
    return [Setting(batch, count, delay) for count, batch, delay in made if batch > 1 or delay == 0]


def loads_of(setting: Setting, given: Sequence[int] = ()) -> list[int]:
    """Batches in flight to measure a setting with.

    Without any given: one, for the latency of an idle server, and one more than there are instances, as a worker keeps
    them, so that each instance finds its next batch waiting.
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
    """The last windows, added up; at least one request was answered in them."""
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
    """The smallest value that so many percent do not exceed (nearest rank); the sequence is not empty.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.0
    """
    return ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)]
