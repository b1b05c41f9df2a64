"""Timestamps of files: what is mended, what is left alone, and that time is never stretched."""

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_pipelines.sources.clock import FileClock
from countline_pipelines.sources.stamps import LONGEST_GAP_S, StampReport

PERIOD_S = 0.1
HOUR_S = 3600.0
Fault = Callable[[int, float], float | None]


def positions(stamps: Sequence[float | None], period_s: float = PERIOD_S) -> tuple[list[float], StampReport]:
    clock = FileClock(period_s)
    return [clock.position(stamp) for stamp in stamps], clock.report


FAULTS: dict[str, Fault] = {
    "hours in the future, one frame of twenty": lambda n, t: t + (10 * HOUR_S if n % 20 == 10 else 0),
    "minutes in the past, one frame of twenty": lambda n, t: t - (300 if n % 20 == 10 else 0),
    "three frames in the future": lambda n, t: t + (HOUR_S if 50 <= n < 53 else 0),
    "a jump forward": lambda n, t: t + (10 * HOUR_S if n >= 120 else 0),
    "a jump back": lambda n, t: t - (900 if n >= 120 else 0),
    "a jump of a minute": lambda n, t: t + (60 if n >= 120 else 0),
    "jumps again and again": lambda n, t: t + 500 * math.sin(n // 30),
    "a counter of 33 bits that wraps": lambda _, t: (t + 2**33 / 90_000 - 13) % (2**33 / 90_000),
    "every third frame back by more than a period": lambda n, t: t - (0.111 if n % 3 == 1 else 0),
    "pairs of one time": lambda n, t: t - (PERIOD_S if n % 2 else 0),
    "always the same": lambda *_: 7.0,
    "twelve of twenty frames with the time of one": lambda n, t: t - PERIOD_S * max(0, n % 20 - 8),
    "whole seconds": lambda _, t: math.floor(t + 1e-9),
    "three seconds of one time": lambda n, t: t - PERIOD_S * (n - 100) if 100 <= n < 130 else t,
    "a jump of a clock in whole seconds": lambda n, t: math.floor(t + 1e-9) + (10 * HOUR_S if n >= 120 else 0),
    "none": lambda *_: None,
    "none on every second frame": lambda n, t: None if n % 2 else t,
    "no number": lambda n, t: math.nan if n % 7 == 3 else t,
    "beyond all bounds": lambda n, t: t if n < 100 else 9e18,
    "a segment that begins at zero every two seconds": lambda n, t: t - 2.0 * (n // 20),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faulty_stamps_give_the_times_of_the_frames(fault: Fault) -> None:
    found, _ = positions([fault(n, n * PERIOD_S) for n in range(240)])
    assert found == pytest.approx([n * PERIOD_S for n in range(240)], abs=0.02)


@pytest.mark.parametrize("fault", ["a jump forward", "a jump back", "hours in the future, one frame of twenty"])
def test_jumps_are_reported(fault: str) -> None:
    _, report = positions([FAULTS[fault](n, n * PERIOD_S) for n in range(240)])
    expected = {
        "a jump forward": (1, 10 * HOUR_S, 11.9),
        "a jump back": (1, -900, 11.9),
        "hours in the future, one frame of twenty": (12, 10 * HOUR_S, 0.9),
    }
    assert (report.jumps, report.first_jump_s, report.first_jump_at_s) == pytest.approx(expected[fault])


TURN_S = 2**33 / 90_000
COUNTED: dict[str, tuple[Callable[[int, float], float], float]] = {
    # stamp of a frame as FFmpeg gives it, and the first jump
    "set back": (lambda n, t: t + 1000 + (TURN_S - 900 if n >= 120 else 0), -900),
    "set back and forward again": (lambda n, t: t + 1000 + (TURN_S - 900 if 90 <= n < 150 else 0), -900),
    "set forward by more than half a turn": (lambda n, t: t + (60_000 if n >= 120 else 0), 60_000),
    "one frame set back": (lambda n, t: t + 1000 + (TURN_S - 900 if n == 120 else 0), -900),
    "wrapped, undone": (lambda _, t: t + TURN_S - 13, 0),
    "wrapped, not undone": (lambda _, t: (t + TURN_S - 13) % TURN_S, 0),
    "wrapped with frames out of order": (lambda n, t: (t + TURN_S - 13 - (0.111 if n % 3 == 1 else 0)) % TURN_S, 0),
    "a day later, when FFmpeg adds no turn any more": (lambda n, t: t + 1000 + (TURN_S if n < 120 else 0), 0),
}


@pytest.mark.parametrize("case", COUNTED)
def test_a_counter_that_was_set_back_is_distinguished_from_one_that_wrapped(case: str) -> None:
    """FFmpeg adds a turn to stamps before the first one: a counter set back by 900 s seemed to jump by +94543 s."""
    fault, jump_s = COUNTED[case]
    clock = FileClock(PERIOD_S, TURN_S)
    found = [clock.position(fault(n, n * PERIOD_S)) for n in range(240)]
    assert found == pytest.approx([n * PERIOD_S for n in range(240)], abs=0.02)
    assert (clock.report.first_jump_s, clock.report.jumps > 0) == (pytest.approx(jump_s, abs=0.2), jump_s != 0)
    assert clock.furthest_s == pytest.approx(max(fault(n, n * PERIOD_S) for n in range(240)) - fault(0, 0.0))


@given(
    st.floats(-1e5, 1e5),
    st.lists(st.one_of(st.just(PERIOD_S), st.floats(0.001, LONGEST_GAP_S)), max_size=80),
)
def test_stamps_that_grow_are_used_as_they_are(first: float, steps: list[float]) -> None:
    """Gaps of seconds are real: nothing was recorded. They show in the coverage."""
    stamps = list(itertools.accumulate(steps, initial=first))
    found, report = positions(stamps)
    assert found == [stamp - first for stamp in stamps]
    assert report.is_clean


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=True)), min_size=1, max_size=60))
def test_time_grows_strictly_and_no_faster_than_the_longest_gap(stamps: list[float | None]) -> None:
    found, _ = positions(stamps)
    assert found[0] == 0.0
    assert all(before < after for before, after in itertools.pairwise(found))
    assert positions(stamps)[0] == found, "the same file has the same times"


