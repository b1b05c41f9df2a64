"""When a camera was really being processed: unions of spans, and the share of a bucket that they cover.

Pure; times are microseconds since the Unix epoch. Here a span of an epoch ends at the hand-over to a later epoch,
because the events of a stale worker after that do not count.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from countline_analytics.store.spans import CoveredSpan, merge


class StoredSpan(NamedTuple):
    """A span of one run."""

    epoch: int
    span: CoveredSpan


class Interval(NamedTuple):
    """Half-open, microseconds."""

    start_us: int
    end_us: int


def merged(spans: Iterable[StoredSpan], hand_overs: Mapping[int, int]) -> list[CoveredSpan]:
    """Return the union of the spans of a camera over all its runs, in order and without overlap.

    Args:
        spans: of all its runs.
        hand_overs: by epoch, the capture time of its first frame. Epoch 0 (files) stands apart.
    """
    clipped = []
    for epoch, span in spans:
        fence_us = min((t_us for other, t_us in hand_overs.items() if other > epoch > 0), default=2**62)
        if span.start_us < fence_us:
            clipped.append(CoveredSpan(span.start_us, min(span.end_us, fence_us), min(span.covered_until_us, fence_us)))
    return merge(clipped)


def covered(spans: Iterable[CoveredSpan]) -> list[Interval]:
    """Return the times that count as processed, the covered gaps after last frames included."""
    return [Interval(span.start_us, span.covered_until_us) for span in spans]


def decided(spans: Iterable[CoveredSpan], within_us: int) -> list[Interval]:
    """Return the times in which every crossing was seen from its beginning and is decided.

    Args:
        spans: of a camera, merged.
        within_us: longest time to a decision. It is left out at the end of a span, and at its beginning too, because a
            crossing that was in progress when processing began is not known.
    """
    inner = (Interval(span.start_us + within_us, span.end_us - within_us) for span in spans)
    return [interval for interval in inner if interval.start_us < interval.end_us]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same times as intervals that neither overlap nor touch, in order."""
    joined: list[Interval] = []
    for interval in sorted(intervals):
        if joined and interval.start_us <= joined[-1].end_us:
            joined[-1] = Interval(joined[-1].start_us, max(joined[-1].end_us, interval.end_us))
        else:
            joined.append(interval)
    return joined


def intersection(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    """Return the times that two unions share."""
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
    """Return for each bucket the share of its time up to now that is covered, 0..1; 0 for a future bucket.

    Args:
        intervals: a union, as `union` makes it.
        buckets: in order, without overlap.
        now_us: the end of the time that counts.
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


def length_us(intervals: Iterable[Interval]) -> int:
    """Return the length of a union, microseconds."""
    return sum(interval.end_us - interval.start_us for interval in intervals)
