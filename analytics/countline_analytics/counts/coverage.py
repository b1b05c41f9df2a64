"""When a camera was really being processed: unions of spans, and the share of a bucket that they cover.

Pure; times are microseconds since the Unix epoch. A span of an epoch ends, for this purpose, at the hand-over to a later one: what a
stale worker saw after that was not counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class StoredSpan(NamedTuple):
    """A span of one run, the gap after its last frame included as far as it counts."""

    epoch: int
    start_us: int
    covered_until_us: int


class Interval(NamedTuple):
    """Half-open."""

    start_us: int
    end_us: int


def covered(spans: Iterable[StoredSpan], hand_overs: Mapping[int, int]) -> list[Interval]:
    """The union of a camera's spans, in order and without overlap.

    Args:
        spans: of all its runs.
        hand_overs: by epoch, the capture time of its first frame. Epoch 0 (files) stands apart.
    """
    clipped = (Interval(span.start_us, min(span.covered_until_us, _fence_us(span.epoch, hand_overs))) for span in spans)
    return union(interval for interval in clipped if interval.start_us < interval.end_us)


def _fence_us(epoch: int, hand_overs: Mapping[int, int]) -> int:
    return min((t_us for other, t_us in hand_overs.items() if other > epoch > 0), default=2**62)


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same moments as intervals that neither overlap nor touch, in order."""
    joined: list[Interval] = []
    for interval in sorted(intervals):
        if joined and interval.start_us <= joined[-1].end_us:
            joined[-1] = Interval(joined[-1].start_us, max(joined[-1].end_us, interval.end_us))
        else:
            joined.append(interval)
    return joined


def intersection(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    """The moments that two unions share."""
    shared = []
    i = j = 0
    while i < len(left) and j < len(right):
        start_us, end_us = max(left[i].start_us, right[j].start_us), min(left[i].end_us, right[j].end_us)
        if start_us < end_us:
            shared.append(Interval(start_us, end_us))
        if left[i].end_us < right[j].end_us:
            i += 1
        else:
            j += 1
    return shared


def shares(intervals: Sequence[Interval], buckets: Sequence[Interval], now_us: int) -> list[float]:
    """For each bucket, the share of its time up to now that is covered, 0..1; 0 for one that lies ahead.

    Args:
        intervals: a union, as `union` makes it.
        buckets: in order, without overlap.
        now_us: until when time counts.
    """
    result = []
    first = 0
    for bucket in buckets:
        end_us = min(bucket.end_us, now_us)
        while first < len(intervals) and intervals[first].end_us <= bucket.start_us:
            first += 1
        inside_us = 0
        for interval in intervals[first:]:
            if interval.start_us >= end_us:
                break
            inside_us += min(interval.end_us, end_us) - max(interval.start_us, bucket.start_us)
        result.append(inside_us / (end_us - bucket.start_us) if end_us > bucket.start_us else 0.0)
    return result


def shrink(intervals: Iterable[Interval], by_us: int) -> list[Interval]:
    """Each interval without its first and last `by_us`; those that vanish are left out."""
    inner = (Interval(interval.start_us + by_us, interval.end_us - by_us) for interval in intervals)
    return [interval for interval in inner if interval.start_us < interval.end_us]


def length_us(intervals: Iterable[Interval]) -> int:
    """The length of a union."""
    return sum(interval.end_us - interval.start_us for interval in intervals)
