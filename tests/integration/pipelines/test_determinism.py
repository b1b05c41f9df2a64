"""The same file gives the same tracks and events, byte for byte: whatever the batches, the other cameras, the workers.

A worker's data plane here is a real one, with a client of its own to a real Triton.
"""

import random
import shutil
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fixtures.clips import MIDDLE, Pass, render, write_blob_repository
from tests.fixtures.repository import REPOSITORY
from tests.fixtures.triton import TritonServer, start_triton

from countline_counting.events import Crossing, Event
from countline_counting.identity import Identity
from countline_counting.spec import CountingSpec, Line
from countline_counting.trials import TrialSpan
from countline_demo.scenes.clips import street
from countline_demo.scenes.scene import Renderer
from countline_demo.scenes.video import write_video
from countline_pipelines.planes.interface import CameraPlan, CameraState, CountedFrame, RunStarted
from countline_pipelines.planes.software.lane.lane import LaneOptions
from countline_pipelines.planes.software.plane import PlaneOptions, SoftwarePlane
from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.triton.client import TritonClient
from countline_pipelines.triton.slots import Slot

REPOSITORY = REPOSITORY / "triton-repo"
STREET_FRAMES = range(145, 205)
"""Six seconds in which four objects cross a line."""


class Diary:
    """A sink that keeps everything that a camera's counting led to, as text and bytes."""

    def __init__(self) -> None:
        self.entries: dict[str, list[str]] = {}
        self.crossings: dict[str, int] = {}
        self.largest_batch = 0

    def run_started(self, run: RunStarted) -> None:
        self.entries.setdefault(run.identity.camera_id, [])

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        tracked = counted.result.tracked
        arrays = (tracked.ids, tracked.xyxy_px, tracked.scores, tracked.classes)
        reported = f"{tracked.index} {tracked.t!r} {[array.tobytes().hex() for array in arrays]}"
        self.entries[identity.camera_id].append(reported)
        self._add(identity, counted.result.events)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        raise AssertionError("no version takes over here")

    def span_compared(self, camera_id: str, span: TrialSpan) -> None:
        raise AssertionError("nothing follows here")

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        assert events is not None
        self._add(identity, events)

    def _add(self, identity: Identity, events: Sequence[Event]) -> None:
        camera_id = identity.camera_id
        self.entries[camera_id] += map(repr, events)
        crossed = sum(isinstance(event, Crossing) for event in events)
        self.crossings[camera_id] = self.crossings.get(camera_id, 0) + crossed


def plan(camera_id: str, film: Path, lines: Sequence[Line], model: str, rate: float = 0.0) -> CameraPlan:
    source = SourceSpec(str(film), Playback.FAST, recorded_at=1_700_000_000.0, rate=rate)
    return CameraPlan(camera_id, source, model, CountingSpec(lines=tuple(lines)), run="film")


class Worker:
    """A data plane that counts files to their ends."""

    def __init__(self, triton: TritonServer, max_batch: int) -> None:
        self.diary = Diary()
        self._ended: set[str] = set()
        self._changed = threading.Condition()

        async def connect() -> TritonClient:
            client = await TritonClient.connect(triton.grpc)
            infer = client.infer

            async def noted(model: str, slots: Sequence[Slot]) -> NDArray[np.float32]:
                self.diary.largest_batch = max(self.diary.largest_batch, len(slots))
                return await infer(model, slots)

            client.infer = noted
            return client

        options = PlaneOptions(lane=LaneOptions(max_batch=max_batch), once=True)
        self.plane = SoftwarePlane(connect, self.diary, options, self._end)
        self.plane.start()

    def _end(self, ended: CameraPlan, state: CameraState) -> None:
        with self._changed:
            self._ended.add(ended.camera_id)
            self._changed.notify_all()

    def wait_ended(self, cameras: set[str]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended >= cameras, 120), self.plane.conditions()


def counted(triton: TritonServer, max_batch: int, *plans_of_workers: Sequence[CameraPlan]) -> Diary:
    """Count all plans of all workers at the same time; returns the diary of the first worker."""
    workers = [Worker(triton, max_batch) for _ in plans_of_workers]
    try:
        for worker, plans in zip(workers, plans_of_workers, strict=True):
            for each in plans:
                worker.plane.add_camera(each)
        for worker, plans in zip(workers, plans_of_workers, strict=True):
            worker.wait_ended({each.camera_id for each in plans})
    finally:
        for worker in workers:
            worker.plane.close(10)
    return workers[0].diary


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton with the model that sees rectangles and the one that is shipped."""
    folder = tmp_path_factory.mktemp("determinism")
    repository = write_blob_repository(folder)
    shutil.copytree(REPOSITORY / "demo_detector", repository / "demo_detector")
    server = start_triton(repository, folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    passes = [Pass(index % 3 != 0, index % 3, seconds=1.0) for index in range(6)]
    return render(tmp_path_factory.mktemp("film") / "film.mp4", passes, pause_s=0.3)


LINES = (Line("middle", MIDDLE), Line("left", ((0.3, 0.0), (0.3, 1.0))))


@pytest.fixture(scope="module")
def alone(servers: TritonServer, film: Path) -> Diary:
    """The film, counted without company."""
    return counted(servers, 4, [plan("cam", film, LINES, "blob")])


@pytest.mark.parametrize(("max_batch", "others", "workers"), [(1, 0, 1), (3, 1, 1), (8, 4, 1), (8, 0, 2), (2, 2, 3)])
def test_a_file_is_counted_alike_in_any_company(
    servers: TritonServer, film: Path, alone: Diary, max_batch: int, others: int, workers: int
) -> None:
    company = [
        plan(f"other-{i}", film, LINES, "blob", rate=random.Random(i).choice([0.0, 5.0, 12.0])) for i in range(others)
    ]
    elsewhere = [[plan("cam", film, LINES, "blob"), *company]] * (workers - 1)
    again = counted(servers, max_batch, [*company, plan("cam", film, LINES, "blob")], *elsewhere)
    assert alone.crossings["cam"] == 12
    assert (again.largest_batch > 1) == (max_batch > 1)
    assert again.entries["cam"] == alone.entries["cam"]


def test_the_shipped_detector_sees_a_file_alike_alone_and_in_batches(servers: TritonServer, tmp_path: Path) -> None:
    """A network's sums may depend on how many pictures it is given at once: here they do not."""
    clip = street()
    renderer = Renderer(clip.scene)
    pictures = (renderer.frame(index).pixels for index in STREET_FRAMES)
    path = tmp_path / "street.mp4"
    write_video(path, pictures, clip.scene.camera.size_wh, Fraction(10))
    lines = [Line(line.id, line.points) for line in clip.lines]
    alone = counted(servers, 1, [plan("cam", path, lines, "demo_detector")])
    both = [plan("other", path, lines, "demo_detector"), plan("cam", path, lines, "demo_detector")]
    again = counted(servers, 8, both)
    assert alone.crossings["cam"] >= 2
    assert alone.largest_batch == 1 < again.largest_batch
    assert again.entries["cam"] == alone.entries["cam"]
