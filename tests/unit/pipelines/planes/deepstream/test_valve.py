"""The valve before the muxer: what passes, what waits, what is left out."""

import threading
import time

import pytest

from countline_pipelines.planes.deepstream.cameras.valve import BEHIND_S, SourceValve
from countline_pipelines.sources import Playback, SourceSpec

PERIOD_NS = 20_000_000


def valve(playback: Playback) -> SourceValve:
    return SourceValve(SourceSpec("/clips/a.mp4", playback, recorded_at=1_000.0))


def test_a_file_as_fast_as_possible_is_held_back_by_nothing() -> None:
    fast = valve(Playback.FAST)
    began = time.monotonic()
    assert all(fast.admit(i * 1_000_000_000, None) for i in range(20))
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("playback", [Playback.REALTIME, Playback.LOOP])
def test_a_file_in_real_time_passes_no_frame_before_it_is_due(playback: Playback) -> None:
    paced = valve(playback)
    first = 3_600_000_000_000
    began = time.monotonic()
    for i in range(11):
        assert paced.admit(first + i * PERIOD_NS, None)
        assert time.monotonic() - began >= i * PERIOD_NS / 1e9 - 0.001


@pytest.mark.parametrize("jump_s", [36_000, 61, 10, -(BEHIND_S + 1), -36_000])
def test_times_that_jump_are_not_waited_for(jump_s: float) -> None:
    paced = valve(Playback.REALTIME)
    began = time.monotonic()
    assert paced.admit(100_000_000_000, None)
    assert paced.admit(100_000_000_000 + int(jump_s * 1e9), None)
    assert time.monotonic() - began < 8


def test_a_paused_file_waits_and_goes_on_with_the_very_frame() -> None:
    held = valve(Playback.FAST)
    held.pause()
    passed: list[bool] = []
    thread = threading.Thread(target=lambda: passed.append(held.admit(0, None)))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert held.transit.arrived == 0
    held.resume()
    thread.join(5)
    assert passed == [True]
    assert held.transit.inside == 1


def test_a_paused_camera_skips_frames_and_blocks_no_thread() -> None:
    live = SourceValve(SourceSpec("rtsp://camera/live", Playback.LIVE))
    live.pause()
    assert not live.admit(0, None)
    live.resume()
    assert live.admit(PERIOD_NS, None)


def test_a_thread_that_waits_is_released_when_the_valve_stops() -> None:
    """Else the source's thread, and with it the main loop that ends it, would wait for ever."""
    for waiting, pts in ((valve(Playback.FAST), 0), (valve(Playback.REALTIME), 4_000_000_000)):
        assert waiting.admit(0, None)
        if pts == 0:
            waiting.pause()
        passed: list[bool] = []
        thread = threading.Thread(target=lambda w=waiting, p=pts, out=passed: out.append(w.admit(p, None)))
        thread.start()
        waiting.stop()
        thread.join(5)
        assert not thread.is_alive()
        assert passed == [False]
