"""Counted against true crossings."""

from itertools import combinations

from hypothesis import example, given
from hypothesis import strategies as st

from countline_analytics.questions.coverage import Interval
from countline_analytics.questions.matching import TOLERANCE_US, MatchResult, compare, occurrences, pairs

S = 1_000_000
times = st.lists(st.integers(0, 6 * S), max_size=6).map(sorted)


def best_by_trying(counted, true, tolerance):
    """(pairs, sum of differences) of the best assignment, found by trying all of them."""
    edges = [(i, j) for i, c in enumerate(counted) for j, t in enumerate(true) if abs(c - t) <= tolerance]
    for size in range(min(len(counted), len(true)), 0, -1):
        costs = [
            sum(abs(counted[i] - true[j]) for i, j in chosen)
            for chosen in combinations(edges, size)
            if len({i for i, _ in chosen}) == size and len({j for _, j in chosen}) == size
        ]
        if costs:
            return size, min(costs)
    return 0, 0


@given(st.lists(st.integers(0, 3 * S), max_size=4).map(sorted), st.lists(st.integers(0, 3 * S), max_size=4).map(sorted))
def test_pairs_are_as_many_as_possible_and_then_as_close_as_possible(counted, true) -> None:
    found = pairs(counted, true, TOLERANCE_US)
    cost = sum(abs(counted[i] - true[j]) for i, j in found)
    assert (len(found), cost) == best_by_trying(counted, true, TOLERANCE_US)


@given(times, times)
def test_each_crossing_is_in_one_pair_at_most_and_pairs_are_within_the_tolerance(counted, true) -> None:
    found = pairs(counted, true, TOLERANCE_US)
    assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)
    assert all(abs(counted[i] - true[j]) <= TOLERANCE_US for i, j in found)


@given(times, times)
def test_counted_is_true_less_missed_plus_false(counted, true) -> None:
    result = compare(counted, true, [Interval(S, 4 * S)])
    assert result.counted == result.true - result.missed + result.false
    assert min(result.counted, result.missed, result.false) >= 0


def test_long_dense_sequences_are_matched_in_time() -> None:
    true = [k * 100_000 for k in range(20_000)]
    found = pairs([t + 40_000 for t in true], true, TOLERANCE_US)
    assert found == [(k, k) for k in range(20_000)]


def test_a_crossing_that_was_under_way_when_processing_began_is_nobodys_fault() -> None:
    """Without closeness, the counted crossing would pair with the true one outside, and the one inside were missed."""
    window = [Interval(0, 10 * S)]
    assert compare([250_000], [-600_000, 200_000], window) == MatchResult(counted=1, true=1, missed=0, false=0)


def test_a_pair_across_the_edge_belongs_where_its_true_crossing_is() -> None:
    window = [Interval(0, 10 * S)]
    assert compare([100_000], [-100_000], window) == MatchResult(0, 0, 0, 0)
    assert compare([-100_000], [100_000], window) == MatchResult(1, 1, 0, 0)


def test_what_has_no_counterpart_is_missed_or_false() -> None:
    window = [Interval(0, 10 * S)]
    assert compare([5 * S], [], window) == MatchResult(counted=1, true=0, missed=0, false=1)
    assert compare([], [5 * S], window) == MatchResult(counted=0, true=1, missed=1, false=0)
    assert compare([5 * S], [7 * S], window) == MatchResult(counted=1, true=1, missed=1, false=1)


def test_outside_of_the_windows_nothing_is_held_against_anybody() -> None:
    assert compare([50 * S], [70 * S], [Interval(0, 10 * S)]) == MatchResult(0, 0, 0, 0)


def test_a_repeating_set_repeats_in_both_directions() -> None:
    found = list(occurrences(1000.0, 10.0, True, [2.0, 7.0], Interval(980 * S, 1013 * S)))
    assert found == [982 * S, 987 * S, 992 * S, 997 * S, 1002 * S, 1007 * S, 1012 * S]


def test_a_set_that_does_not_repeat_happens_once() -> None:
    assert list(occurrences(1000.0, 10.0, False, [2.0, 7.0], Interval(0, 5000 * S))) == [1002 * S, 1007 * S]


def test_a_period_that_is_no_whole_number_of_microseconds_does_not_drift() -> None:
    period, now = 40 / 3, 1_790_000_000.0
    phase = now % period
    found = list(occurrences(0.0, period, True, [phase], Interval(int(now * S) - S, int(now * S) + S)))
    assert len(found) == 1
    assert abs(found[0] - now * S) < 50


@example(1.0, [1 - 2**-53], 0)  # so late in the period that it is rounded into the next one
@given(st.floats(1, 100), st.lists(st.floats(0, 1, exclude_max=True), max_size=5), st.integers(0, 10**15))
def test_neighbouring_spans_share_no_occurrence_and_lose_none(duration, fractions, start) -> None:
    times_s = sorted(fraction * duration for fraction in fractions)
    middle, end = start + 30 * S, start + 70 * S
    whole = list(occurrences(5.0, duration, True, times_s, Interval(start, end)))
    halves = [
        t
        for part in (Interval(start, middle), Interval(middle, end))
        for t in occurrences(5.0, duration, True, times_s, part)
    ]
    assert whole == halves
