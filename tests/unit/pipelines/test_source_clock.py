"""Capture times and rates: what a camera's clock may do, and what comes out of it."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_pipelines.sources.clock import NTP_PLAUSIBLE_S, CaptureClock, FileClock, RateGate

START = 1_780_000_000.0


def stamps(arrivals: list[tuple[float, float]]) -> list[float]:
    clock = CaptureClock()
    return [clock.stamp(pts, arrived) for pts, arrived in arrivals]


def test_jitter_of_the_network_does_not_reach_the_times() -> None:
    noise = random.Random(1)
    pts = [index / 25 for index in range(2000)]
    times = stamps([(p, START + p + 0.02 + noise.expovariate(1 / 0.03)) for p in pts])
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert max(abs(step - 1 / 25) for step in steps) < 0.005
    assert max(abs(t - (START + p)) for t, p in zip(times[200:], pts[200:], strict=True)) < 0.03


def test_a_clock_that_drifts_is_followed() -> None:
    """A crystal that is 200 ppm fast gains 0.72 s an hour; the times stay those of our clock."""
    true = [index / 10 for index in range(36_000)]
    times = stamps([(t * 1.0002, START + t) for t in true])
    assert abs(times[-1] - (START + true[-1])) < 0.05


def test_a_burst_at_the_start_is_worked_off_within_seconds() -> None:
    """Buffered pictures of the last second come at once; then the stream is live."""
    burst = [(index / 25, START) for index in range(25)]
    live = [(1 + index / 25, START + index / 25) for index in range(250)]
    times = stamps(burst + live)
    assert abs(times[-1] - live[-1][1]) < 0.05


def test_a_jump_of_the_stream_begins_a_new_time_line() -> None:
    times = stamps([(100.0, START), (100.04, START + 0.04), (7.0, START + 0.08), (7.04, START + 0.12)])
    assert times == pytest.approx([START, START + 0.04, START + 0.08, START + 0.12], abs=0.01)


def test_a_camera_with_a_synchronised_clock_is_believed() -> None:
    clock = CaptureClock()
    latency_s = 0.4
    for index in range(500):
        pts = index / 25
        arrived = START + pts + latency_s
        clock.observe_ntp(pts, START + pts, arrived)
        t = clock.stamp(pts, arrived)
    assert t == pytest.approx(START + pts, abs=0.01)


def test_a_camera_that_lives_in_1970_is_not_believed() -> None:
    clock = CaptureClock()
    assert clock.stamp(0.0, START) == START
    clock.observe_ntp(0.0, 12.0, START)
    assert clock.stamp(1.0, START + 1) == pytest.approx(START + 1, abs=1e-6)
    clock.observe_ntp(1.0, START + 1 - NTP_PLAUSIBLE_S - 1, START + 1)
    assert clock.stamp(2.0, START + 2) == pytest.approx(START + 2, abs=1e-6)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 3)), min_size=1, max_size=50))
def test_times_grow_strictly_and_never_lie_in_the_future(steps: list[tuple[float, float]]) -> None:
    clock, pts, arrived, last = CaptureClock(), 0.0, START, -math.inf
    for pts_step, wait_s in steps:
        pts, arrived = pts + pts_step, arrived + wait_s
        t = clock.stamp(pts, arrived)
        assert t > last
        # Two frames of one moment must still differ.
        assert t <= arrived + 1e-6 * len(steps)
        last = t


@given(st.lists(st.one_of(st.none(), st.floats(-1e4, 1e4)), min_size=1, max_size=60))
def test_positions_in_a_file_grow_strictly_whatever_its_stamps_say(stamps_s: list[float | None]) -> None:
    clock = FileClock(0.04)
    positions = [clock.position(pts) for pts in stamps_s]
    assert positions[0] == 0
    assert all(after > before for before, after in itertools.pairwise(positions))


def test_a_file_joined_from_two_goes_on_where_the_first_ended() -> None:
    clock = FileClock(0.1)
    assert [clock.position(p) for p in (5.0, 5.1, 5.2, 0.0, 0.1)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(("source_fps", "rate"), [(25, 10), (30, 30), (29.97, 15), (12.5, 5), (60, 7), (25, 24)])
def test_the_processing_rate_is_kept_evenly(source_fps: float, rate: float) -> None:
    gate = RateGate(rate)
    seconds = 60
    passed = [t for t in (START + index / source_fps for index in range(round(seconds * source_fps))) if gate.passes(t)]
    assert len(passed) == pytest.approx(seconds * min(rate, source_fps), abs=2)
    gaps = [after - before for before, after in itertools.pairwise(passed)]
    assert max(gaps) <= 1 / rate + 1.3 / source_fps


def test_jitter_costs_no_frame_where_every_frame_is_wanted() -> None:
    noise = random.Random(2)
    gate = RateGate(10)
    assert all(gate.passes(START + index / 10 + noise.uniform(-0.02, 0.02)) for index in range(500))


def test_after_a_gap_the_rate_is_kept_and_nothing_is_caught_up() -> None:
    gate = RateGate(5)
    assert [t for t in (0.0, 0.1, 0.2, 9.0, 9.05, 9.1, 9.2) if gate.passes(t)] == [0.0, 0.2, 9.0, 9.2]


def test_without_a_rate_every_frame_passes() -> None:
    gate = RateGate(0)
    assert all(gate.passes(t) for t in (0.0, 0.0, 0.001))
