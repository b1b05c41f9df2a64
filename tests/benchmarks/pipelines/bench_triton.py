"""What Triton costs: frames through the embedded server, by transport, batch and instances, against ONNX Runtime alone.

    python tests/benchmarks/pipelines/bench_triton.py [--model FILE.onnx] [--frames N] [--rounds N]

All variants run in turns, round after round, and the medians are shown; so a busy machine hits all alike. Beside frames
a second stands the processor time a frame of the server and of this process, which other programs disturb less.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from countline_common.secrets.secret_files import ensure_secret
from countline_common.triton.access import secret_file
from countline_local.triton.command import TritonPorts, TritonSettings
from countline_local.triton.server import EmbeddedTriton
from countline_models.contract import open_session, run_contract
from countline_models.repository.prepare import RepositoryModel, prepare
from countline_pipelines.triton import ModelOverrides, Transport
from countline_pipelines.triton.client import TritonClient
from countline_pipelines.triton.slots import SlotRing

REPOSITORY = Path(__file__).resolve().parents[3]
YOLOX = REPOSITORY.parent / "shared" / "data" / "models" / "yolox_nano.onnx"
DEMO = REPOSITORY / "triton-repo" / "demo_detector" / "1" / "model.onnx"
SLOTS = 32


@dataclass
class Series:
    """One variant's results over the rounds."""

    name: str
    frames_per_s: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    own_ms: list[float] = field(default_factory=list)

    def row(self, reference: float) -> str:
        rate, server, own = (statistics.median(each) for each in (self.frames_per_s, self.server_ms, self.own_ms))
        spread = f"{min(self.frames_per_s):.0f}..{max(self.frames_per_s):.0f}"
        return f"{self.name:34}{rate:9.1f} {spread:>12} {rate / reference:7.2f} {server:10.2f} {own:10.2f}"


def cpu_s(server: psutil.Process | None) -> float:
    """Processor time of a process and its children so far, in seconds."""
    if server is None:
        return 0.0
    family = [server, *server.children(recursive=True)]
    return sum(times.user + times.system for times in (each.cpu_times() for each in family))


async def measure(
    series: Series, frames: int, server: psutil.Process | None, work: Callable[[], Awaitable[None]]
) -> None:
    server_s, own_s, began_s = cpu_s(server), time.process_time(), time.perf_counter()
    await work()
    series.frames_per_s.append(frames / (time.perf_counter() - began_s))
    series.server_ms.append((cpu_s(server) - server_s) / frames * 1000)
    series.own_ms.append((time.process_time() - own_s) / frames * 1000)


def direct(model: bytes, pictures: np.ndarray, frames: int, batch: int, sessions: int) -> Callable[[], Awaitable[None]]:
    """ONNX Runtime in this process: sessions of one thread each, every one with its share of the frames."""
    opened = [open_session(model) for _ in range(sessions)]

    def share(index: int) -> None:
        for first in range(index * batch, frames, sessions * batch):
            place = first % (SLOTS - batch + 1)
            run_contract(opened[index], pictures[place : place + batch])

    async def work() -> None:
        threads = [threading.Thread(target=share, args=(index,)) for index in range(sessions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)

    return work


def through(client: TritonClient, model: str, ring: SlotRing, frames: int, batch: int) -> Callable[[], Awaitable[None]]:
    """The data plane's client, two batches of neighbouring slots in flight for each of two instances."""

    async def lane(first_slot: int, count: int) -> None:
        for _ in range(count):
            await client.infer(model, ring.slots[first_slot : first_slot + batch])

    async def work() -> None:
        lanes = min(4, SLOTS // batch)
        await asyncio.gather(*(lane(index * batch, frames // batch // lanes) for index in range(lanes)))

    return work


def fill(ring: SlotRing) -> np.ndarray:
    """Hold every slot, filled with the same noise in every run."""
    pictures = np.random.default_rng(0).integers(0, 256, ring.frames_nhwc.shape, np.uint8)
    for slot, picture in zip(ring.slots, pictures, strict=True):
        ring.acquire()
        slot.frame_hwc[:] = picture
    return pictures


async def bench(prepared: RepositoryModel, repository: Path, work: Path, frames: int, rounds: int) -> list[Series]:
    contract, name = prepared.contract, prepared.name
    settings = TritonSettings((repository,), secret=ensure_secret(secret_file()), ports=TritonPorts(0, 0, 0))
    log = (work / "triton.log").open("w")
    model = (repository / name / "1" / "model.onnx").read_bytes()
    all_series: dict[str, Series] = {}
    ring = SlotRing(SLOTS, contract.height, contract.width)
    try:
        async with EmbeddedTriton(settings, work, lambda line: print(line, file=log)) as server:
            process = psutil.Process(server.pid)
            pictures = fill(ring)
            clients = [
                await TritonClient.connect(server.addresses.grpc, kind) for kind in (Transport.SHM, Transport.GRPC)
            ]
            for client in clients:
                await client.load(name)
                await client.attach(ring)

            async def turn(label: str, owner: psutil.Process | None, job: Callable[[], Awaitable[None]]) -> None:
                await measure(all_series.setdefault(label, Series(label)), frames, owner, job)

            for _ in range(rounds):
                for batch in (1, 4, 8):
                    await turn(f"direct, 1 session, batch {batch}", None, direct(model, pictures, frames, batch, 1))
                await turn("direct, 2 sessions, batch 1", None, direct(model, pictures, frames, 1, 2))
                for instances in (1, 2):
                    await clients[0].load(name, ModelOverrides(instances=instances))
                    for client in clients:
                        for batch in (1, 4, 8):
                            label = f"Triton {client.transport.value}, {instances} inst., batch {batch}"
                            await turn(label, process, through(client, name, ring, frames, batch))
            for client in clients:
                await client.close()
    finally:
        ring.close()
        log.close()
    return list(all_series.values())


def show(prepared: RepositoryModel, series: list[Series]) -> None:
    contract = prepared.contract
    reference = statistics.median(next(each for each in series if "2 sessions" in each.name).frames_per_s)
    print(f"\n{prepared.name}, {contract.width}x{contract.height}; ratio is to two sessions in this process")
    print(f"{'':34}{'frames/s':>9} {'from..to':>12} {'ratio':>7} {'server ms':>10} {'own ms':>10}")
    for each in series:
        print(each.row(reference))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, action="append", help="ONNX file; else yolox_nano and the demo detector")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    models = options.model or [file for file in (YOLOX, DEMO) if file.is_file()]
    if not models:
        print("no model: neither yolox_nano.onnx nor the demo detector is here; give --model")
        return 1
    for file in models:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            prepared = prepare(file, work / "repository", None, None)
            work.joinpath("work").mkdir()
            show(
                prepared,
                asyncio.run(bench(prepared, work / "repository", work / "work", options.frames, options.rounds)),
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
