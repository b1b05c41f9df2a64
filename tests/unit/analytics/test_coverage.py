"""Spans of coverage: merged, cut, united, and as shares of buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_analytics.questions.coverage import (
    Interval,
    StoredSpan,
    covered,
    decided,
    intersection,
    length_us,
    merged,
    shares,
    union,
)
from countline_analytics.store.spans import DAY_US, CoveredSpan, cut_at_midnight, merge

S = 1_000_000
spans = st.builds(
    lambda start, length, gap: CoveredSpan(start, start + length, start + length + gap),
    st.integers(0, 200 * S),
    st.integers(0, 30 * S),
    st.integers(S, 3 * S),
)
intervals = st.lists(
    st.builds(lambda start, length: Interval(start, start + length), st.integers(0, 90), st.integers(1, 20)), max_size=6
).map(union)


def moments(found) -> set[int]:
    return {t for interval in found for t in range(interval.start_us, interval.end_us)}


@given(st.lists(spans, max_size=8), st.randoms(use_true_random=False))
def test_merging_is_the_same_in_any_order_and_any_grouping(given_spans, random) -> None:
    whole = merge(given_spans)
    shuffled = list(given_spans)
    random.shuffle(shuffled)
    middle = len(shuffled) // 2
    assert merge(shuffled) == whole
    assert merge([*merge(shuffled[:middle]), *merge(shuffled[middle:])]) == whole
    assert merge([*whole, *given_spans]) == whole


@given(st.integers(0, 5 * DAY_US), st.integers(0, 3 * DAY_US))
def test_pieces_of_days_make_the_span_again(start, length) -> None:
    span = CoveredSpan(start, start + length, start + length + S)
    pieces = cut_at_midnight(span)
    assert all(piece.start_us // DAY_US == (piece.covered_until_us - 1) // DAY_US for piece in pieces)
    (again,) = merge(pieces)
    assert (again.start_us, again.covered_until_us) == (span.start_us, span.covered_until_us)
    assert span.end_us <= again.end_us <= span.covered_until_us


def test_what_a_stale_worker_processed_after_the_hand_over_does_not_cover() -> None:
    stale, fresh = StoredSpan(1, CoveredSpan(0, 20 * S, 21 * S)), StoredSpan(2, CoveredSpan(30 * S, 40 * S, 41 * S))
    assert covered(merged([stale, fresh], {1: 0, 2: 10 * S})) == [Interval(0, 10 * S), Interval(30 * S, 41 * S)]


def test_files_played_once_cover_whatever_hand_overs_there_were() -> None:
    assert covered(merged([StoredSpan(0, CoveredSpan(0, 20 * S, 21 * S))], {3: 5 * S})) == [Interval(0, 21 * S)]


def test_a_camera_that_was_down_for_twenty_minutes_covers_two_thirds_of_the_hour() -> None:
    hour = 3600 * S
    found = shares([Interval(0, 2400 * S)], [Interval(0, hour), Interval(hour, 2 * hour)], 10 * hour)
    assert found == [pytest.approx(2 / 3), 0.0]


def test_time_that_has_not_come_yet_is_not_held_against_the_camera() -> None:
    assert shares([Interval(0, 30 * S)], [Interval(0, 60 * S), Interval(60 * S, 120 * S)], 30 * S) == [1.0, 0.0]


@given(intervals, st.integers(0, 100))
def test_shares_of_buckets_add_up_to_what_is_covered(found, now) -> None:
    buckets = [Interval(start, start + 10) for start in range(0, 120, 10)]
    share_of_time = shares(found, buckets, now)
    total = sum(
        share * (min(bucket.end_us, now) - bucket.start_us)
        for share, bucket in zip(share_of_time, buckets, strict=True)
        if bucket.start_us < now
    )
    assert total == pytest.approx(len({t for t in moments(found) if t < now}))
    assert all(0 <= share <= 1 for share in share_of_time)


@given(intervals, intervals)
def test_intersection_holds_the_moments_of_both(left, right) -> None:
    assert moments(intersection(left, right)) == moments(left) & moments(right)
    assert length_us(left) == len(moments(left))


def test_near_the_ends_of_a_span_nothing_is_decided() -> None:
    long, short = CoveredSpan(0, 20 * S, 21 * S), CoveredSpan(30 * S, 35 * S, 36 * S)
    assert decided([long, short], 3 * S) == [Interval(3 * S, 17 * S)]
