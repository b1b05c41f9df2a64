"""When a crossing is decided: half a second after the meeting, or when the object is clear beyond, and only once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import HEIGHT, IDENTITY, SIZE, crossings, heights, ramp, spec
from tests.fixtures.examples import examples

from countline_counting import rules
from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing
from countline_counting.frames import DetectionFrame

SEEDS = st.integers(0, 2**32 - 1)
RATES = st.floats(2, 60)


def walk(seed: int, fps: float, seconds: float = 12.0):
    """A person who walks, stands, crawls and jumps about the gate: times, and heights at which the person stands."""
    rng = np.random.default_rng(seed)
    frames = int(seconds * fps)
    speed = np.repeat(rng.choice([0, 0, 4, 12, 60, 300]) * rng.normal(size=12), -(-frames // 12))[:frames]
    ys = 360 + rng.normal(0, 60) + np.cumsum(speed / fps) + rng.normal(0, rng.choice([0, 1, 4]), frames)
    return np.arange(frames) / fps, 360 + (np.clip(ys, 100, 700) - 360) * rng.choice([0.1, 0.3, 1.0])


def late(events, times, ys) -> list[Crossing]:
    """Return the crossings that were decided later than three seconds, although the object was clear in time."""
    clear = times[np.abs(ys - 360) >= rules.DESTINATION_CLEAR_HEIGHTS * HEIGHT]

    def is_late(event: Crossing) -> bool:
        since = clear[(clear > event.t) & (clear < event.decided_at - rules.LATEST_S)]
        return event.decided_at < event.t or (event.decided_at - event.t > rules.LATEST_S + 1e-6 and len(since) > 0)

    return [event for event in events if isinstance(event, Crossing) and is_late(event)]


@given(SEEDS, RATES)
@examples(12)
def test_no_crossing_is_decided_later_than_three_seconds_after_it_happened(seed, fps):
    """Objects are hidden for a while and change ids now and then; frames go on after the last sight."""
    rng = np.random.default_rng(seed)
    times, ys = walk(seed, fps)
    hidden = np.repeat(rng.random(25) < 0.2, -(-len(times) // 25))[: len(times)]
    ids = 1 + np.cumsum(rng.random(len(times)) < rng.choice([0, 0.02, 0.3]))
    frames = [
        (float(t), [] if gone else [(int(number), 600.0, float(y))])
        for t, y, gone, number in zip(times, ys, hidden, ids, strict=True)
    ]
    frames += [(float(times[-1] + (i + 1) / fps), []) for i in range(int(4 * fps))]
    assert late(crossings(frames), times, ys) == []


@given(SEEDS, RATES)
@examples(7)
def test_nor_is_one_of_tracked_detections_with_misses(seed, fps):
    rng = np.random.default_rng(seed)
    counter = CameraCounter(IDENTITY, spec())
    events = []
    times, ys = walk(seed, fps)
    for i, (t, y) in enumerate(zip(times, ys, strict=True)):
        seen = rng.random() > 0.15
        row = np.array([[580, y - HEIGHT, 620, y, rng.uniform(0.3, 0.9), 0]] if seen else np.zeros((0, 6)))
        events += counter.update(DetectionFrame("camera", i, float(t), SIZE, row.astype(np.float32))).events
    assert late([*events, *counter.flush()], times, ys) == []


@given(SEEDS, RATES)
@examples(6)
def test_a_crossing_that_was_emitted_is_never_withdrawn_whatever_comes_after(seed, fps):
    """Cut the walk anywhere: every event until then is the same in the whole walk."""
    times, ys = walk(seed, fps)
    frames = [(float(t), [(1, 600.0, float(y))]) for t, y in zip(times, ys, strict=True)]
    whole = crossings(frames)
    cut = frames[: len(frames) // 2]
    now = cut[-1][0]
    reported = [event for event in crossings(cut) if event.decided_at < now]
    assert reported == [event for event in whole if event.decided_at < now]


@pytest.mark.parametrize("fps", [10, 25])
def test_a_clear_pass_is_decided_half_a_second_after_the_line_was_met(fps):
    (event,) = crossings(heights(ramp(200, 520, 3 * fps), fps=fps))
    assert 0.5 - 1e-6 <= event.decided_at - event.t <= 0.5 + 1 / fps


def test_one_who_takes_a_minute_is_emitted_as_soon_as_he_is_clear_beyond():
    """A person meets the line after 30 s and is clear of it 13 s later; the crossing is dated at the meeting."""
    (event,) = crossings(heights(ramp(320, 400, 601)))
    clear = (0.22 * HEIGHT + 40) / 80 * 60
    assert event.decided_at == pytest.approx(clear, abs=0.11)
    assert event.t == pytest.approx(30, abs=0.01)
    assert event.frame == pytest.approx(300, abs=1)
