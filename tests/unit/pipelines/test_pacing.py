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


def hls(
    segment_s: float, segments: int, pace: float = 1.0, *, stalls: Sequence[tuple[float, float]] = (), seed: int = 1
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
    """
    noise, frames, number, now = random.Random(seed), list[Frame](), 0, START
    in_segment = round(segment_s * FPS)
    while number < segments:
        published = 3 + int((now - START) / segment_s)
        for began_s, length_s in stalls:
            if began_s <= now - START < began_s + length_s:
                now = began_s + length_s + START
        arrived_at = now + noise.uniform(0.01, 0.1)
        for index in range(number * in_segment, published * in_segment):
            frames.append((index / FPS * pace, arrived_at))
            arrived_at += 0.0005
        stated_s = segment_s * pace
        now = max(arrived_at, now + (stated_s if published > number else stated_s / 2) + noise.uniform(0.0, 0.1))
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


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([1.0, 2.0, 4.0, 6.0, 10.0]),
    st.floats(-0.001, 0.001),
    st.lists(st.tuples(st.floats(0, 200), st.floats(0.5, 30)), max_size=3),
    st.integers(0, 2**16),
)
def test_stalls_and_the_time_of_asking_make_no_right_stream_look_nominal(
    segment_s: float, drift: float, stalls: list[tuple[float, float]], seed: int
) -> None:
    assert set(measured(hls(segment_s, 40, 1.0 + drift, stalls=stalls, seed=seed))) == {1.0}


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
