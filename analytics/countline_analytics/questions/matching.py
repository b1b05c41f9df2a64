"""Matches counted crossings with true crossings.

Pure. Crossings of one line and direction are matched one to one by time. Crossings near the ends of a covered span are
left out on both sides: a crossing that was in progress when processing began, or undecided when it stopped, is neither
right nor wrong.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from countline_analytics.questions.coverage import Interval
from countline_counting.rules import LATEST_S

TOLERANCE_US: Final = 1_000_000
"""Largest time difference between a counted crossing and its true crossing."""
MARGIN_US: Final = round(LATEST_S * 1e6)
"""Time within which every crossing is decided; this much is left out at both ends of a covered span."""


@dataclass(frozen=True, slots=True)
class MatchResult:
    """Counted and true crossings compared; counted = true - missed + false."""

    counted: int
    true: int
    missed: int
    false: int


def pairs(counted_us: Sequence[int], true_us: Sequence[int], tolerance_us: int) -> list[tuple[int, int]]:
    """Return the largest set of pairs whose times differ by at most the tolerance, with the least sum of differences.

    Both sequences are sorted, so such a set without crossed pairs exists, and dynamic programming over prefixes finds
    it. Each row keeps only the part in which a pair is possible: time and memory grow with the number of true crossings
    within the tolerance of a counted one.

    Returns:
        Pairs (index into counted, index into true), sorted.

    >>> pairs([1_000, 2_000], [900, 2_200, 9_000], 1_000)
    [(0, 0), (1, 1)]
    """
    rows = [_Row(0, [0], [])]
    # A pair weighs more than the sum of all differences: first as many pairs as possible, then as close as possible.
    weight = (tolerance_us + 1) * (min(len(counted_us), len(true_us)) + 1)
    for t_us in counted_us:
        rows.append(_next_row(rows[-1], t_us, true_us, tolerance_us, weight))
    return _trace(rows)


@dataclass(frozen=True, slots=True)
class _Row:
    """Best values with the counted crossings so far, for the first `base`, `base` + 1, ... true crossings."""

    base: int
    values: list[int]
    choices: list[int]
    """The choice that led to each value but the first."""

    def value(self, j: int) -> int:
        return self.values[min(j - self.base, len(self.values) - 1)]


_SKIP_COUNTED, _SKIP_TRUE, _PAIR = range(3)


def _next_row(previous: _Row, t_us: int, true_us: Sequence[int], tolerance_us: int, weight: int) -> _Row:
    base, end = bisect_left(true_us, t_us - tolerance_us), bisect_right(true_us, t_us + tolerance_us)
    row = _Row(base, [previous.value(base)], [])
    for j in range(base + 1, end + 1):
        pair = previous.value(j - 1) + weight - abs(t_us - true_us[j - 1])
        best = max((previous.value(j), _SKIP_COUNTED), (row.values[-1], _SKIP_TRUE), (pair, _PAIR))
        row.values.append(best[0])
        row.choices.append(best[1])
    return row


def _trace(rows: Sequence[_Row]) -> list[tuple[int, int]]:
    """Follow the choices back from the last row; return the pairs."""
    found = []
    i, j = len(rows) - 1, rows[-1].base + len(rows[-1].values) - 1
    while i > 0:
        row = rows[i]
        j = min(j, row.base + len(row.values) - 1)
        choice = row.choices[j - row.base - 1] if j > row.base else _SKIP_COUNTED
        if choice == _PAIR:
            found.append((i - 1, j - 1))
        i -= choice != _SKIP_TRUE
        j -= choice != _SKIP_COUNTED
    return found[::-1]


def compare(counted_us: Sequence[int], true_us: Sequence[int], windows: Sequence[Interval]) -> MatchResult:
    """Compare the crossings of one line and direction inside `windows`.

    Crossings just outside take part in the matching, so that the edge of a window splits no pair: a pair belongs to the
    window of its true crossing.

    Args:
        counted_us: sorted; from one tolerance before the first window to one tolerance after the last.
        true_us: sorted, over the same time.
        windows: disjoint intervals, in order.
    """
    matched = pairs(counted_us, true_us, TOLERANCE_US)
    matched_counted = {i for i, _ in matched}
    matched_true = {j for _, j in matched}
    true = sum(inside(windows, t) for t in true_us)
    missed = sum(inside(windows, t) for j, t in enumerate(true_us) if j not in matched_true)
    false = sum(inside(windows, t) for i, t in enumerate(counted_us) if i not in matched_counted)
    return MatchResult(counted=true - missed + false, true=true, missed=missed, false=false)


def inside(windows: Sequence[Interval], t_us: int) -> bool:
    """Whether a time lies in a window."""
    i = bisect_right(windows, t_us, key=lambda window: window.start_us) - 1
    return i >= 0 and t_us < windows[i].end_us


def occurrences(
    start_s: float, duration_s: float, repeats: bool, times_s: Sequence[float], span: Interval
) -> Iterator[int]:
    """Yield the times of a truth set's crossings within a span, in microseconds.

    The period stays a double: a looping clip is in phase with the clock since 1970, and a period rounded to
    microseconds would be seconds off by now.

    Args:
        start_s: Unix seconds at which the set begins.
        duration_s: its length, and its period if it repeats.
        repeats: whether it repeats, before the start too.
        times_s: sorted seconds after the start, below `duration_s`.
        span: the time span.
    """
    first = int((span.start_us / 1e6 - start_s) // duration_s) if repeats else 0
    last = int((span.end_us / 1e6 - start_s) // duration_s) if repeats else 0
    # One more period at either end: a time at the very end of a period is rounded into the next one.
    for k in range(first - repeats, last + repeats + 1):
        base_s = start_s + k * duration_s
        low = bisect_left(times_s, span.start_us / 1e6 - base_s - 1e-6)
        for t_s in times_s[low:]:
            t_us = round((base_s + t_s) * 1e6)
            if t_us >= span.end_us:
                break
            if t_us >= span.start_us:
                yield t_us
