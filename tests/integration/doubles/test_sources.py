"""Sources of the double: files that loop, cameras that go away, and nothing left after a thousand of them."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.doubles.deepstream import native
from tests.doubles.deepstream.facts import tables
from tests.fixtures.clips import Pass, render
from tests.fixtures.doubles.rig import frames, main_loop, on_batches, rig
from tests.fixtures.examples import rounds

MUX = {"batch_size": 1}
LIVE = MUX | {"batched_push_timeout": 40_000}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return render(tmp_path_factory.mktemp("clips") / "clip.mp4", [Pass(True, seconds=0.5)], pause_s=0)


@pytest.fixture
def loop(deepstream_double):
    """GLib's main loop, running."""
    with main_loop():
        yield


def note_frames(pad: Any) -> list[tuple[int, int]]:
    """frame_num and buf_pts of every frame at a pad."""
    seen: list[tuple[int, int]] = []
    on_batches(pad, lambda buffer: seen.extend((frame.frame_num, frame.buf_pts) for frame in frames(buffer)))
    return seen


def test_a_pad_promises_decoded_video_in_gpu_memory(deepstream_double, clip):
    pads: list[tuple[str, str]] = []
    with rig(deepstream_double) as made:
        made.chain(**MUX)
        source = made.source(0, clip.as_uri())
        source.connect("pad-added", lambda _s, pad: pads.append((pad.get_name(), pad.query_caps(None).to_string())))
        made.run()
    ((name, caps),) = pads
    assert name == "vsrc_0"
    assert caps.startswith("video/x-raw(memory:NVMM)")


def test_one_frame_in_n_is_kept(deepstream_double, clip):
    with rig(deepstream_double) as made:
        seen = note_frames(made.chain(**MUX))
        made.source(0, clip.as_uri(), drop_frame_interval=5)
        made.run()
    assert [number for number, _ in seen] == [0, 1]


def test_a_file_that_is_not_there_is_an_error(deepstream_double, tmp_path):
    with rig(deepstream_double) as made:
        made.chain(**MUX)
        made.source(0, (tmp_path / "none.mp4").as_uri())
        made.play()
        assert "none.mp4" in made.first_error()


def test_a_source_that_failed_leaves_nothing(deepstream_double, tmp_path):
    before = deepstream_double.alive()
    with rig(deepstream_double) as made:
        source = made.make("nvurisrcbin", uri=(tmp_path / "none.mp4").as_uri())
        made.play()
        assert "none.mp4" in made.first_error()
        source.set_state(made.gst.State.NULL)
        assert not list(source.children)
        del source
    made.messages.clear()
    assert deepstream_double.alive() == before


def test_a_file_loops_and_its_time_goes_on(deepstream_double, loop, clip):
    with rig(deepstream_double) as made:
        seen = note_frames(made.chain(**MUX))
        made.source(0, clip.as_uri(), file_loop=True)
        made.play()
        assert made.wait_for(lambda: len(seen) > 35)
        assert not made.heard("error")
    times = [pts for _, pts in seen]
    assert times == sorted(set(times))
    assert [number for number, _ in seen] == list(range(len(seen)))
    assert times[30] == pytest.approx(1.5e9, abs=1e8)


def test_a_file_does_not_loop_without_a_main_loop(deepstream_double, clip):
    with rig(deepstream_double) as made:
        seen = note_frames(made.chain(**MUX))
        made.source(0, clip.as_uri(), file_loop=True)
        made.play()
        assert made.wait_for(lambda: len(seen) == 10)
        assert not made.wait_for(lambda: len(seen) > 10, timeout_s=0.5)


@pytest.mark.parametrize("protocol", [0, 4])
def test_a_camera_is_read(deepstream_double, loop, rtsp, protocol):
    server = rtsp()
    with rig(deepstream_double) as made:
        seen = note_frames(made.chain(**LIVE))
        made.source(0, server.url(), select_rtp_protocol=protocol)
        made.play()
        assert made.wait_for(lambda: len(seen) > 20)


@pytest.mark.parametrize("asked", [True, False])
def test_a_frame_carries_the_cameras_clock_after_its_first_report_if_that_was_asked_for(
    deepstream_double, loop, rtsp, asked
):
    server = rtsp()
    pyds = deepstream_double.pyds.module
    seen: list[tuple[int, int]] = []

    def ask(_bin: Any, _within: Any, element: Any) -> None:
        if asked and element.get_factory().get_name() == "rtspsrc":
            pyds.configure_source_for_ntp_sync(hash(element))

    with rig(deepstream_double) as made:
        end = made.chain(**LIVE, attach_sys_ts=False)
        on_batches(end, lambda buffer: seen.extend((f.ntp_timestamp, time.time_ns()) for f in frames(buffer)))
        source = made.source(0, server.url(), latency=50)
        source.connect("deep-element-added", ask)
        made.play()
        made.wait_for(lambda: len(seen) > 60)
    lates_ns = [now - ntp for ntp, now in seen if ntp]
    assert bool(lates_ns) is asked
    assert all(0 < late_ns < 2e9 for late_ns in lates_ns), "of the picture, which is a little older than now"


