"""Frames inside the pipeline have the same capture times, numbers and processing rate as on the software plane."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_pipelines.planes.deepstream.cameras.transit import MOST_INSIDE, FrameTransit
from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.sources.clock import RateGate

FILE = SourceSpec("/clips/a.mp4", Playback.FAST, recorded_at=1_000.0)
CAMERA = SourceSpec("rtsp://camera/live", Playback.LIVE)
PERIOD_NS = 40_000_000


def test_a_file_has_capture_times_from_its_recording_whatever_its_first_time_is() -> None:
    transit = FrameTransit(FILE)
    origin = 7_000_000_000
    times = []
    for i in range(3):
        assert transit.enter(origin + i * PERIOD_NS, 0.0, 0.0)
        left = transit.leave(origin + i * PERIOD_NS, 0)
        assert left is not None
        times.append(left[0].t)
    assert times == pytest.approx([1_000.0, 1_000.04, 1_000.08])


def test_frames_that_are_not_looked_at_do_not_go_in_and_keep_their_number() -> None:
    transit = FrameTransit(SourceSpec("/clips/a.mp4", Playback.FAST, recorded_at=1_000.0, rate=5))
    looked_at = [transit.enter(i * PERIOD_NS, 0.0, 0.0) for i in range(25)]
    gate = RateGate(5)
    assert looked_at == [gate.passes(1_000.0 + i * 0.04) for i in range(25)], "as in the software plane"
    assert 5 <= sum(looked_at) <= 6
    ordinals = [transit.leave(i * PERIOD_NS, 0)[0].ordinal for i, took in enumerate(looked_at) if took]
    assert ordinals == [i for i, took in enumerate(looked_at) if took]


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_frames_that_the_pipeline_lost_are_counted_with_the_next_that_came_out(comes_out: list[bool]) -> None:
    transit = FrameTransit(FILE)
    for i in range(len(comes_out)):
        transit.enter(i * PERIOD_NS, 0.0, 0.0)
    lost = [transit.leave(i * PERIOD_NS, 0)[1] for i, seen in enumerate(comes_out) if seen]
    last = max((i for i, seen in enumerate(comes_out) if seen), default=-1)
    assert sum(lost) == comes_out[: last + 1].count(False)
    assert transit.inside == len(comes_out) - 1 - last


def test_a_muxer_with_times_of_its_own_still_keeps_the_order() -> None:
    transit = FrameTransit(FILE)
    for i in range(3):
        transit.enter(i * PERIOD_NS, 0.0, 0.0)
    ordinals = [transit.leave(10**12 + i, 0)[0].ordinal for i in range(3)]
    assert ordinals == [0, 1, 2]
    assert transit.leave(0, 0) is None, "nothing is inside that it could be"


def test_what_is_inside_is_bounded() -> None:
    transit = FrameTransit(FILE)
    for i in range(MOST_INSIDE * 2):
        transit.enter(i * PERIOD_NS, 0.0, 0.0)
    assert transit.inside == MOST_INSIDE


def test_a_cameras_own_clock_is_believed_once_it_is_near_ours() -> None:
    """Over a minute, 25 frames a second arrive 0.3 s after they were captured, as the camera's reports say."""
    transit = FrameTransit(CAMERA)
    began, now = time.time(), time.monotonic()
    for i in range(1500):
        captured = began + i * 0.04
        transit.enter(i * PERIOD_NS, captured + 0.3, now)
        entry, _ = transit.leave(i * PERIOD_NS, int(captured * 1e9) if abs(captured - began) < 4 else 0)
    assert entry.t == pytest.approx(captured, abs=0.05)


def test_a_camera_whose_clock_is_wrong_is_stamped_by_ours() -> None:
    transit = FrameTransit(CAMERA)
    began, now = time.time(), time.monotonic()
    for i in range(100):
        transit.enter(i * PERIOD_NS, began + i * 0.04, now)
        entry, _ = transit.leave(i * PERIOD_NS, int(1e9))
    assert entry.t == pytest.approx(began + 99 * 0.04, abs=0.05)


def test_a_wall_clock_that_is_set_back_begins_an_era() -> None:
    transit = FrameTransit(CAMERA)
    transit.enter(0, 5_000.0, 0.0)
    transit.enter(PERIOD_NS, 5_000.04, 0.0)
    transit.enter(2 * PERIOD_NS, 4_000.0, 0.0)
    first, second, third = (transit.leave(i * PERIOD_NS, 0)[0] for i in range(3))
    assert (first.era, second.era, third.era) == (0, 0, 1)
    assert third.t == pytest.approx(4_000.0)


def test_a_file_whose_times_jump_goes_on_and_says_so() -> None:
    transit = FrameTransit(FILE)
    times = []
    for i in range(40):
        pts_ns = i * PERIOD_NS + (36_000_000_000_000 if i >= 20 else 0)
        assert transit.enter(pts_ns, 0.0, 0.0)
        times.append(transit.leave(pts_ns, 0)[0].t)
    assert times == pytest.approx([1_000 + i * 0.04 for i in range(40)])
    assert transit.stamps.jumps == 1


@pytest.mark.parametrize("has_times", [True, False])
def test_a_camera_whose_times_run_too_slowly_is_dated_by_the_arrivals(has_times: bool) -> None:
    """It stamps 25 frames a second, or none, and sends 10."""
    transit = FrameTransit(CAMERA)
    for i in range(200):
        assert transit.enter(i * PERIOD_NS if has_times else None, 5_000.0 + i * 0.1, i * 0.1)
        entry, _ = transit.leave(i * PERIOD_NS, 0)
    assert entry.t == pytest.approx(5_000 + 199 * 0.1, abs=0.05)
    assert transit.stamps.rate == pytest.approx(2.5, rel=0.02)
