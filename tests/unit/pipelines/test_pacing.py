"""Streams in bursts, such as HLS: what the arrival of segments shows about the pace of their stamps."""

import itertools
import random
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countline_pipelines.sources.clock import CaptureClock
from countline_pipelines.sources.pacing import BurstMeter, EvenPace

START = 1_780_000_000.0
FPS = 10
Frame = tuple[float, float]
"""Stamp and arrival."""
Stall = tuple[float, float]
"""When it begins, seconds from the start, and its length."""


def hls(
    segment_s: float,
    segments: int,
    pace: float = 1.0,
    *,
    stalls: Sequence[Stall] = (),
    seed: int = 1,
    kept: int = 1000,
    request_s: float = 0.0,
) -> list[Frame]:
    """Return frames of a live playlist as FFmpeg reads it: three segments at once, then all that is new at each try.

    FFmpeg tries again after the length that the playlist states, and after half of it if nothing was new. A playlist
    states lengths by its stamps.

    Args:
        segment_s: length of a segment by the clock; the server publishes it when it is complete.
        segments: how many.
        pace: by how much the stamps advance in a second.
        stalls: when the network stands still, and for how long.
        seed: of the delays.
        kept: how many segments the playlist lists; FFmpeg skips older ones.
        request_s: how long a segment takes after the one before it.
    """
    noise, frames, number, now = random.Random(seed), list[Frame](), 0, START
    in_segment, stated_s = round(segment_s * FPS), segment_s * pace

    def reached(at: float) -> float:
        for began_s, length_s in stalls:
            if began_s <= at - START < began_s + length_s:
                at = began_s + length_s + START
        return at

    while number < segments:
        published = 3 + int((now - START) / segment_s)
        arrived_at = now
        for segment in range(max(number, published - kept), published):
            arrived_at = reached(arrived_at) + noise.uniform(0.01, 0.1) + (request_s if segment > number else 0.0)
            for index in range(segment * in_segment, (segment + 1) * in_segment):
                frames.append((index / FPS * pace, arrived_at))
                arrived_at += 0.0005
        again_s = stated_s if published > number else stated_s / 2
        now = reached(max(arrived_at, now + again_s + noise.uniform(0.0, 0.1)))
        number = max(number, published)
    return frames


def measured(frames: list[Frame]) -> list[float]:
    meter, rates = BurstMeter(1 / FPS, 95_443.7), []
    for stamp, arrived_at in frames:
        meter.observe(stamp, arrived_at)
        rates.append(meter.rate)
    return rates


