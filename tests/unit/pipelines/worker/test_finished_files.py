"""A file that was counted to its end is marked, so that it is not counted again: that very file, once it is on disk."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.fixtures.clips import MIDDLE, Pass, render

from countline.v1 import cameras_pb2, workers_pb2
from countline_common.tasks import cancel
from countline_pipelines.planes.interface import CameraCondition, CameraPlan, CameraState
from countline_pipelines.worker import desired, main
from countline_pipelines.worker.assignments import counting_key, plan_of
from countline_pipelines.worker.desired import MARKS, NOT_STORED
from countline_pipelines.worker.main import Worker
from countline_pipelines.worker.settings import WorkerSettings

ELSEWHERE = ((0.7, 0.0), (0.7, 1.0))


def assignment(source: Path, **lines: tuple[tuple[float, float], ...]) -> workers_pb2.Assignment:
    drawn = [
        cameras_pb2.Line(line_id=name, version=1, points=[cameras_pb2.Point(x=x, y=y) for x, y in points])
        for name, points in lines.items()
    ]
    spec = cameras_pb2.CameraSpec(playback=cameras_pb2.PLAYBACK_FAST, lines=drawn)
    camera = cameras_pb2.Camera(camera_id="cam", site_id="site", stream_url=str(source), spec=spec)
    return workers_pb2.Assignment(camera=camera)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return render(tmp_path / "film.mp4", [Pass(True, 0, 0.5)])


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    """A worker of which nothing runs but the writer of its spool; nothing answers at port 9."""
    made = Worker(WorkerSettings(nats_url="nats://127.0.0.1:9", spool=tmp_path / "spool", spool_max_bytes=40_960))
    made._writer.start()
    yield made
    made._writer.close(1)
    made._spool.close()
    made._pictures.close(1)
    made._plane._thread._loop.close()


def marks(worker: Worker) -> set[str]:
    return {path.name for path in (worker._settings.spool_folder / MARKS).glob("*")}


async def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.005)


async def test_a_line_that_is_drawn_when_a_file_has_just_been_counted_is_not_taken_for_counted(
    worker: Worker, film: Path
) -> None:
    """The file with the new line was marked, so after a restart the line was never counted."""
    one, two = assignment(film, middle=MIDDLE), assignment(film, middle=MIDDLE, second=ELSEWHERE)
    before, after = (plan_of(each, "model") for each in (one, two))
    await worker._desired.apply([one])
    await worker._desired.apply([two])
    worker._camera_ended(before, CameraState.FINISHED)
    await wait_for(lambda: marks(worker))
    assert marks(worker) == {counting_key(before)}
    assert counting_key(after) != counting_key(before)


async def test_records_of_a_file_name_its_content_and_those_of_a_stream_do_not(worker: Worker, film: Path) -> None:
    """A later count of the same film, with other lines, has the same key."""
    await worker._desired.apply([assignment(film, gate=MIDDLE)])
    first = worker._owners["cam"].recording
    await worker._desired.apply([assignment(film, gate=ELSEWHERE)])
    assert len(first) == 16
    assert worker._owners["cam"].recording == first
    live = assignment(film, gate=MIDDLE)
    live.camera.stream_url, live.camera.spec.playback = "rtsp://127.0.0.1:9/door", 0
    await worker._desired.apply([live])
    assert worker._owners["cam"].recording == ""


async def test_a_file_is_not_marked_while_its_records_wait_for_the_disk(
    worker: Worker, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was after ten seconds, so what had not been written by then was lost with the next restart."""
    monkeypatch.setattr(main, "FLUSH_S", 0.01)
    plan: CameraPlan = plan_of(assignment(film, middle=MIDDLE), "model")
    looks: list[float] = []
    flushed = worker._writer.flushed

    def look(timeout_s: float = 0.0) -> bool:
        looks.append(timeout_s)
        return flushed(0.01)

    monkeypatch.setattr(worker._writer, "flushed", look)
    worker._writer.submit("counts.site.cam", bytes(20_000))
    await wait_for(lambda: worker._spool.waiting)
    worker._writer.submit("counts.site.cam", bytes(20_000))
    await wait_for(lambda: worker._writer.under_pressure)
    worker._camera_ended(plan, CameraState.FINISHED)
    await wait_for(lambda: len(looks) > 2 or marks(worker))
    assert not marks(worker)
    worker._spool.ack(worker._spool.read(0, 1)[0].number)
    await wait_for(lambda: marks(worker))
    assert not worker._writer._queue
    assert marks(worker) == {counting_key(plan)}


