"""The DeepStream plane, end to end, on the double of DeepStream; what is inferred comes from a real Triton."""

import asyncio
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.doubles.deepstream import Installed
from tests.fixtures.clips import MIDDLE, Pass, laid_down, render
from tests.fixtures.pipelines.deepstream_bench import (
    COUNTING,
    Bench,
    Recorder,
    by_software,
    deepstream_plane,
    plan,
    render_crowd,
)
from tests.fixtures.triton import TritonServer

from countline_common.display import Orientation, PictureShape
from countline_counting.events import Direction
from countline_counting.spec import CountingSpec, Line
from countline_pipelines.planes.deepstream.config.facts import Release
from countline_pipelines.planes.deepstream.config.properties import BoxPath
from countline_pipelines.planes.deepstream.config.tracker import TrackerKind
from countline_pipelines.planes.interface import CameraPlan, CameraState, Fault
from countline_pipelines.sources import Playback

MOST_APART_S = 0.1
"""Between the same crossing of two planes: the trackers smooth boxes otherwise, by a frame or two at 20 a second."""


@pytest.mark.parametrize(
    ("deepstream_double", "boxes"),
    [
        ("7.1", BoxPath.PYTHON),
        ("7.1", BoxPath.PARSER),
        ("8.0", BoxPath.PARSER),
        ("8.0", BoxPath.PYTHON),
    ],
    indirect=["deepstream_double"],
)
def test_counts_are_those_of_the_software_plane(
    deepstream_double: Installed,
    boxes: BoxPath,
    blob_triton: TritonServer,
    parser_library: Path,
    clip: Path,
    tmp_path: Path,
) -> None:
    release = Release(deepstream_double.facts.release)
    of = plan("cam", clip)
    with deepstream_plane(blob_triton.grpc, tmp_path, release=release, boxes=boxes, parser=parser_library) as bench:
        bench.plane.add_camera(of)
        bench.wait_ended("cam")
        assert bench.condition("cam").state is CameraState.FINISHED
    ours, software = bench.recorder, by_software(blob_triton.grpc, of)
    assert ours.in_out("cam") == software.in_out("cam") == (1, 3)
    assert ours.frame_numbers("cam") == software.frame_numbers("cam") == list(range(200))
    pairs = list(zip(ours.crossings("cam"), software.crossings("cam"), strict=True))
    assert [a.direction for a, _ in pairs] == [b.direction for _, b in pairs]
    assert max(abs(a.t - b.t) for a, b in pairs) < MOST_APART_S
    assert ours.names("cam") == ["run-cam"]


def test_several_objects_at_a_time_cross_as_often_as_on_the_software_plane(
    deepstream_double: Installed, blob_triton: TritonServer, tmp_path: Path
) -> None:
    of = plan("cam", render_crowd(tmp_path / "crowd.mp4"))
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(of)
        bench.wait_ended("cam")
    recorders = (bench.recorder, by_software(blob_triton.grpc, of))
    assert recorders[0].frame_numbers("cam") == recorders[1].frame_numbers("cam") == list(range(120))
    ours, software = (
        sorted((crossing.class_id, crossing.t, crossing.direction) for crossing in recorder.crossings("cam"))
        for recorder in recorders
    )
    assert len(ours) == 12, "three swings to and fro, two, and one and a bit"
    assert [(a[0], a[2]) for a in ours] == [(b[0], b[2]) for b in software]
    assert max(abs(a[1] - b[1]) for a, b in zip(ours, software, strict=True)) < MOST_APART_S


def boxes_by_frame(recorder: Recorder) -> dict[int, np.ndarray]:
    tracked = [counted.result.tracked for counted in recorder.frames["cam"]]
    return {each.index: each.xyxy_px for each in tracked}


def test_the_python_way_and_the_parser_give_the_same_boxes(
    deepstream_double: Installed, blob_triton: TritonServer, parser_library: Path, clip: Path, tmp_path: Path
) -> None:
    found = []
    for boxes in BoxPath:
        folder = tmp_path / boxes.value
        with deepstream_plane(blob_triton.grpc, folder, boxes=boxes, parser=parser_library) as bench:
            bench.plane.add_camera(plan("cam", clip))
            bench.wait_ended("cam")
        found.append(boxes_by_frame(bench.recorder))
    assert found[0].keys() == found[1].keys()
    assert sum(len(rows) for rows in found[0].values()) > 100
    for index, rows in found[0].items():
        np.testing.assert_allclose(rows, found[1][index], atol=0.01)