@pytest.mark.parametrize("pace", [0.2, 0.4, 0.5, 0.8, 1.25, 2.0, 3.0])
@pytest.mark.parametrize("segment_s", [2.0, 4.0, 6.0])
def test_the_pace_of_nominal_stamps_is_measured_from_segments(pace: float, segment_s: float) -> None:
    rates = measured(hls(segment_s, 40, pace))
    assert rates[-1] == pytest.approx(1 / pace, rel=0.04)
    assert rates[len(rates) // 2] == pytest.approx(1 / pace, rel=0.08)


def test_a_stall_does_not_bend_the_pace_of_nominal_stamps() -> None:
    frames = hls(4.0, 40, 0.4, stalls=[(62.0, 15.0)])
    rates = [rate for rate, (_, arrived_at) in zip(measured(frames), frames, strict=True) if arrived_at > START + 50]
    assert rates == pytest.approx([2.5] * len(rates), rel=0.08)


SEGMENTS_S = st.sampled_from([1.0, 2.0, 4.0, 6.0, 10.0])
STALLS = st.lists(st.tuples(st.floats(0, 200), st.floats(0.5, 40)), max_size=3)
GROWING = st.tuples(st.floats(0, 100), st.floats(5, 20), st.floats(0, 5)).map(
    lambda given: [(given[0], given[1]), (given[0] + given[1] + given[2], 2 * given[1])]
)
"""Two stalls in a row, of which the second is longer: the delays grow as those of nominal stamps do."""


@settings(deadline=None, max_examples=30)
@given(
    SEGMENTS_S,
    st.floats(-0.001, 0.001),
    STALLS | GROWING,
    st.integers(0, 2**16),
    st.sampled_from([4, 6, 10, 1000]),
    st.sampled_from([0.0, 0.3]),
)
def test_no_stall_makes_right_stamps_look_nominal(
    segment_s: float, drift: float, stalls: list[Stall], seed: int, kept: int, request_s: float
) -> None:
    """A segment that was lost, or that was slow after a stall, took right stamps for nominal."""
    frames = hls(segment_s, 40, 1.0 + drift, stalls=stalls, seed=seed, kept=kept, request_s=request_s)
    assert set(measured(frames)) == {1.0}


def test_growing_stalls_and_lost_segments_make_right_stamps_no_nominal_ones() -> None:
    """The segments that FFmpeg skipped after a stall were taken for a jump of the stamps: the delays grew for good."""
    for seed in range(10):
        frames = hls(2.0, 40, stalls=[(6.0, 12.0), (18.25, 24.0)], seed=seed, kept=4, request_s=0.3)
        assert set(measured(frames)) == {1.0}


FOUND_BURSTS = 8
"""A gross pace is found after so many bursts."""


@settings(deadline=None, max_examples=15)
@given(SEGMENTS_S, st.floats(0.1, 0.55) | st.floats(1.8, 3.0), st.integers(0, 2**16))
def test_nominal_stamps_are_found_within_eight_bursts(segment_s: float, pace: float, seed: int) -> None:
    frames = hls(segment_s, 50, pace, seed=seed)
    rates = measured(frames)
    began_s = [after for (_, before), (_, after) in itertools.pairwise(frames) if after - before >= 0.5]
    found = rates[[arrived_at for _, arrived_at in frames].index(began_s[FOUND_BURSTS - 1])]
    assert found == pytest.approx(1 / pace, rel=0.35)
    assert rates[-1] == pytest.approx(1 / pace, rel=0.06)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([0.4, 0.5, 0.8, 1.25, 2.0]), STALLS, st.integers(0, 2**16))
def test_nominal_stamps_are_found_in_spite_of_stalls(pace: float, stalls: list[Stall], seed: int) -> None:
    assert measured(hls(2.0, 200, pace, stalls=stalls, seed=seed))[-1] == pytest.approx(1 / pace, rel=0.05)


def test_stamps_that_are_right_again_are_used_as_they_are() -> None:
    nominal = hls(2.0, 30, 0.4)
    stamp, arrived_at = nominal[-1]
    right = [(stamp + then + 0.04, arrived_at + arrived - START) for then, arrived in hls(2.0, 60)]
    assert measured(nominal + right)[-1] == 1.0


def played(frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Return, of each frame, when it is due and its capture time; nothing waits."""
    meter, last = BurstMeter(1 / FPS, 95_443.7), 0
    pace, found = EvenPace(threading.Event(), meter), []
    clock = CaptureClock(1 / FPS, is_paced=True, rate_by=meter)
    monkeypatch.setattr(threading.Event, "wait", lambda *_: True)
    due = START
    for stamp, arrived_at in frames:
        while last < len(frames) and frames[last][1] <= max(due, arrived_at):
            meter.observe(*frames[last])
            last += 1
        time_s = clock.advance(stamp, pace.reached(arrived_at))
        due = pace.hold(time_s, arrived_at)
        found.append((due, clock.date(time_s, due)))
    return found


@pytest.mark.parametrize("pace", [0.4, 0.8, 1.0, 1.25, 2.0])
@pytest.mark.parametrize("segment_s", [2.0, 4.0, 6.0])
def test_frames_in_bursts_are_played_and_dated_at_the_pace_of_the_clock(
    pace: float, segment_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = played(hls(segment_s, 60, pace), monkeypatch)
    later = range(len(found) // 2, len(found))
    held = [found[index][0] - START - index / FPS for index in later]
    errors = [found[index][1] - START - index / FPS for index in later]
    # A stream that was stamped too fast was held back by five segments for ever.
    assert max(map(abs, held)) < 3 * segment_s
    assert max(errors) - min(errors) < segment_s
    assert all(before[1] < after[1] for before, after in itertools.pairwise(found))
