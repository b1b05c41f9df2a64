"""The software plane over a Triton that answers late, out of order, or not at all; sources are clips made on the spot.

The client here obeys the contract of `InferenceClient`: what a real Triton does is shown by the tests in integration.
"""

import threading
import time
from pathlib import Path

import pytest
from tests.fixtures.clips import Pass, render
from tests.fixtures.pipelines.metrics import series_of
from tests.fixtures.planes import COUNTING, Bench, FakeTriton, plan

from countline_common.errors import CountlineError
from countline_counting.identity import Identity
from countline_counting.spec import CountingSpec, Line
from countline_pipelines import metrics, pauses
from countline_pipelines.planes import health, keeping, plane_thread
from countline_pipelines.planes.interface import CameraPlan, CameraState, CountedFrame, Fault
from countline_pipelines.planes.software.camera import SoftwareCamera
from countline_pipelines.planes.software.lane import lane
from countline_pipelines.planes.software.source.reader import ReadState, SourceReader
from countline_pipelines.sources import Picture, Playback, SourceSpec, VideoInfo

FULL = Fault("spool_full", "the spool is full", "empty it")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    return render(folder / "film.mp4", [Pass(True, 0, 1.0), Pass(False, 1, 1.0), Pass(True, 2, 1.0)])


def test_every_frame_of_every_file_is_counted_once_and_in_order(benches, film: Path) -> None:
    bench = benches(FakeTriton(delay_s=0.001, jitter_s=0.01))
    cameras = [f"cam-{index}" for index in range(5)]
    for camera in cameras:
        bench.plane.add_camera(plan(camera, film))
    bench.wait_ended(*cameras)
    for camera in cameras:
        assert [index for index, _ in bench.recorder.frames[camera]] == list(range(90))
        assert bench.condition(camera).state is CameraState.FINISHED
        assert len(bench.recorder.ids(camera)) == 3
    assert max(bench.client.batches) > 1, "frames of several cameras travel together"
    assert bench.client.most_in_flight <= 3


def test_events_do_not_depend_on_batches_neighbours_or_outages(benches, film: Path) -> None:
    found = []
    for client, neighbours in (
        (FakeTriton(), 0),
        (FakeTriton(jitter_s=0.02), 3),
        (FakeTriton(lose_every=4), 2),
    ):
        bench = benches(client)
        for index in range(neighbours):
            bench.plane.add_camera(plan(f"other-{index}", film))
        bench.plane.add_camera(plan("cam", film))
        bench.wait_ended("cam")
        found.append(bench.recorder.events["cam"])
    assert found[0]
    assert found[0] == found[1] == found[2]


def test_a_live_camera_drops_its_oldest_frames_when_triton_is_slow_and_stays_timely(benches, film: Path) -> None:
    bench = benches(FakeTriton(delay_s=0.25))
    bench.plane.add_camera(plan("live", film, Playback.LOOP))
    bench.wait_for(lambda: bench.condition("live").frames_dropped > 10)
    bench.wait_for(lambda: len(bench.recorder.frames.get("live", [])) > 10)
    condition = bench.condition("live")
    assert condition.state is CameraState.RUNNING
    assert condition.latency_s < 1.5
    times = [t for _, t in bench.recorder.frames["live"]]
    assert times == sorted(times)


def test_a_file_never_drops(benches, film: Path) -> None:
    bench = benches(FakeTriton(delay_s=0.02))
    bench.plane.add_camera(plan("cam", film))
    bench.wait_ended("cam")
    assert bench.condition("cam").frames_dropped == 0
    assert len(bench.recorder.frames["cam"]) == 90


def test_a_file_whose_reader_is_done_before_the_first_answer_is_counted_to_its_end(benches, tmp_path: Path) -> None:
    """Its end was once taken for the end of the count, since no frame had been counted yet."""
    short = render(tmp_path / "short.mp4", [Pass(True, 0, 0.25)], pause_s=0)
    bench = benches(FakeTriton(delay_s=0.5))
    bench.plane.add_camera(plan("cam", short))
    bench.wait_ended("cam")
    assert [index for index, _ in bench.recorder.frames["cam"]] == list(range(5))


