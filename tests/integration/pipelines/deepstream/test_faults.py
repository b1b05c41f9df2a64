"""What goes wrong while a DeepStream plane plays: Triton dies, cameras die, sources come and go by the hundred."""

import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import tritonclient.grpc as triton_grpc
from tests.doubles.deepstream import Installed
from tests.doubles.deepstream.ledger import Alive
from tests.fixtures.clips import Pass, render, write_blob_repository
from tests.fixtures.examples import rounds
from tests.fixtures.local.ports import free_ports
from tests.fixtures.pipelines.deepstream_bench import Bench, deepstream_plane, plan
from tests.fixtures.pipelines.memory import Memory
from tests.fixtures.pipelines.metrics import series_of
from tests.fixtures.rtsp import RtspServer
from tests.fixtures.triton import TritonServer, start_triton

from countline_common.display import PictureShape
from countline_common.triton.access import secret_headers
from countline_pipelines.planes.deepstream import keeper
from countline_pipelines.planes.deepstream.cameras.valve import SourceValve
from countline_pipelines.planes.deepstream.gst.library import PipelineError
from countline_pipelines.planes.deepstream.gst.pipeline import Pipeline
from countline_pipelines.planes.deepstream.gst.sources import PipelineSource
from countline_pipelines.planes.interface import CameraPlan, CameraState
from countline_pipelines.sources import Playback, SourceSpec

# Eight threads or so for each source that is open at a time.
AT_A_TIME = 10


def looping(camera_id: str, clip: Path, **changed: object) -> CameraPlan:
    return plan(camera_id, clip, playback=Playback.LOOP, run="", **changed)


def live(camera_id: str, url: str) -> CameraPlan:
    return plan(camera_id, url, playback=Playback.LIVE, run="")


def state_of(bench: Bench, camera_id: str) -> CameraState:
    return bench.condition(camera_id).state


def is_reported_lost(bench: Bench, camera_id: str) -> bool:
    """Whether the camera reconnects and says why and what to do."""
    condition = bench.condition(camera_id)
    fault = condition.fault
    return condition.state is CameraState.OFFLINE and fault is not None and bool(fault.hint)


def counted(bench: Bench, camera_id: str) -> int:
    return len(bench.recorder.frames.get(camera_id, []))


def goes_on(bench: Bench, *cameras: str) -> None:
    """Wait until each of the cameras has counted more than it had."""
    before = {camera: counted(bench, camera) for camera in cameras}
    bench.wait_for(lambda: all(counted(bench, camera) > before[camera] + 3 for camera in cameras), 60)


@pytest.fixture
def small_clip(tmp_path: Path) -> Path:
    """A second of something that moves."""
    return render(tmp_path / "small.mp4", [Pass(True, seconds=1.0)], size=(96, 64), pause_s=0.0)


def test_after_triton_was_killed_cameras_go_on_with_new_runs_and_the_gap_shows(
    deepstream_double: Installed, clip: Path, tmp_path: Path
) -> None:
    repository = write_blob_repository(tmp_path / "models")
    server = start_triton(repository, tmp_path / "triton")
    ports = tuple(int(address.rpartition(":")[2]) for address in (server.http, server.grpc, server.metrics))
    with deepstream_plane(server.grpc, tmp_path) as bench:
        bench.plane.add_camera(looping("cam", clip, epoch=7))
        bench.plane.add_camera(plan("file", clip, playback=Playback.REALTIME))
        bench.wait_for(lambda: counted(bench, "cam") > 10 and counted(bench, "file") > 10, 40)
        server.kill()
        bench.wait_for(lambda: state_of(bench, "cam") is CameraState.OFFLINE, 40)
        fault = bench.condition("cam").fault
        assert fault is not None
        died_at = time.time()
        server = start_triton(repository, tmp_path / "again", ports=ports)
        try:
            goes_on(bench, "cam")
            bench.wait_ended("file", timeout_s=90)
        finally:
            came_back_at = time.time()
            bench.plane.close(20)
            server.stop()
    first, second = bench.recorder.names("cam")
    assert first != second
    epochs = {(run.identity.camera_id, run.identity.epoch) for run in bench.recorder.runs}
    assert epochs == {("cam", 7), ("file", 0)}, "as they were assigned"
    times = [each.result.tracked.t for each in bench.recorder.frames["cam"]]
    gap = max(b - a for a, b in pairwise(times))
    assert 0.5 < gap < came_back_at - died_at + 15
    assert set(bench.recorder.names("file")) == {"run-file"}, "counted again under its own name"
    assert [identity.run for identity in bench.recorder.broken_off] == ["run-file"]
    assert bench.recorder.in_out("file") == (1, 3)


