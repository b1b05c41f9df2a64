"""A DeepStream plane on the double of DeepStream, with a real Triton that serves the blob model."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from tests.fixtures.clips import MIDDLE

from countline_counting import Crossing, Event, Identity
from countline_counting.events import Direction
from countline_pipelines.planes.deepstream.checks import require_runtime
from countline_pipelines.planes.deepstream.config import facts
from countline_pipelines.planes.deepstream.config.facts import Release
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions
from countline_pipelines.planes.deepstream.options import DeepStreamOptions
from countline_pipelines.planes.deepstream.plane import DeepStreamPlane
from countline_pipelines.planes.interface import (
    CameraCondition,
    CameraPlan,
    CameraState,
    CountedFrame,
    CountingPlan,
    LinePlan,
    RunStarted,
)
from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.triton import Transport
from countline_pipelines.triton.client import TritonClient

COUNTING = CountingPlan(lines=(LinePlan("middle", MIDDLE),))


def install_root(folder: Path, release: str) -> Path:
    """What lies on the disk of an image: a version file, and the tracker's library, which the double plays."""
    (folder / "lib").mkdir(parents=True, exist_ok=True)
    (folder / "version").write_text(f"Version: DeepStreamSDK {release}.0\n")
    (folder / facts.TRACKER_LIBRARY).touch()
    return folder


@dataclass
class Recorder:
    """A sink that records runs and frames, and notes calls in the wrong order as problems."""

    runs: list[RunStarted] = field(default_factory=list)
    frames: dict[str, list[CountedFrame]] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    open: set[Identity] = field(default_factory=set)
    broken_off: list[Identity] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def run_started(self, run: RunStarted) -> None:
        if any(identity.camera_id == run.identity.camera_id for identity in self.open):
            self.problems.append(f"{run.identity} began before its predecessor ended")
        self.open.add(run.identity)
        self.runs.append(run)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        if identity not in self.open:
            self.problems.append(f"a frame of {identity}, which is not open")
        self.frames.setdefault(identity.camera_id, []).append(counted)
        self.events.setdefault(identity.camera_id, []).extend(counted.result.events)

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        self.open.discard(identity)
        if events is None:
            self.broken_off.append(identity)
        else:
            self.events.setdefault(identity.camera_id, []).extend(events)

    def crossings(self, camera_id: str) -> list[Crossing]:
        return [event for event in self.events.get(camera_id, []) if isinstance(event, Crossing)]

    def in_out(self, camera_id: str) -> tuple[int, int]:
        """Each crossing once, however often a file was counted."""
        directions = [crossing.direction for crossing in {c.id: c for c in self.crossings(camera_id)}.values()]
        return directions.count(Direction.IN), directions.count(Direction.OUT)

    def names(self, camera_id: str) -> list[str]:
        return [run.identity.run for run in self.runs if run.identity.camera_id == camera_id]


@dataclass
class Bench:
    """A plane and the record of its sink."""

    plane: DeepStreamPlane
    recorder: Recorder
    folder: Path
    ended: set[str] = field(default_factory=set)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def condition(self, camera_id: str) -> CameraCondition:
        return self.plane.conditions().get(camera_id, CameraCondition(CameraState.STARTING))

    def wait_for(self, holds: Callable[[], object], timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, (self.plane.conditions(), self.recorder.problems)
            time.sleep(0.02)

    def wait_ended(self, *cameras: str, timeout_s: float = 60.0) -> None:
        self.wait_for(lambda: self.ended >= set(cameras), timeout_s)


@contextmanager
def deepstream_plane(
    triton: str,
    folder: Path,
    *,
    release: Release = Release.V7_1,
    boxes: BoxPath = BoxPath.PYTHON,
    parser: Path | None = None,
    options: dict[str, object] | None = None,
    **pipeline: object,
) -> Iterator[Bench]:
    """A running plane; problems of the recorder fail the test."""
    root = install_root(folder / "deepstream", release.value)
    pipeline_options = PipelineOptions(release, boxes, root=root, parser=parser, frame_rate=20, **pipeline)
    recorder = Recorder()

    async def connect() -> TritonClient:
        return await TritonClient.connect(triton, Transport.GRPC, timeout_s=5)

    plane = DeepStreamPlane(
        require_runtime(pipeline_options),
        connect,
        recorder,
        DeepStreamOptions(pipeline_options, triton, folder / "pipelines", **(options or {})),
        lambda ended, _: bench.ended.add(ended.camera_id),
    )
    bench = Bench(plane, recorder, folder)
    plane.start()
    try:
        yield bench
    finally:
        plane.close(20)
    assert not recorder.problems
    assert not recorder.open, "every run that began has ended"


def plan(camera_id: str, source: Path | str, **changed: object) -> CameraPlan:
    """A plan for a finite file."""
    rest = {"model": "blob", "counting": COUNTING, "run": f"run-{camera_id}", **changed}
    playback = rest.pop("playback", Playback.FAST)
    rate = rest.pop("rate", 0.0)
    return CameraPlan(camera_id, SourceSpec(str(source), playback, recorded_at=1_000.0, rate=rate), **rest)


def as_json(bench: Bench) -> str:
    """For a look at what went wrong."""
    return json.dumps({k: str(v) for k, v in bench.plane.conditions().items()}, indent=2)


def render_crowd(path: Path, seconds: float = 6.0, fps: int = 20, size: tuple[int, int] = (320, 240)) -> Path:
    """Three rectangles at a time, red, green and blue, that go to and fro over the middle at speeds of their own."""
    width, height = size
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(round(seconds * fps)):
            picture = np.zeros((height, width, 3), np.uint8)
            for colour, period_s in enumerate((2.0, 3.0, 5.0)):
                swing = (1 - np.cos(2 * np.pi * index / fps / period_s)) / 2
                left, top = round(swing * (width - 44)) + 2, 10 + colour * 76
                picture[top : top + 60, left : left + 40, colour] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