@pytest.mark.parametrize("size", [(320, 240), (240, 320)])
def test_boxes_are_in_pixels_of_the_source_whatever_its_shape(
    deepstream_double: Installed, blob_triton: TritonServer, size: tuple[int, int], tmp_path: Path
) -> None:
    clip = render(tmp_path / "clip.mp4", [Pass(True)], size=size)
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_ended("cam")
    tracked = [counted.result.tracked for counted in bench.recorder.frames["cam"]]
    assert {each.size_wh for each in tracked} == {size}
    heights = [row[3] - row[1] for each in tracked for row in each.xyxy_px]
    assert np.median(heights) == pytest.approx(size[1] // 3, abs=6)
    tops = [row[1] for each in tracked for row in each.xyxy_px]
    assert np.median(tops) == pytest.approx(size[1] // 3, abs=6)


@pytest.mark.parametrize(
    ("degrees", "sar", "orientation"),
    [
        (90, Fraction(1), Orientation.COUNTERCLOCKWISE),
        (180, Fraction(1), Orientation.HALF_TURN),
        (270, Fraction(1), Orientation.CLOCKWISE),
        (0, Fraction(1, 2), Orientation.UPRIGHT),
        (0, Fraction(2), Orientation.UPRIGHT),
    ],
)
def test_pictures_are_turned_and_squared_as_on_the_software_plane(
    deepstream_double: Installed,
    blob_triton: TritonServer,
    tmp_path: Path,
    degrees: int,
    sar: Fraction,
    orientation: Orientation,
) -> None:
    upright = render(tmp_path / "upright.mp4", [Pass(True), Pass(False)])
    lying = plan("cam", laid_down(upright, tmp_path / "lying.mp4", degrees, sar))
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(lying)
        bench.wait_ended("cam")
        assert bench.condition("cam").picture == PictureShape((320, 240), orientation)
    software = by_software(blob_triton.grpc, lying)
    for recorder in (bench.recorder, software):
        assert {counted.result.tracked.size_wh for counted in recorder.frames["cam"]} == {(320, 240)}
        assert [crossing.direction for crossing in recorder.crossings("cam")] == [Direction.OUT, Direction.IN]
    box, same = (recorder.frames["cam"][20].result.tracked.xyxy_px for recorder in (bench.recorder, software))
    np.testing.assert_allclose(box, same, atol=8)


@pytest.mark.parametrize("kind", TrackerKind)
def test_every_tracker_is_taken_by_its_library(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, kind: TrackerKind, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path, tracker=kind) as bench:
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_ended("cam")
    assert bench.recorder.in_out("cam") == (1, 3)


def test_several_files_are_counted_in_one_pipeline_and_end_one_by_one(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    """The end of one source is not the end of the others."""
    short = render(tmp_path / "short.mp4", [Pass(False, seconds=1.0)])
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        for camera_id, source in {"short": short, "a": clip, "b": clip}.items():
            bench.plane.add_camera(plan(camera_id, source))
        bench.wait_ended("short", "a", "b")
    assert {name: bench.recorder.in_out(name) for name in ("short", "a", "b")} == {
        "short": (1, 0),
        "a": (1, 3),
        "b": (1, 3),
    }


def test_a_rate_looks_at_fewer_frames_and_counts_the_same(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", clip, rate=10))
        bench.wait_ended("cam")
    assert len(bench.recorder.frames["cam"]) == pytest.approx(100, abs=2)
    assert bench.recorder.in_out("cam") == (1, 3)
    last = bench.recorder.frames["cam"][-1].result.tracked
    assert last.t == pytest.approx(1_000.0 + last.index / 20, abs=1e-6)


def looping(camera_id: str, clip: Path, **changed: object) -> CameraPlan:
    """A camera that shows a clip for ever."""
    return plan(camera_id, clip, playback=Playback.LOOP, run="", **changed)


def is_running(bench: Bench, *cameras: str) -> bool:
    return all(bench.condition(camera).state is CameraState.RUNNING for camera in cameras)


def counted(bench: Bench, camera_id: str) -> int:
    return len(bench.recorder.frames.get(camera_id, []))


def test_a_loop_runs_for_ever_with_capture_times_of_the_clock(
    deepstream_double: Installed, blob_triton: TritonServer, tmp_path: Path
) -> None:
    short = render(tmp_path / "short.mp4", [Pass(True, seconds=1.0)], pause_s=0.2)
    began = time.time()
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(looping("cam", short))
        bench.wait_for(lambda: counted(bench, "cam") > 70, 40)
    times = [each.result.tracked.t for each in bench.recorder.frames["cam"]]
    assert times == sorted(times)
    assert began < times[0] < times[-1] < time.time()
    assert times[-1] - times[0] == pytest.approx((len(times) - 1) / 20, rel=0.2), "in real time"
    assert bench.recorder.in_out("cam")[1] >= 2, "one a round"


def test_lines_change_while_a_camera_runs_and_its_run_goes_on(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    other = CountingSpec(lines=(Line("middle", MIDDLE), Line("late", ((0.3, 0.0), (0.3, 1.0)))))
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(looping("cam", clip))
        bench.wait_for(lambda: bench.recorder.crossings("cam"), 40)
        bench.plane.update_camera(looping("cam", clip, counting=other))
        bench.wait_for(lambda: {c.line_id for c in bench.recorder.crossings("cam")} == {"middle", "late"}, 40)
    assert len(bench.recorder.names("cam")) == 1


def test_a_camera_whose_model_changes_moves_to_another_pipeline_with_a_new_run(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(looping("cam", clip))
        bench.plane.add_camera(looping("stays", clip))
        bench.wait_for(lambda: is_running(bench, "cam", "stays"))
        bench.plane.update_camera(looping("cam", clip, model="blob@1", epoch=0))
        bench.wait_for(lambda: len(bench.recorder.names("cam")) == 2 and is_running(bench, "cam"))
        assert is_running(bench, "stays")
        assert bench.condition("cam").model == bench.condition("stays").model == "blob@1"
    assert len(bench.recorder.names("stays")) == 1


def test_a_file_whose_model_changes_is_counted_to_its_end_with_the_old_one(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    """Counting again with another model means another name: each of its crossings would count twice."""
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", clip, playback=Playback.REALTIME))
        bench.wait_for(lambda: counted(bench, "cam") > 20)
        bench.plane.update_camera(plan("cam", clip, playback=Playback.REALTIME, model="blob@1", run="other-name"))
        bench.wait_ended("cam")
    assert bench.recorder.names("cam") == ["run-cam"]
    assert bench.recorder.frame_numbers("cam") == list(range(200)), "in real time, too, a file waits for the counting"
    assert bench.recorder.in_out("cam") == (1, 3)


def test_a_file_with_another_line_is_counted_anew_under_its_name(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    other = CountingSpec(lines=(Line("middle", MIDDLE), Line("late", ((0.3, 0.0), (0.3, 1.0)))))
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", clip, playback=Playback.REALTIME))
        bench.wait_for(lambda: len(bench.recorder.crossings("cam")) == 1)
        bench.plane.update_camera(plan("cam", clip, counting=other, playback=Playback.REALTIME))
        bench.wait_ended("cam")
    assert bench.recorder.names("cam") == ["run-cam"] * 2
    once = {crossing.id: crossing.line_id for crossing in bench.recorder.crossings("cam")}
    assert sorted(once.values()) == ["late"] * 4 + ["middle"] * 4


def test_files_that_are_finished_make_room_for_others(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path, capacity=1) as bench:
        for name in ("first", "second"):
            bench.plane.add_camera(plan(name, clip))
            bench.wait_ended(name)
        assert bench.condition("first").state is CameraState.FINISHED, "though it is still held"


def test_while_paused_files_wait_and_nothing_is_lost(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.pause(Fault("spool_full", "the spool is full", "wait"))
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_for(lambda: (fault := bench.condition("cam").fault) is not None and fault.code == "spool_full")
        seen = counted(bench, "cam")
        time.sleep(0.5)  # long enough for frames to come, if any did
        assert counted(bench, "cam") == seen
        bench.plane.resume()
        bench.wait_ended("cam")
    assert bench.recorder.in_out("cam") == (1, 3)
    assert bench.recorder.frame_numbers("cam") == list(range(200))


def test_a_file_that_is_not_there_says_so_and_the_others_go_on(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("missing", tmp_path / "missing.mp4"))
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_ended("cam")
        bench.wait_for(lambda: bench.condition("missing").state is CameraState.FAILED)
        fault = bench.condition("missing").fault
        assert fault is not None
        assert fault.code == "not_found"
    assert bench.recorder.in_out("cam") == (1, 3)


def test_a_file_that_is_no_video_says_so(
    deepstream_double: Installed, blob_triton: TritonServer, tmp_path: Path
) -> None:
    words = tmp_path / "words.mp4"
    words.write_text("no video\n" * 100)
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", words))
        bench.wait_for(lambda: bench.condition("cam").state is CameraState.FAILED)
        fault = bench.condition("cam").fault
        assert fault is not None
        assert fault.code == "not_video"


def test_a_model_that_triton_does_not_have_fails_its_camera_and_no_other(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("wrong", clip, model="no-such-model"))
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_ended("cam")
        assert bench.condition("wrong").state is CameraState.FAILED


def test_pictures_come_only_while_the_camera_is_watched(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    def pictures() -> list[object]:
        return [each.picture for each in bench.recorder.frames.get("cam", []) if each.picture is not None]

    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(looping("cam", clip))
        bench.wait_for(lambda: is_running(bench, "cam"))
        assert not pictures()
        bench.plane.watch("cam", time.monotonic() + 4)
        bench.wait_for(lambda: len(pictures()) >= 3)
        bench.wait_for(lambda: pictures() and all(each.picture is None for each in bench.recorder.frames["cam"][-20:]))
        picture = pictures()[0]
        assert (picture.width, picture.height) == (320, 240)
        brightest = max(int(each.to_ndarray(format="rgb24").max()) for each in pictures())
    assert brightest > 200, "the rectangle is on some of them"
    assert len(pictures()) < 4.5 * 5 + 3


def test_frames_of_a_camera_that_is_taken_out_are_decided(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(looping("cam", clip))
        bench.plane.add_camera(plan("file", clip, playback=Playback.REALTIME))
        bench.wait_for(lambda: counted(bench, "cam") > 20 and counted(bench, "file") > 20)
        bench.plane.remove_camera("cam")
        bench.plane.remove_camera("file")
        bench.wait_for(lambda: not bench.plane.conditions())
    assert [identity.camera_id for identity in bench.recorder.broken_off] == ["file"]


def test_more_rtsp_cameras_than_a_process_can_mend_are_refused(
    deepstream_double: Installed, blob_triton: TritonServer, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path, options={"most_live": 1}) as bench:
        for name in ("first", "second"):
            bench.plane.add_camera(
                plan(name, "rtsp://127.0.0.1:9/live", playback=Playback.LIVE, run="", counting=COUNTING)
            )
        bench.wait_for(lambda: bench.condition("second").state is CameraState.FAILED)
        fault = bench.condition("second").fault
        assert fault is not None
        assert fault.code == "resource_exhausted"
        assert "worker" in fault.hint


def test_the_capacity_of_a_pipeline_is_a_bound(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path, capacity=1) as bench:
        bench.plane.add_camera(looping("one", clip))
        bench.wait_for(lambda: is_running(bench, "one"))
        bench.plane.add_camera(looping("two", clip))
        bench.wait_for(lambda: bench.condition("two").state is CameraState.FAILED)
        bench.plane.remove_camera("one")
        bench.wait_for(lambda: is_running(bench, "two"), 40)


async def test_a_plane_ends_though_its_triton_never_answers(deepstream_double: Installed, tmp_path: Path) -> None:
    def play() -> None:
        with deepstream_plane("127.0.0.1:9", tmp_path) as bench:
            bench.plane.add_camera(plan("cam", tmp_path / "clip.mp4"))
            bench.wait_for(lambda: bench.condition("cam").fault is not None)
            assert bench.condition("cam").state is CameraState.STARTING

    await asyncio.wait_for(asyncio.to_thread(play), 60)