def test_a_triton_that_is_not_ready_at_the_start_is_waited_for(
    deepstream_double: Installed, clip: Path, tmp_path: Path
) -> None:
    """nvinferserver does not start without it, so nothing is made before the model answers."""
    repository = write_blob_repository(tmp_path / "models")
    ports = free_ports(3)
    with deepstream_plane(f"127.0.0.1:{ports[1]}", tmp_path) as bench:
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_for(lambda: bench.condition("cam").fault is not None)
        assert state_of(bench, "cam") is CameraState.STARTING
        server = start_triton(repository, tmp_path / "triton", ports=ports)
        try:
            bench.wait_ended("cam")
        finally:
            bench.plane.close(20)
            server.stop()
    assert bench.recorder.in_out("cam") == (1, 3)
    assert not bench.recorder.broken_off


def test_an_inference_that_fails_in_flight_ends_the_pipeline_and_the_next_one_goes_on(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    """Triton itself stays: it refuses a batch, here because its model was taken away, which loading it again mends."""
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        for name in ("cam", "other"):
            bench.plane.add_camera(looping(name, clip, epoch=3))
        bench.wait_for(lambda: counted(bench, "cam") > 5 and counted(bench, "other") > 5, 40)
        with triton_grpc.InferenceServerClient(blob_triton.grpc) as client:
            client.unload_model("blob", headers=secret_headers())
        bench.wait_for(lambda: all(len(bench.recorder.names(name)) == 2 for name in ("cam", "other")), 60)
        goes_on(bench, "cam", "other")
    assert {run.identity.epoch for run in bench.recorder.runs} == {3}
    assert len(set(bench.recorder.names("cam"))) == 2
    assert not bench.recorder.broken_off, "what a camera had open was decided"


def test_a_pipeline_that_does_not_play_is_tried_again_ever_more_seldom(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried_at: list[float] = []

    def refused(_: Pipeline) -> None:
        tried_at.append(time.monotonic())
        raise PipelineError("the pipeline does not start", hint="none in this test")

    with monkeypatch.context() as patched, deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        patched.setattr(Pipeline, "play", refused)
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_for(lambda: len(tried_at) == 4, 40)
        fault = bench.condition("cam").fault
        assert fault is not None
        assert "does not start" in fault.message
        patched.undo()
        bench.wait_ended("cam")
    pauses = [b - a for a, b in pairwise(tried_at)]
    assert pauses[-1] > 1.5 * pauses[0] > 0.1, pauses
    assert bench.recorder.in_out("cam") == (1, 3)


def test_a_triton_that_hangs_is_noticed_and_outlived(
    deepstream_double: Installed, small_clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """nvinferserver waits for an answer without a deadline, so nothing would ever be said."""
    monkeypatch.setattr(keeper, "STALL_S", 2.0)
    server = start_triton(write_blob_repository(tmp_path / "models"), tmp_path / "triton")
    try:
        with deepstream_plane(server.grpc, tmp_path) as bench:
            bench.plane.add_camera(looping("cam", small_clip))
            bench.wait_for(lambda: counted(bench, "cam") > 5, 40)
            os.kill(server.pid, signal.SIGSTOP)
            bench.wait_for(lambda: state_of(bench, "cam") is CameraState.OFFLINE, 40)
            fault = bench.condition("cam").fault
            assert fault is not None
            assert "Triton" in fault.message + fault.hint
            os.kill(server.pid, signal.SIGCONT)
            goes_on(bench, "cam")
    finally:
        os.kill(server.pid, signal.SIGCONT)
        server.stop()


def test_a_camera_that_dies_is_reported_and_the_others_go_on(
    deepstream_double: Installed,
    blob_triton: TritonServer,
    rtsp: Callable[..., RtspServer],
    small_clip: Path,
    tmp_path: Path,
) -> None:
    """nvurisrcbin tries by itself first, reports when it gives up, and then the plane makes the source again."""
    server = rtsp()
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(live("cam", server.url()))
        bench.plane.add_camera(looping("other", small_clip))
        bench.wait_for(lambda: state_of(bench, "cam") is CameraState.RUNNING, 40)
        goes_on(bench, "cam", "other")
        server.stop()
        # In one look: a frame that was on its way under load makes the camera running again for a moment.
        bench.wait_for(lambda: is_reported_lost(bench, "cam"), 40)
        goes_on(bench, "other")
        server.start()
        bench.wait_for(lambda: state_of(bench, "cam") is CameraState.RUNNING, 90)
        goes_on(bench, "cam")
    assert deepstream_double.ledger.pyds_calls["configure_source_for_ntp_sync"] >= 2, "again for each connection"
    assert len(bench.recorder.names("other")) == 1


def test_a_camera_that_goes_silent_holds_up_no_other(
    deepstream_double: Installed,
    blob_triton: TritonServer,
    rtsp: Callable[..., RtspServer],
    small_clip: Path,
    tmp_path: Path,
) -> None:
    """Its cable is pulled: nothing is said, and a muxer that waited for a full batch would wait for ever."""
    server = rtsp()
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(live("cam", server.url()))
        bench.plane.add_camera(looping("other", small_clip))
        bench.wait_for(lambda: state_of(bench, "cam") is CameraState.RUNNING, 40)
        server.freeze()
        frozen_at = time.time()
        bench.wait_for(lambda: state_of(bench, "cam") is CameraState.OFFLINE, 40)
        goes_on(bench, "other")
    times = [t for each in bench.recorder.frames["other"] if (t := each.result.tracked.t) > frozen_at]
    assert max(b - a for a, b in pairwise(times)) < 1
    assert len(bench.recorder.names("other")) == 1


def test_a_camera_with_a_password_never_shows_it(
    deepstream_double: Installed,
    blob_triton: TritonServer,
    rtsp: Callable[..., RtspServer],
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    server = rtsp(with_password=True)
    url = server.url(login="viewer:wrong-secret")
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(live("cam", url))
        bench.wait_for(lambda: bench.condition("cam").fault is not None, 40)
        fault = bench.condition("cam").fault
        assert fault is not None
        assert "wrong-secret" not in fault.message
    assert "wrong-secret" not in "".join(capfd.readouterr())


def test_a_camera_whose_address_changes_is_opened_anew_and_the_others_go_on(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, small_clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        for name in ("cam", "other"):
            bench.plane.add_camera(looping(name, clip))
        goes_on(bench, "cam", "other")
        bench.plane.update_camera(looping("cam", small_clip))
        bench.wait_for(lambda: bench.condition("cam").picture == PictureShape((96, 64)), 40)
        goes_on(bench, "cam", "other")
    assert len(bench.recorder.names("cam")) == 2
    assert len(bench.recorder.names("other")) == 1


@pytest.mark.slow
def test_many_sources_come_and_go_in_random_order_and_one_plays_through(
    deepstream_double: Installed, blob_triton: TritonServer, small_clip: Path, tmp_path: Path
) -> None:
    order = random.Random(7)
    present: list[str] = []
    with deepstream_plane(blob_triton.grpc, tmp_path, capacity=AT_A_TIME + 1) as bench:
        bench.plane.add_camera(looping("stays", small_clip))
        bench.wait_for(lambda: state_of(bench, "stays") is CameraState.RUNNING, 40)
        for number in range(60):
            name = f"cam-{number}"
            bench.plane.add_camera(looping(name, small_clip))
            present.append(name)
            while len(present) >= order.randint(1, AT_A_TIME):
                leaving = present.pop(order.randrange(len(present)))
                if order.random() < 0.5:
                    bench.wait_for(lambda name=leaving: counted(bench, name) > 0, 40)
                bench.plane.remove_camera(leaving)
                bench.wait_for(lambda name=leaving: name not in bench.plane.conditions(), 40)
        goes_on(bench, "stays")
    assert len(bench.recorder.names("stays")) == 1, "cameras that come and go do not end its run"
    times = [each.result.tracked.t for each in bench.recorder.frames["stays"]]
    assert max(b - a for a, b in pairwise(times)) < 3


def test_a_camera_on_a_pads_place_inherits_nothing(
    deepstream_double: Installed,
    blob_triton: TritonServer,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """What elements keep by the index of a pad is never freed, so no index comes twice in a pipeline's life."""
    indices: list[int] = []
    add_source = Pipeline.add_source

    def noted(pipeline: Pipeline, index: int, spec: SourceSpec, valve: SourceValve) -> None:
        indices.append(index)
        add_source(pipeline, index, spec, valve)

    monkeypatch.setattr(Pipeline, "add_source", noted)
    cameras = ("first", "second", "third")
    with deepstream_plane(blob_triton.grpc, tmp_path, capacity=2) as bench:
        bench.plane.add_camera(plan("keeps-the-pipeline", clip, playback=Playback.REALTIME))
        bench.wait_for(lambda: counted(bench, "keeps-the-pipeline") > 0)
        for name in cameras:
            bench.plane.add_camera(plan(name, clip))
            bench.wait_ended(name)
            bench.plane.remove_camera(name)
            bench.wait_for(lambda name=name: name not in bench.plane.conditions())
    assert indices == [0, 1, 2, 3]
    assert {bench.recorder.in_out(name) for name in cameras} == {(1, 3)}


def test_when_the_indices_run_out_the_pipeline_is_made_anew_and_nothing_is_lost(
    deepstream_double: Installed, blob_triton: TritonServer, small_clip: Path, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path, options={"most_indices": 3}) as bench:
        bench.plane.add_camera(plan("file", clip, playback=Playback.REALTIME))
        bench.wait_for(lambda: counted(bench, "file") > 5, 40)
        for number in range(3):
            bench.plane.add_camera(plan(f"short-{number}", small_clip))
            bench.wait_ended(f"short-{number}")
        bench.wait_ended("file", timeout_s=90)
    assert bench.recorder.in_out("file") == (1, 3)
    assert [identity.camera_id for identity in bench.recorder.broken_off] == ["file"]


def cycle(bench: Bench, name: str, clip: Path) -> None:
    """A camera that comes, counts, and goes."""
    bench.plane.add_camera(looping(name, clip))
    bench.wait_for(lambda: counted(bench, name) > 0, 40)
    bench.plane.remove_camera(name)
    bench.wait_for(lambda: name not in bench.plane._held, 40)  # taken out, not only on its way


def alive_before_and_after(double: Installed, triton: str, clip: Path, folder: Path) -> tuple[Alive, Alive]:
    """What is there beside one camera that stays, before and after others came and went."""
    with deepstream_plane(triton, folder, capacity=4) as bench:
        bench.plane.add_camera(looping("stays", clip))
        bench.wait_for(lambda: counted(bench, "stays") > 0, 40)
        cycle(bench, "cam", clip)
        before = double.alive()
        for _ in range(20):
            cycle(bench, "cam", clip)
        return before, double.alive()


def test_nothing_is_left_of_what_came_and_went(
    deepstream_double: Installed, blob_triton: TritonServer, small_clip: Path, tmp_path: Path
) -> None:
    before, after = alive_before_and_after(deepstream_double, blob_triton.grpc, small_clip, tmp_path)
    assert (after.elements, after.pads) == (before.elements, before.pads)
    assert deepstream_double.alive() == Alive(0, 0, 0, 0), "nor of the plane"


def of_gstreamer(alive: Alive) -> tuple[int, int]:
    return alive.elements, alive.pads


def test_a_camera_that_is_taken_out_while_its_broken_source_is_closed_leaves_nothing(
    deepstream_double: Installed,
    blob_triton: TritonServer,
    small_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closing, stop_source = threading.Event(), Pipeline.stop_source

    def stop_slowly(pipeline: Pipeline, index: int) -> None:
        closing.set()
        time.sleep(0.5)
        stop_source(pipeline, index)

    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    with deepstream_plane(blob_triton.grpc, tmp_path, capacity=4) as bench:
        bench.plane.add_camera(looping("stays", small_clip))
        cycle(bench, "cam", small_clip)
        before = deepstream_double.alive()
        monkeypatch.setattr(Pipeline, "stop_source", stop_slowly)
        bench.plane.add_camera(looping("broken", broken))
        assert closing.wait(30)
        bench.plane.remove_camera("broken")
        bench.wait_for(lambda: "broken" not in bench.plane._held, 40)
        # A thread of an element may hold it a moment longer; what is left in the pipeline stays for good.
        bench.wait_for(lambda: of_gstreamer(deepstream_double.alive()) == of_gstreamer(before), 20)


def kept_by_us() -> int:
    """Sources and valves that are still referenced, for example by a probe or a handler that was not removed."""
    gc.collect()
    return sum(isinstance(each, PipelineSource | SourceValve) for each in gc.get_objects())


@pytest.mark.slow
@pytest.mark.leaks
@pytest.mark.timeout(rounds(600, 3600))
def test_nothing_leaks_over_hundreds_of_cameras_that_come_and_go(
    deepstream_double: Installed, blob_triton: TritonServer, small_clip: Path, tmp_path: Path
) -> None:
    """Each comes to its pad; half of them are taken out before they have counted a frame."""
    process, cycles = psutil.Process(), rounds(160, 1000)
    with deepstream_plane(blob_triton.grpc, tmp_path, capacity=8) as bench:
        bench.plane.add_camera(looping("stays", small_clip))
        cycle(bench, "cam", small_clip)
        alive, kept = deepstream_double.alive(), kept_by_us()
        sizes: list[Memory] = []
        for number in range(cycles):
            name = f"cam-{number}"
            bench.plane.add_camera(looping(name, small_clip))
            if number % 2:
                bench.wait_for(lambda name=name: counted(bench, name) > 0, 40)
            else:
                bench.wait_for(lambda name=name: is_open(bench, name), 40)
            bench.plane.remove_camera(name)
            bench.wait_for(lambda name=name: name not in bench.plane._held, 40)
            bench.recorder.frames.clear()
            if number % (cycles // 10) == cycles // 10 - 1:
                sizes.append(Memory.now())
        now = deepstream_double.alive()
        assert (now.elements, now.pads, kept_by_us()) == (alive.elements, alive.pads, kept)
        assert series_of(camera=f"cam-{cycles - 1}") == {}
        assert process.num_threads() < 60
        goes_on(bench, "stays")
        assert len(bench.recorder.names("stays")) == 1, "one pipeline saw them all"
    cameras = 0.7 * cycles
    allocated = (sizes[-1].allocated - sizes[2].allocated) / cameras
    resident = (sizes[-1].resident - sizes[2].resident) / cameras
    assert allocated < 20_000, f"{allocated / 1000:.0f} kB a camera: {sizes}"
    assert resident < rounds(120_000, 20_000), f"{resident / 1000:.0f} kB a camera: {sizes}"


def is_open(bench: Bench, camera_id: str) -> bool:
    """Whether its source has a pad."""
    held = bench.plane._held.get(camera_id)
    return held is not None and held.camera is not None and held.camera.valve is not None