def test_a_frame_that_triton_refuses_fails_its_camera_with_a_reason(benches, film: Path) -> None:
    bench = benches()
    bench.client.refuse.add("fake@1")
    bench.plane.add_camera(plan("cam", film, Playback.LOOP))
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    condition = bench.condition("cam")
    assert condition.state is CameraState.FAILED
    assert condition.fault is not None
    assert condition.fault.code == "model"


def test_a_camera_whose_frames_are_accepted_again_runs_again(benches, film: Path) -> None:
    """Its state stayed FAILED because Triton had refused one frame."""
    bench = benches()
    bench.client.refuse.add("fake@1")
    bench.plane.add_camera(plan("cam", film, Playback.LOOP))
    bench.wait_for(lambda: bench.condition("cam").state is CameraState.FAILED)
    bench.client.refuse.clear()
    bench.wait_for(lambda: bench.condition("cam").state is CameraState.RUNNING)
    assert bench.condition("cam").fault is None


def test_a_source_that_was_mended_runs_again(
    benches, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The camera was counted, and its state stayed FAILED."""
    monkeypatch.setattr(pauses, "RETRY_FAILED_S", 0.1)
    bench = benches()
    source = tmp_path / "source.mp4"
    source.write_text("not a film")
    bench.plane.add_camera(plan("cam", source, Playback.LOOP))
    bench.wait_for(lambda: bench.condition("cam").state is CameraState.FAILED)
    source.unlink()
    source.symlink_to(film)
    bench.wait_for(lambda: bench.condition("cam").state is CameraState.RUNNING)
    assert bench.condition("cam").fault is None


def test_a_model_that_is_missing_fails_the_camera_until_another_is_named(benches, film: Path) -> None:
    bench = benches()
    missing = CameraPlan("cam", SourceSpec(str(film), Playback.FAST), "missing", COUNTING, run="film")
    bench.plane.add_camera(missing)
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    assert bench.condition("cam").state is CameraState.FAILED
    bench.plane.update_camera(plan("cam", film))
    bench.wait_ended("cam")


def test_a_lane_that_cannot_be_opened_leaves_nothing_behind(benches, film: Path, monkeypatch) -> None:
    """Each attempt left a ring in shared memory, and a model that the client loaded again after each restart."""
    monkeypatch.setattr(keeping, "RETRY_REFUSED_S", 0.1)
    bench = benches()
    bench.client.deaf = True
    bench.plane.add_camera(plan("cam", film))
    bench.wait_for(lambda: len(bench.client.attempts) > 1)
    bench.wait_for(lambda: not bench.client.loaded)
    rings = {path.name for path in Path("/dev/shm").iterdir()}
    assert bench.client.attempts[0] not in rings
    bench.client.deaf = False
    bench.wait_ended("cam")
    assert len(bench.recorder.frames["cam"]) == 90


def test_a_camera_that_cannot_end_lets_go_of_its_model(benches, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model stayed loaded, and its ring in shared memory, for the life of the process."""
    stop = SoftwareCamera.stop

    async def crash(camera: SoftwareCamera, timeout_s: float) -> None:
        await stop(camera, timeout_s)
        raise ZeroDivisionError("an accident")

    monkeypatch.setattr(SoftwareCamera, "stop", crash)
    bench = benches()
    bench.plane.add_camera(plan("cam", film, Playback.REALTIME))
    bench.wait_for(lambda: bench.client.loaded)
    bench.plane.remove_camera("cam")
    bench.wait_for(lambda: not bench.client.loaded)


def test_lines_change_without_a_new_run_and_other_changes_begin_one(benches, film: Path) -> None:
    bench = benches()
    live = plan("cam", film, Playback.LOOP)
    bench.plane.add_camera(live)
    bench.wait_for(lambda: len(bench.recorder.frames.get("cam", [])) > 3)
    other = CountingSpec(lines=(Line("other", ((0.0, 0.5), (1.0, 0.5))),))
    bench.plane.update_camera(CameraPlan("cam", live.source, "fake", other))
    seen = len(bench.recorder.frames["cam"])
    bench.wait_for(lambda: len(bench.recorder.frames["cam"]) > seen + 5)
    assert len(bench.recorder.runs) == 1
    bench.plane.update_camera(CameraPlan("cam", live.source, "fake", other, epoch=2))
    bench.wait_for(lambda: len(bench.recorder.runs) == 2)
    assert [run.epoch for run in bench.recorder.runs] == [0, 2]


def test_lines_that_cannot_be_counted_with_leave_the_old_ones_and_are_reported(benches, film: Path) -> None:
    bench = benches()
    live = plan("cam", film, Playback.LOOP)
    bench.plane.add_camera(live)
    bench.wait_for(lambda: len(bench.recorder.frames.get("cam", [])) > 3)
    trams = CountingSpec(lines=(Line("other", ((0.0, 0.5), (1.0, 0.5)), classes=frozenset({"tram"})),))
    bench.plane.update_camera(CameraPlan("cam", live.source, "fake", trams))
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    condition = bench.condition("cam")
    assert condition.state is CameraState.RUNNING
    assert condition.fault is not None
    assert "tram" in condition.fault.message


def test_removing_a_live_camera_decides_what_is_open_and_breaking_off_a_file_does_not(benches, film: Path) -> None:
    bench = benches(FakeTriton(delay_s=0.01))
    bench.plane.add_camera(plan("live", film, Playback.LOOP))
    bench.plane.add_camera(plan("file", film, Playback.REALTIME))
    bench.wait_for(lambda: all(len(bench.recorder.frames.get(camera, [])) > 5 for camera in ("live", "file")))
    bench.plane.remove_camera("live")
    bench.plane.remove_camera("file")
    bench.wait_for(lambda: not bench.plane.conditions())
    assert not bench.recorder.open
    assert [run.camera_id for run in bench.recorder.broken_off] == ["file"]


def test_a_camera_that_is_wanted_again_while_it_is_being_stopped_is_not_forgotten(benches, film: Path) -> None:
    """It was forgotten: its entry was deleted after the new plan had been added to it."""
    bench = benches(FakeTriton(delay_s=1.0))  # so that stopping has frames to wait for
    bench.plane.add_camera(plan("door", film, Playback.LOOP))
    bench.wait_for(lambda: bench.condition("door").state is CameraState.RUNNING)
    bench.plane.remove_camera("door")
    bench.wait_for(lambda: bench.condition("door").state is CameraState.STARTING)
    assert "door" in bench.plane.conditions(), "it is still being stopped"
    bench.plane.add_camera(plan("door", film, Playback.LOOP))
    bench.wait_for(lambda: bench.condition("door").state is CameraState.RUNNING)


def test_a_pause_holds_files_where_they_are_and_ends_with_nothing_lost(benches, film: Path) -> None:
    bench = benches(FakeTriton(delay_s=0.01))
    bench.plane.add_camera(plan("cam", film))
    bench.wait_for(lambda: len(bench.recorder.frames.get("cam", [])) > 10)
    bench.plane.pause(FULL)
    bench.wait_for(lambda: bench.condition("cam").fault == FULL and bench.client.in_flight == 0)
    held = len(bench.recorder.frames["cam"])
    bench.plane.resume()
    bench.wait_ended("cam")
    assert held < 90
    assert [index for index, _ in bench.recorder.frames["cam"]] == list(range(90))


def test_a_camera_that_is_made_while_a_pause_ends_is_not_paused_for_good(
    benches, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was, where the pause ended between the look at whether there is one and the camera's own pause."""
    bench = benches()
    set_paused = SoftwareCamera.set_paused

    def set_paused_too_late(camera: SoftwareCamera, fault: Fault | None) -> None:
        other = threading.Thread(target=bench.plane.resume)
        other.start()
        other.join(5)
        set_paused(camera, fault)

    monkeypatch.setattr(SoftwareCamera, "set_paused", set_paused_too_late)
    bench.plane.pause(FULL)
    bench.plane.add_camera(plan("cam", film))
    bench.wait_ended("cam")
    assert len(bench.recorder.frames["cam"]) == 90


def test_a_camera_that_is_made_during_a_pause_is_paused_too(benches, film: Path) -> None:
    bench = benches()
    loaded = bench.client.gates["fake"] = threading.Event()
    bench.plane.add_camera(plan("cam", film))
    bench.wait_for(bench.plane._opening.locked)
    bench.plane.pause(FULL)
    loaded.set()
    bench.wait_for(lambda: bench.condition("cam").fault == FULL)
    assert not bench.recorder.frames
    bench.plane.resume()
    bench.wait_ended("cam")
    assert len(bench.recorder.frames["cam"]) == 90


def test_a_camera_whose_counting_crashes_says_so_and_leaves_the_others_alone(
    benches, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = benches(once=True)
    frame_counted = bench.recorder.frame_counted

    def crash(identity: Identity, counted: CountedFrame) -> None:
        if identity.camera_id == "bad" and counted.result.tracked.index == 20:
            raise ZeroDivisionError("an accident")
        frame_counted(identity, counted)

    monkeypatch.setattr(bench.recorder, "frame_counted", crash)
    bench.plane.add_camera(plan("bad", film))
    bench.plane.add_camera(plan("good", film))
    bench.wait_ended("bad", "good")
    assert len(bench.recorder.frames["good"]) == 90
    fault = bench.condition("bad").fault
    assert fault is not None
    assert fault.code == "internal"
    assert "an accident" in fault.message


def test_a_camera_that_crashes_at_its_end_says_so_and_leaves_the_others_alone(
    benches, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never ended, and the frames of others in the same answer were lost."""
    bench = benches(once=True)
    run_ended = bench.recorder.run_ended

    def crash(identity: Identity, events) -> None:
        run_ended(identity, events)
        if identity.camera_id == "bad":
            raise ZeroDivisionError("an accident")

    monkeypatch.setattr(bench.recorder, "run_ended", crash)
    for camera in ("bad", "good"):
        bench.plane.add_camera(plan(camera, film))
    bench.wait_ended("bad", "good")
    assert len(bench.recorder.frames["good"]) == 90
    fault = bench.condition("bad").fault
    assert fault is not None
    assert "an accident" in fault.message


def test_a_camera_whose_tick_crashes_leaves_the_plane_alive(
    benches, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plane's thread ended, and every camera with it."""
    monkeypatch.setattr(plane_thread, "TICK_S", 0.05)
    bench = benches(once=True)
    for camera in ("bad", "good"):
        bench.plane.add_camera(plan(camera, film, Playback.LOOP))
        bench.wait_for(lambda camera=camera: len(bench.recorder.frames.get(camera, [])) > 3)
    monkeypatch.setattr(bench.plane._held["bad"].camera.branches.change, "tick", lambda _: 1 / 0)
    bench.wait_ended("bad")
    assert bench.condition("bad").state is CameraState.FAILED
    seen = len(bench.recorder.frames["good"])
    bench.wait_for(lambda: len(bench.recorder.frames["good"]) > seen + 5)


def test_a_request_that_crashes_is_reported_and_not_waited_for(benches, film: Path) -> None:
    """Its frames never came back, and the file waited for them without a fault."""
    bench = benches()
    bench.client.crashing.add("fake@1")
    bench.plane.add_camera(plan("cam", film))
    bench.wait_ended("cam")
    fault = bench.condition("cam").fault
    assert fault is not None
    assert "an accident" in fault.message


def test_a_camera_that_crashed_is_made_anew_and_its_old_run_ended(
    benches, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run stayed open for ever, with all that its records had gathered."""
    monkeypatch.setattr(keeping, "RETRY_CRASHED_S", 0.1)
    bench = benches()
    bench.plane.add_camera(plan("cam", film, Playback.LOOP))
    bench.wait_for(lambda: len(bench.recorder.frames.get("cam", [])) > 3)
    bench.client.babbling.add("fake@1")
    bench.wait_for(lambda: bench.condition("cam").state is CameraState.FAILED)
    bench.client.babbling.clear()
    counted = len(bench.recorder.frames["cam"])
    bench.wait_for(lambda: len(bench.recorder.frames["cam"]) > counted + 3)
    # An attempt that had its bad answer before may still be ending.
    bench.wait_for(lambda: bench.recorder.open == {bench.recorder.runs[-1]})
    assert len(bench.recorder.runs) > 1


def test_closing_the_plane_ends_every_run(film: Path) -> None:
    bench = Bench(FakeTriton(delay_s=0.01))
    bench.plane.add_camera(plan("live", film, Playback.LOOP))
    bench.wait_for(lambda: len(bench.recorder.frames.get("live", [])) > 5)
    began = time.monotonic()
    bench.plane.close(30)
    assert time.monotonic() - began < 15
    assert not bench.recorder.open


def test_no_metrics_are_left_of_cameras_and_models_that_are_gone(benches, film: Path, tmp_path: Path) -> None:
    """The series of every removed camera stayed until the worker ended."""
    bench = benches()
    bench.plane.add_camera(plan("counted", film, Playback.LOOP, model="brief"))
    bench.plane.add_camera(plan("broken", tmp_path / "no film", Playback.LIVE, model="brief"))
    bench.wait_for(lambda: bench.condition("counted").frames_processed and bench.condition("broken").fault)
    assert series_of(camera="counted")["countline_frames_processed_total"] > 0
    assert series_of(camera="broken")["countline_source_failures_total"] > 0
    assert series_of(model="brief@1")["countline_inference_seconds_count"] > 0
    for camera in ("counted", "broken"):
        bench.plane.remove_camera(camera)
    bench.wait_for(lambda: not bench.plane.conditions() and not bench.client.rings)
    bench.plane.close(10)
    assert series_of(camera="counted") == series_of(camera="broken") == series_of(model="brief@1") == {}


def test_a_thread_that_ends_late_makes_no_metrics_again(film: Path) -> None:
    """The thread of a camera may hang in a read until after the camera was removed."""
    states: list[ReadState] = []

    class Late:
        def opened(self, info: VideoInfo) -> None:
            metrics.forget_camera("late")

        def take(self, picture: Picture) -> None: ...

        def restart(self) -> None: ...

        def changed(self, state: ReadState, error: CountlineError | None) -> None:
            states.append(state)

    reader = SourceReader("late", SourceSpec(str(film), Playback.FAST), Late())
    reader.start()
    assert reader.join(20)
    reader.stop()
    assert states[-1] is ReadState.FINISHED
    assert series_of(camera="late") == {}


def test_every_metric_with_a_camera_or_a_model_is_forgotten_with_it() -> None:
    for metric in vars(metrics).values():
        names = getattr(metric, "_labelnames", ())
        assert ("camera" in names) == (metric in metrics.OF_CAMERAS)
        assert ("model" in names) == (metric in metrics.OF_MODELS)


def test_the_fault_of_a_silent_triton_states_how_long_it_is_silent(
    benches, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stated the limit of one attempt, three seconds, also after a minute."""
    monkeypatch.setattr(lane, "PATIENCE_S", 0.4)
    monkeypatch.setattr(health, "SILENT_S", 0.1)
    bench = benches(FakeTriton(delay_s=60))
    bench.plane.add_camera(plan("cam", film, Playback.LOOP))
    for seconds in (1, 2):
        message = f"Triton gave no answer within {seconds} s"
        bench.wait_for(lambda message=message: (fault := bench.condition("cam").fault) and fault.message == message)
