"""The one rule for gaps in coverage, and what it takes to import it."""

import subprocess
import sys

import pytest

from countline_counting.coverage import CoverageTracker, longest_gap_s


@pytest.mark.parametrize(("period_s", "gap_s"), [(0.0, 1.0), (0.04, 1.0), (0.5, 1.0), (0.6, 1.2), (5.0, 10.0)])
def test_a_gap_counts_as_processed_up_to_two_periods_or_a_second(period_s: float, gap_s: float) -> None:
    assert longest_gap_s(period_s) == pytest.approx(gap_s)


def test_one_long_gap_does_not_change_the_period_that_judges_the_next() -> None:
    tracker = CoverageTracker(period_s=2.0)
    for t in (0.0, 2.0, 4.0, 30.0, 32.0, 37.0):  # a gap of 26 s, then one of 5 s: longer than two periods, too
        tracker.add(t)
    assert [(span.start, span.end, span.period_s) for span in tracker.cut()] == [
        (0.0, 4.0, 2.0),
        (30.0, 32.0, 2.0),
        (37.0, 37.0, 2.0),
    ]


def test_a_span_of_one_frame_has_the_period_of_its_stream() -> None:
    tracker = CoverageTracker(period_s=0.04)
    spans = []
    for t in range(0, 50, 5):
        tracker.add(float(t))
        spans += tracker.cut()
    assert spans[-1].frames == 1
    assert spans[-1].period_s == 5.0


@pytest.mark.parametrize("module", ["coverage", "rules", "limits"])
def test_what_analytics_needs_of_the_core_loads_no_numerical_library(module: str) -> None:
    """The extra `analytics` has neither NumPy nor SciPy."""
    code = f"import sys, countline_counting.{module}; print('numpy' in sys.modules, 'scipy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