@given(st.integers(0, 100), st.floats(-1e6, 1e6), st.integers(1, 5))
def test_frames_astray_change_the_time_of_no_other_frame(at: int, by: float, frames: int) -> None:
    """Unless they lie a few seconds ahead, where a gap would lie."""
    true = [n * PERIOD_S for n in range(120)]
    stamps = [t + by if at < n <= at + frames else t for n, t in enumerate(true)]
    found, _ = positions(stamps)
    if not 0 < by <= LONGEST_GAP_S:
        assert found == pytest.approx(true, abs=PERIOD_S)


def test_an_outlier_that_looks_like_a_gap_is_believed_once() -> None:
    stamps = [n * PERIOD_S + (3 if n % 20 == 10 else 0) for n in range(400)]
    found, _ = positions(stamps)
    assert found[-1] - stamps[-1] == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize("step_s", [10.0, 60.0, 3600.0])
def test_a_time_lapse_keeps_its_time(step_s: float) -> None:
    found, report = positions([n * step_s for n in range(50)], period_s=step_s)
    assert found == [n * step_s for n in range(50)]
    assert report.is_clean


def test_a_slow_source_whose_header_states_another_rate_is_slow_from_its_third_frame_on() -> None:
    found, _ = positions([n * 10.0 for n in range(50)], period_s=0.04)
    assert found[3:] == [n * 10.0 for n in range(3, 50)]


def test_the_frame_rate_of_the_stamps_replaces_a_wrong_one() -> None:
    """A header that states 10 fps must not stretch the time of 25 fps where stamps are out of order."""
    stamps = [n * 0.04 - (0.05 if n % 3 == 1 else 0) for n in range(600)]
    found, _ = positions(stamps, period_s=0.1)
    assert found[-1] == pytest.approx(599 * 0.04, abs=1.0)


def test_frames_that_are_known_to_be_missing_take_their_time() -> None:
    clock = FileClock(PERIOD_S)
    before = [clock.position(PERIOD_S * n) for n in range(100)]
    after = [clock.position(60.0 + PERIOD_S * n, is_gap=n == 0) for n in range(100)]
    assert before[-1] == pytest.approx(9.9)
    assert after == pytest.approx([60.0 + PERIOD_S * n for n in range(100)])
    assert clock.report.is_clean
    back = clock.position(20.0, is_gap=True)  # a jump all the same
    assert back == pytest.approx(after[-1] + PERIOD_S)
    assert clock.report.jumps == 1