def test_the_bin_is_no_source_whose_clock_could_be_asked_for(deepstream_double):
    from gi.repository import Gst

    made = Gst.ElementFactory.make("nvurisrcbin", None)
    with pytest.raises(RuntimeError, match="rtspsrc"):
        deepstream_double.pyds.module.configure_source_for_ntp_sync(hash(made))


def test_a_camera_that_is_not_there_is_an_error_without_the_watchdog(deepstream_double, loop, rtsp):
    server = rtsp()
    server.stop()
    with rig(deepstream_double) as made:
        made.chain(**LIVE)
        made.source(0, server.url())
        made.play()
        assert made.first_error()


def test_a_camera_that_comes_back_is_connected_again(deepstream_double, loop, rtsp):
    resets: list[int] = []
    server = rtsp()
    with rig(deepstream_double) as made:
        pad = made.chain(**LIVE)
        seen = note_frames(pad)
        made.source(0, server.url(), rtsp_reconnect_interval=1, latency=50)
        pad.add_probe(made.gst.PadProbeType.EVENT_DOWNSTREAM, lambda _pad, info: _note_reset(made.gst, info, resets))
        made.play()
        assert made.wait_for(lambda: len(seen) > 5)
        server.stop()
        assert made.wait_for(lambda: any("Trying reconnection" in _text(each) for each in made.heard("warning")))
        before = len(seen)
        server.start()
        assert made.wait_for(lambda: len(seen) > before + 5)
        assert not made.heard("error")
    assert resets


def _note_reset(gst: Any, info: Any, resets: list[int]) -> Any:
    if native.event_type_of(info.get_event()) == tables()["events"]["GST_NVEVENT_STREAM_RESET"]:
        resets.append(1)
    return gst.PadProbeReturn.OK


def _text(message: Any) -> str:
    return message.parse_warning()[0].message


def test_a_frozen_camera_is_noticed(deepstream_double, loop, rtsp):
    server = rtsp()
    with rig(deepstream_double) as made:
        seen = note_frames(made.chain(**LIVE))
        made.source(0, server.url(), rtsp_reconnect_interval=2, select_rtp_protocol=4)
        made.play()
        assert made.wait_for(lambda: len(seen) > 5)
        server.freeze()
        assert made.wait_for(lambda: any("last 2 sec" in _text(each) for each in made.heard("warning")))


def test_attempts_that_are_used_up_are_reported(deepstream_double, loop, rtsp):
    server = rtsp()
    server.stop()
    with rig(deepstream_double) as made:
        made.chain(**LIVE)
        made.source(7, server.url(), rtsp_reconnect_interval=1, rtsp_reconnect_attempts=1)
        made.play()
        # GStreamer gives an address that refuses it up to twenty seconds for each try.
        assert made.wait_for(lambda: bool(made.heard_element("attempt-exceeded")), 100.0)
        exceeded = made.heard_element("attempt-exceeded")[0]
        assert exceeded.get_value("source-id") == 7
        # From then on the watchdog is off, and what goes wrong is an error again.
        kinds = [each.type for each in made.messages]
        assert made.gst.MessageType.ERROR not in kinds[: kinds.index(made.gst.MessageType.ELEMENT)]


def test_one_source_of_the_process_is_reset_in_three_seconds(deepstream_double, loop, rtsp):
    server = rtsp()
    server.stop()
    warned: list[tuple[float, str]] = []
    with rig(deepstream_double) as made:
        made.chain(**(LIVE | {"batch_size": 3}))
        for number in range(3):
            made.source(number, server.url(), rtsp_reconnect_interval=1)
        made.play()

        def two() -> bool:
            known = len(warned)
            trying = [each for each in made.heard("warning") if "Trying" in _text(each)]
            warned.extend((time.monotonic(), each.src.get_name()) for each in trying[known:])
            return len(warned) >= 3

        assert made.wait_for(two)
    assert all(later - earlier > 2.8 for (earlier, _), (later, _) in pairwise(warned))


@pytest.mark.parametrize("deepstream_double", ["7.1", "8.0"], indirect=True)
@pytest.mark.leaks
@pytest.mark.slow
def test_nothing_is_left_after_hundreds_of_comings_and_goings(deepstream_double, clip):
    with rig(deepstream_double) as made:
        seen = note_frames(made.chain(batch_size=8, drop_pipeline_eos=True))
        made.play()
        settled = deepstream_double.alive()
        for cycle in range(rounds(300, 1000)):
            source = made.source(cycle, clip.as_uri())
            source.sync_state_with_parent()
            if cycle % 100 == 0:
                known = len(seen)
                assert made.wait_for(lambda known=known: len(seen) > known)
            source.set_locked_state(True)  # else the pipeline may start it again before it is removed
            source.set_state(made.gst.State.NULL)
            pad = made.mux.get_static_pad(f"sink_{cycle}")
            pad.send_event(made.gst.Event.new_flush_stop(False))
            made.mux.release_request_pad(pad)
            assert made.wait_for(lambda pad=pad: pad.__grefcount__ == 1)  # our own; its thread lets go of it at last
            made.pipeline.remove(made.elements.pop(f"source-{cycle}"))
            made.listen()
            made.messages.clear()
        del source, pad
        assert deepstream_double.alive() == settled
    made.messages.clear()
    assert deepstream_double.alive() == type(settled)(0, 0, 0, 0)
