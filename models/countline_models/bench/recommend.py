"""Which setting to choose, and why; pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from countline_models.bench.points import BenchPoint, Setting

AS_GOOD: Final = 0.95
"""Of the highest throughput: what reaches this share is as good, and the smaller setting wins."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to choose."""

    point: BenchPoint
    holds: bool
    """Whether it holds the limit of latency; where not, no setting does, and this one comes nearest."""
    reason: str
    findings: tuple[str, ...]
    """What was found about batches, instances and queue delays."""

    @property
    def setting(self) -> Setting:
        """How Triton should run the model."""
        return self.point.setting


def recommend(points: Sequence[BenchPoint], latency_limit_ms: float = 0.0) -> Recommendation:
    """Choose a setting.

    A setting is judged under the heaviest load that was measured, for that is when a limit matters. Among those whose
    95th percentile of latency holds the limit the highest throughput wins; among those within 5 % of it the smallest
    batch, then the fewest instances, then the shortest delay: what costs memory and latency has to be worth it.

    Args:
        points: at least one.
        latency_limit_ms: of a request; 0 for none.
    """
    judged = under_full_load(points)
    findings = tuple(_findings(judged))
    holding = [point for point in judged if not latency_limit_ms or point.latency_p95_ms <= latency_limit_ms]
    if not holding:
        nearest = min(judged, key=lambda point: point.latency_p95_ms)
        reason = f"no setting holds {latency_limit_ms:g} ms; this one comes nearest, with {nearest.latency_p95_ms:.1f}"
        return Recommendation(nearest, False, reason, findings)
    best, chosen = _fastest(holding), _smallest_as_good(holding)
    return Recommendation(chosen, True, _reason(chosen, best, latency_limit_ms), findings)


def under_full_load(points: Sequence[BenchPoint]) -> list[BenchPoint]:
    """The point with the most in flight of each setting, in the order of the settings' first points."""
    fullest: dict[Setting, BenchPoint] = {}
    for point in points:
        known = fullest.setdefault(point.setting, point)
        if point.in_flight > known.in_flight:
            fullest[point.setting] = point
    return list(fullest.values())


def _reason(chosen: BenchPoint, best: BenchPoint, latency_limit_ms: float) -> str:
    within = f" of those that hold {latency_limit_ms:g} ms" if latency_limit_ms else ""
    if chosen is best:
        return f"the highest throughput{within}, and nothing smaller comes within 5 % of it"
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
    """Whether more of each thing that was varied pays: the best with the least of it against the best with more."""
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
    """The smallest setting within 5 % of the highest throughput."""
    enough = AS_GOOD * _fastest(points).frames_per_s
    return min((point for point in points if point.frames_per_s >= enough), key=lambda point: point.setting)
