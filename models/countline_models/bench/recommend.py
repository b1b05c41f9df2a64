"""Recommends a setting, with reasons; pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from countline_models.bench.points import BenchPoint, Setting

AS_GOOD: Final = 0.95
"""Settings that reach this share of the highest throughput are as good; the smallest of them wins."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommended setting."""

    point: BenchPoint
    holds: bool
    """Whether it meets the latency limit; if not, no setting does and this one comes nearest."""
    reason: str
    findings: tuple[str, ...]
    """Sentences on whether batches, instances and queue delays pay."""

    @property
    def setting(self) -> Setting:
        """The setting of the point."""
        return self.point.setting


def recommend(points: Sequence[BenchPoint], latency_limit_ms: float = 0.0) -> Recommendation:
    """Choose a setting.

    A setting is judged under its heaviest measured load, because that is when a limit matters. Only settings whose 95th
    percentile of latency is within the limit count. Among those within 5 % of the highest throughput, the smallest
    batch wins, then the fewest instances, then the shortest delay, since each of them costs memory or latency.

    Args:
        points: at least one.
        latency_limit_ms: limit for a request; 0 means none.
    """
    judged = under_full_load(points)
    findings = tuple(_findings(judged))
    holding = [point for point in judged if not latency_limit_ms or point.latency_p95_ms <= latency_limit_ms]
    if not holding:
        nearest = min(judged, key=lambda point: point.latency_p95_ms)
        latency_ms = f"{nearest.latency_p95_ms:.1f}"
        reason = f"no setting stays within {latency_limit_ms:g} ms; this one comes nearest, with {latency_ms}"
        return Recommendation(nearest, False, reason, findings)
    best, chosen = _fastest(holding), _smallest_as_good(holding)
    return Recommendation(chosen, True, _reason(chosen, best, latency_limit_ms), findings)


def under_full_load(points: Sequence[BenchPoint]) -> list[BenchPoint]:
    """For each setting the point with the most batches in flight, in the order of the settings."""
    fullest: dict[Setting, BenchPoint] = {}
    for point in points:
        known = fullest.setdefault(point.setting, point)
        if point.in_flight > known.in_flight:
            fullest[point.setting] = point
    return list(fullest.values())


def _reason(chosen: BenchPoint, best: BenchPoint, latency_limit_ms: float) -> str:
    within = f" within {latency_limit_ms:g} ms" if latency_limit_ms else ""
    if chosen is best:
        return f"the highest throughput{within}; no smaller setting comes within 5 % of it"
    return (
        f"the highest throughput{within} is {best.frames_per_s:.1f} frames/s with {described(best.setting)}; "
        f"this is the smallest setting within 5 % of it"
    )


def described(setting: Setting) -> str:
    """A setting in words.

    >>> described(Setting(4, 1, 500))
    'batches of 4, 1 instance and a delay of 500 µs'
    """
    batch = f"batches of {setting.max_batch_size}" if setting.max_batch_size > 1 else "single frames"
    instances = f"{setting.instances} instance{'s' if setting.instances > 1 else ''}"
    if setting.max_queue_delay_us:
        return f"{batch}, {instances} and a delay of {setting.max_queue_delay_us} µs"
    return f"{batch} and {instances}"


_VARIED: Final[dict[str, Callable[[Setting], int]]] = {
    "batches": lambda setting: setting.max_batch_size,
    "more instances": lambda setting: setting.instances,
    "queue delays": lambda setting: setting.max_queue_delay_us,
}


def _findings(judged: Sequence[BenchPoint]) -> Iterator[str]:
    """For each varied number: whether the best setting with more of it beats the best with the least of it."""
    for name, value in _VARIED.items():
        least_of_it = min(value(point.setting) for point in judged)
        with_least = [point for point in judged if value(point.setting) == least_of_it]
        with_more = [point for point in judged if value(point.setting) > least_of_it]
        if with_more:
            yield _finding(name, _fastest(with_least), _fastest(with_more))


def _finding(name: str, least: BenchPoint, more: BenchPoint) -> str:
    gain = more.frames_per_s / least.frames_per_s
    pays = "pay" if gain * AS_GOOD > 1 else "do not pay"
    return f"{name} {pays}: {described(more.setting)} give {gain:.2f} times what {described(least.setting)} give"


def _fastest(points: Sequence[BenchPoint]) -> BenchPoint:
    return max(points, key=lambda point: point.frames_per_s)


def _smallest_as_good(points: Sequence[BenchPoint]) -> BenchPoint:
    """The smallest setting that is as good as the fastest."""
    enough = AS_GOOD * _fastest(points).frames_per_s
    return min((point for point in points if point.frames_per_s >= enough), key=lambda point: point.setting)