def condition_of(worker: Worker, state: CameraState) -> CameraCondition:
    """What the worker reports of a camera whose plane is in this state."""
    worker._plane.conditions = lambda: {"cam": CameraCondition(state, progress=1.0)}
    return worker._desired.conditions()["cam"][1]


async def test_a_file_is_finished_only_when_jetstream_has_stored_its_records(
    worker: Worker, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was finished while its last counts waited for a full disk, so the counts shown as complete were not."""
    one = assignment(film, middle=MIDDLE)
    plan = plan_of(one, "model")
    await worker._desired.apply([one])
    following = asyncio.create_task(worker._stored.run())
    worker._writer.submit("counts.site.cam", b"the last record")
    await wait_for(lambda: worker._spool.waiting)
    worker._camera_ended(plan, CameraState.FINISHED)
    await wait_for(lambda: marks(worker))
    waiting = condition_of(worker, CameraState.FINISHED)
    assert (waiting.state, waiting.fault) == (CameraState.RUNNING, None), "a moment is no fault"
    monkeypatch.setattr(desired, "STORED_WITHIN_S", 0.0)
    waiting = condition_of(worker, CameraState.FINISHED)
    assert (waiting.state, waiting.fault) == (CameraState.RUNNING, NOT_STORED)
    worker._writer.submit("counts.site.other", b"a record of another camera does not matter")
    await wait_for(lambda: worker._spool.waiting == 2)
    worker._spool.ack(worker._spool.read(0, 1)[0].number)
    await wait_for(lambda: condition_of(worker, CameraState.FINISHED).state is CameraState.FINISHED)
    assert condition_of(worker, CameraState.FINISHED).fault is None
    await cancel(following)


async def test_a_file_that_a_former_worker_finished_waits_for_the_spool_too(worker: Worker, film: Path) -> None:
    one = assignment(film, middle=MIDDLE)
    worker._desired.mark_finished(plan_of(one, "model"))
    worker._writer.submit("counts.site.cam", b"left by the worker that was killed")
    await wait_for(lambda: worker._spool.waiting)
    following = asyncio.create_task(worker._stored.run())
    await worker._desired.apply([one])
    assert worker._desired.conditions()["cam"][1].state is CameraState.RUNNING
    worker._spool.ack(worker._spool.read(0, 1)[0].number)
    await wait_for(lambda: worker._desired.conditions()["cam"][1].state is CameraState.FINISHED)
    await cancel(following)


async def test_a_mark_that_the_disk_does_not_take_is_written_later(worker: Worker, film: Path) -> None:
    plan = plan_of(assignment(film, middle=MIDDLE), "model")
    folder = worker._settings.spool_folder / MARKS
    folder.write_text("a file where a folder must be")
    worker._camera_ended(plan, CameraState.FINISHED)
    with capture_logs() as logs:
        await wait_for(lambda: any(entry["event"] == "camera.not_marked" for entry in logs))
    folder.unlink()
    await wait_for(lambda: marks(worker))
    assert marks(worker) == {counting_key(plan)}


async def test_a_camera_that_gave_up_is_not_marked(worker: Worker, film: Path) -> None:
    failed, finished = (plan_of(assignment(film, middle=points), "model") for points in (MIDDLE, ELSEWHERE))
    worker._camera_ended(failed, CameraState.FAILED)
    worker._camera_ended(finished, CameraState.FINISHED)
    await wait_for(lambda: marks(worker))
    assert not worker._errands or await asyncio.wait(worker._errands)
    assert marks(worker) == {counting_key(finished)}
