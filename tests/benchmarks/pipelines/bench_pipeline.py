"""The whole pipeline against its limit: cameras on files as fast as possible, worker, Triton and NATS running.

    python tests/benchmarks/pipelines/bench_pipeline.py [--peers] [--cameras N] [--seconds S] [--max-batch N]

The limit is what no pipeline can beat: the sum of core time a frame of decoding, resizing and the same fused graph in
ONNX Runtime at its best batch, each measured alone, in the same run. Two ratios are shown. *wall* is frames a second
against all cores of the machine at the limit: it suffers from whatever else runs. *work* is core time a frame of
worker, Triton and NATS together against that of the limit: what the pipeline itself costs.

With `--peers` the script that one would write instead runs on the same clip, in an environment of its own.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.append(str(REPOSITORY))

from tests.fixtures.control_double import ControlDouble  # noqa: E402
from tests.fixtures.nats import NatsServer  # noqa: E402
from tests.fixtures.pipelines.workers import assignment, worker_process  # noqa: E402
from tests.fixtures.triton import start_triton  # noqa: E402

from countline_common.triton.letterbox import Letterbox, Scaler, paste  # noqa: E402
from countline_models.contract import open_session, run_contract  # noqa: E402
from countline_models.repository.prepare import prepare  # noqa: E402
from countline_pipelines.sources import Playback, SourceSpec, VideoReader, play  # noqa: E402

DATA = REPOSITORY.parent / "shared" / "data"
CLIP = DATA / "videos" / "one-by-one-person.mp4"
MODEL = DATA / "models" / "yolox_nano.onnx"
PEER = REPOSITORY / ".venv-peers" / "bin" / "python"
PLAIN_SCRIPT = REPOSITORY / "tests" / "benchmarks" / "peers" / "plain_script.py"
SIDE = 416
GRAPH_FRAMES = 96
BATCHES = (1, 2, 4, 8)
DOOR = (("door", ((100 / 768, 323 / 432), (500 / 768, 431 / 432)), 1),)
CORES = len(os.sched_getaffinity(0))


@dataclass
class Limit:
    """Core time of each part alone, milliseconds a frame."""

    decode_ms: float
    resize_ms: float
    graph_ms: dict[int, float]

    @property
    def best_batch(self) -> int:
        return min(self.graph_ms, key=lambda batch: self.graph_ms[batch])

    @property
    def total_ms(self) -> float:
        return self.decode_ms + self.resize_ms + self.graph_ms[self.best_batch]


def core_ms(work: Callable[[], int]) -> float:
    """Core time of this process for each frame that `work` says it did, in milliseconds."""
    began = time.process_time()
    frames = work()
    return (time.process_time() - began) / frames * 1000


def decode(frames: list[object]) -> int:
    spec = SourceSpec(str(CLIP), Playback.FAST)
    with VideoReader(spec) as video:
        for count, picture in enumerate(play(spec, video, threading.Event())):
            if count < 200:
                frames.append(picture.frame)
    return count + 1


def resize(frames: Sequence[object]) -> int:
    scaler, slot = Scaler(), np.empty((SIDE, SIDE, 3), np.uint8)
    for frame in frames:
        paste(scaler.scale(frame, Letterbox((frame.width, frame.height), (SIDE, SIDE))), slot, padded=True)
    return len(frames)


def measure_limit(model: bytes) -> Limit:
    frames: list[object] = []
    decode_ms = core_ms(lambda: decode(frames))
    resize_ms = core_ms(lambda: resize(frames))
    session = open_session(model)
    inputs = np.empty((GRAPH_FRAMES, SIDE, SIDE, 3), np.uint8)
    scaler = Scaler()
    for target, frame in zip(inputs, frames, strict=False):
        paste(scaler.scale(frame, Letterbox((frame.width, frame.height), (SIDE, SIDE))), target, padded=False)

    def run_graph(batch: int) -> int:
        for first in range(0, GRAPH_FRAMES, batch):
            run_contract(session, inputs[first : first + batch])
        return GRAPH_FRAMES

    run_graph(1)
    return Limit(decode_ms, resize_ms, {batch: core_ms(lambda b=batch: run_graph(b)) for batch in BATCHES})


def median_limit(limits: Sequence[Limit]) -> Limit:
    return Limit(
        statistics.median(limit.decode_ms for limit in limits),
        statistics.median(limit.resize_ms for limit in limits),
        {batch: statistics.median(limit.graph_ms[batch] for limit in limits) for batch in BATCHES},
    )


def family_cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    return sum(times.user + times.system for times in (p.cpu_times() for p in [process, *process.children(True)]))


@dataclass
class Pipeline:
    """What a stretch of steady running cost."""

    fps: float
    worker_ms: float
    triton_ms: float
    nats_ms: float
    memory_growth: float

    @property
    def total_ms(self) -> float:
        return self.worker_ms + self.triton_ms + self.nats_ms


async def measure_pipeline(folder: Path, repository: Path, name: str, options: argparse.Namespace) -> Pipeline:
    nats, control = NatsServer(folder / "nats"), ControlDouble()
    await nats.start()
    await control.start()
    triton = start_triton(repository, folder / "triton")
    more = {"COUNTLINE_DEFAULT_MODEL": name}
    if options.max_batch:
        more["COUNTLINE_MAX_BATCH"] = str(options.max_batch)
    worker = worker_process(folder / "worker", nats.url, control.address, triton.grpc, **more)
    await worker.start()
    try:
        cameras = [f"cam-{index}" for index in range(options.cameras)]
        # A clip that ends begins again under another name, so that all cameras are busy all the time.
        links = [folder / f"{camera}.mp4" for camera in cameras]
        for link in links:
            link.symlink_to(CLIP)
        await control.assign(
            *(assignment(camera, str(link), lines=DOOR) for camera, link in zip(cameras, links, strict=True))
        )
        for camera in cameras:
            await control.wait_for(camera, lambda status: status.frames_processed > 20, 120)
        return await _steady(
            control, cameras, worker.process.pid, triton.process.pid, nats.process.pid, options.seconds
        )
    finally:
        await worker.stop()
        triton.stop()
        await control.stop()
        await nats.stop()


async def _steady(
    control: ControlDouble, cameras: Sequence[str], worker: int, triton: int, nats: int, seconds: float
) -> Pipeline:
    def frames() -> tuple[float, int]:
        statuses = {camera.camera_id: camera.status for camera in control.reports[-1].cameras}
        reported = max(s.reported_at.seconds + s.reported_at.nanos / 1e9 for s in statuses.values())
        return reported, sum(statuses[camera].frames_processed for camera in cameras)

    began, before = frames()
    cpu = {pid: family_cpu_s(pid) for pid in (worker, triton, nats)}
    memory = psutil.Process(worker).memory_info().rss
    await asyncio.sleep(seconds)
    ended, after = frames()
    spent = {pid: (family_cpu_s(pid) - cpu[pid]) / (after - before) * 1000 for pid in cpu}
    growth = psutil.Process(worker).memory_info().rss / memory - 1
    return Pipeline((after - before) / (ended - began), spent[worker], spent[triton], spent[nats], growth)


def measure_peer() -> tuple[float, float]:
    """Frames a second and core time a frame of the plain script."""
    before = os.times()
    done = subprocess.run(
        [str(PEER), str(PLAIN_SCRIPT), str(MODEL), str(CLIP)], capture_output=True, text=True, check=True
    )
    after = os.times()
    spent_s = after.children_user + after.children_system - before.children_user - before.children_system
    result = json.loads(done.stdout)
    return result["fps"], spent_s / result["frames"] * 1000


def show(limit: Limit, pipeline: Pipeline, cameras: int) -> None:
    limit_fps = 1000 * CORES / limit.total_ms
    graphs = ", ".join(f"{batch}: {ms:.2f}" for batch, ms in limit.graph_ms.items())
    print(f"\nlimit: decode {limit.decode_ms:.2f} + resize {limit.resize_ms:.2f} + graph at its best batch", end=" ")
    print(f"({limit.best_batch}) = {limit.total_ms:.2f} ms core time a frame; graph by batch: {graphs}")
    print(f"       on {CORES} cores {limit_fps:.1f} frames/s")
    print(f"pipeline, {cameras} cameras: worker {pipeline.worker_ms:.2f} + Triton {pipeline.triton_ms:.2f}", end=" ")
    print(f"+ NATS {pipeline.nats_ms:.2f} = {pipeline.total_ms:.2f} ms core time a frame; {pipeline.fps:.1f} frames/s")
    print(
        f"ratio to the limit: work {limit.total_ms / pipeline.total_ms:.2f}, wall {pipeline.fps / limit_fps:.2f}",
        end="",
    )
    print(f"   (target 0.80); worker's memory {pipeline.memory_growth:+.1%}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--max-batch", type=int, default=0)
    options = parser.parse_args()
    if not MODEL.is_file() or not CLIP.is_file():
        print(f"skipped: there is no {MODEL} or {CLIP}")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = prepare(MODEL, folder / "repository", "yolox", None)
        model = (folder / "repository" / prepared.name / "1" / "model.onnx").read_bytes()
        limits = [measure_limit(model)]
        pipeline = asyncio.run(measure_pipeline(folder, folder / "repository", prepared.name, options))
        limits.append(measure_limit(model))
        show(median_limit(limits), pipeline, options.cameras)
    if options.peers:
        fps, core_ms_a_frame = measure_peer()
        print(f"plain script: {core_ms_a_frame:.2f} ms core time a frame; {fps:.1f} frames/s", end="; ")
        faster, work = pipeline.fps / fps, pipeline.total_ms / core_ms_a_frame
        print(f"the pipeline is {faster:.2f} times as fast, at {work:.2f} of the work")
    return 0


if __name__ == "__main__":
    sys.exit(main())
