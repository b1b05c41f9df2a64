"""Live streams whose timestamps run at a pace of their own, jump, or stand still: when their frames were captured."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countline_pipelines.sources.clock import CaptureClock

START = 1_780_000_000.0
STATED_S = 0.04


def errors(stamps: Sequence[float | None], delays: Sequence[float], fps: float, clock: CaptureClock) -> list[float]:
    """Capture times minus true times, of frames `fps` a second; each arrives `delays` later, and none overtakes."""
    found, arrived_at, last = [], START, -1.0
    for index, (stamp, delay) in enumerate(zip(stamps, delays, strict=True)):
        true = START + index / fps
        arrived_at = max(arrived_at, true + delay)
        t = clock.stamp(stamp, arrived_at)
        assert last < t <= arrived_at + 1e-3
        found.append(t - true)
        last = t
    return found


def jitter(frames: int, mean_s: float, seed: int = 1) -> list[float]:
    noise = random.Random(seed)
    return [noise.expovariate(1 / mean_s) for _ in range(frames)]


@pytest.mark.parametrize("fps", [5, 10, 15, 20, 22, 24, 24.8, 25.2, 26, 30, 50])
def test_nominal_stamps_are_dated_at_the_pace_of_their_arrival(fps: float) -> None:
    frames = round(90 * fps)
    found = errors([n * STATED_S for n in range(frames)], jitter(frames, 0.01), fps, CaptureClock(STATED_S))
    assert max(map(abs, found)) < 2.2
    assert max(map(abs, found[len(found) // 3 :])) < 0.6
    steps = [1 / fps + after - before for before, after in itertools.pairwise(found)]
    assert max(steps) < 1.3 / fps + 0.1, "nothing jumps"


@pytest.mark.parametrize("fps", [10, 30])
def test_stamps_that_a_demuxer_makes_up_are_never_believed(fps: int) -> None:
    """Multipart JPEG has no timestamps; FFmpeg counts its pictures at 25 fps."""
    clock = CaptureClock(STATED_S, has_own_stamps=False)
    found = errors([n * STATED_S for n in range(30 * fps)], jitter(30 * fps, 0.005), fps, clock)
    assert max(map(abs, found)) < 0.15
    assert clock.report.is_clean, "it is no fault of the camera"


def test_a_stall_and_its_burst_do_not_reach_the_times_of_a_nominal_stream() -> None:
    fps, frames = 10, 600
    delays = [max(0.0, (330 - n) / fps) if 300 <= n < 330 else 0.0 for n in range(frames)]
    found = errors([n * STATED_S for n in range(frames)], delays, fps, CaptureClock(STATED_S))
    assert max(map(abs, found[200:])) < 0.2


def test_a_pace_that_changes_is_followed() -> None:
    """At night the camera exposes for longer and sends 10 frames a second, stamped as 25."""
    clock, stamps, found = CaptureClock(STATED_S), itertools.count(), []
    now = START
    for fps, frames in ((25, 1500), (10, 600), (25, 1500)):
        for _ in range(frames):
            now += 1 / fps
            found.append(now - clock.stamp(next(stamps) * STATED_S, now))
    assert max(found) < 2
    assert max(map(abs, found[-500:])) < 0.1
    assert clock.report.is_clean


FAULTS = {
    "the same again and again": lambda *_: 12.0,
    "none": lambda *_: None,
    "begins again every two seconds": lambda n, fps: n / fps - 2 * (n // (2 * fps)),
    "hours ahead, one frame of twenty": lambda n, fps: n / fps + (3760 if n % 20 == 10 else 0),
    "hours back, one frame of twenty": lambda n, fps: n / fps - (9800 if n % 20 == 10 else 0),
    "begins again once": lambda n, fps: n / fps if n < 100 else n / fps - 10,
    "back by three seconds": lambda n, fps: n / fps - (3 if n >= 100 else 0),
    "ahead by three seconds": lambda n, fps: n / fps + (3 if n >= 100 else 0),
    "every third frame back": lambda n, fps: n / fps - (0.11 if n % 3 == 1 else 0),
    "nominal, and begins again": lambda n, _: n * STATED_S if n < 400 else n * STATED_S - 16,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faulty_stamps_give_the_times_of_the_frames(fault) -> None:
    fps, frames = 10, 900
    stamps = [fault(n, fps) for n in range(frames)]
    found = errors(stamps, jitter(frames, 0.01), fps, CaptureClock(STATED_S))
    assert max(map(abs, found)) < 1.6
    assert max(map(abs, found[300:])) < 0.2


def test_a_pause_in_which_the_stamps_begin_again_has_passed() -> None:
    """The camera restarted within a connection: its stamps are new, and four seconds are missing."""
    clock = CaptureClock(STATED_S)
    before = [clock.stamp(50 + n * STATED_S, START + n * STATED_S) for n in range(100)]
    after = [clock.stamp(n * STATED_S, before[-1] + 4 + n * STATED_S) for n in range(100)]
    assert after == pytest.approx([before[-1] + 4 + n * STATED_S for n in range(100)], abs=0.01)


def test_a_report_of_the_camera_is_not_used_beyond_a_jump() -> None:
    clock = CaptureClock(STATED_S)
    for n in range(200):
        jumped = 2.0 if n >= 100 else 0.0
        now = START + n * STATED_S
        clock.advance(n * STATED_S - jumped, now)
        clock.observe_ntp(n * STATED_S - jumped, now - jumped - 0.3, now)
        assert clock.believes_camera == (n < 100)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([5.0, 10.0, 12.5, 25.0, 29.97]),
    st.floats(-0.001, 0.001),
    st.floats(0.001, 0.05),
    st.lists(st.tuples(st.floats(0, 55), st.floats(0.2, 2.5)), max_size=3),
    st.integers(0, 2**16),
)
def test_a_network_makes_no_clean_stream_look_nominal(
    fps: float, drift: float, jitter_s: float, stalls: list[tuple[float, float]], seed: int
) -> None:
    """Jitter, stalls with their bursts, and all that a crystal or a rounded frame rate drifts."""
    frames, clock = round(60 * fps), CaptureClock(1 / fps)
    delays = jitter(frames, jitter_s, seed)
    for began_s, length_s in stalls:
        for n in range(frames):
            if began_s <= n / fps < began_s + length_s:
                delays[n] = max(delays[n], began_s + length_s - n / fps)
    errors([n / fps * (1 + drift) for n in range(frames)], delays, fps, clock)
    assert clock.report.is_clean


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.one_of(st.none(), st.floats(-1e9, 1e9), st.floats(0, 1))), min_size=1),
)
def test_whatever_the_stamps_say_no_frame_is_dated_more_than_seconds_late(
    frames: list[tuple[float, float | None]],
) -> None:
    clock, arrived_at, last = CaptureClock(STATED_S), START, 0.0
    for wait_s, stamp in frames:
        arrived_at += wait_s
        t = clock.stamp(stamp, arrived_at)
        assert last < t <= arrived_at + 1e-6 * len(frames)
        assert arrived_at - t < 5.1
        last = t
