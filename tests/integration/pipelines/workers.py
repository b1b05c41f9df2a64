"""A worker as a process of its own, and what it publishes, for tests."""

import asyncio
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nats
import pytest
from nats.js.api import ConsumerConfig, DeliverPolicy
from tests.fixtures.clips import MIDDLE

from countline.v1 import cameras_pb2, events_pb2, workers_pb2
from countline_common.data import bus
from countline_common.times import from_timestamp, to_timestamp

COUNTLINE = Path(sys.executable).with_name("countline")
TIMELY_S = 0.2
"""By which a crossing may be dated differently where every frame is counted."""


@dataclass
class WorkerProcess:
    """`countline worker` with a spool that outlives it."""

    environment: dict[str, str]
    folder: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        path = self.folder / "worker.log"
        return path.read_text() if path.exists() else ""

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "worker.log").open("a") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(COUNTLINE), "worker", env={**os.environ, **self.environment}, stderr=log, stdout=log
            )

    async def stop(self) -> float:
        """SIGTERM; returns how long it took."""
        if self.process is None or self.process.returncode is not None:
            return 0.0
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), 15)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        return time.monotonic() - began

    async def kill(self) -> None:
        """SIGKILL, as when memory runs out."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()


def worker_process(folder: Path, nats_url: str, control: str, triton: str, **more: str) -> WorkerProcess:
    """A worker that is not started yet."""
    environment = {
        "COUNTLINE_NATS_URL": nats_url,
        "COUNTLINE_WORKERS_ADDRESS": control,
        "COUNTLINE_TRITON_ADDRESS": triton,
        "COUNTLINE_WORKER_NAME": "worker-1",
        "COUNTLINE_SPOOL": str(folder / "spool"),
        "COUNTLINE_DEFAULT_MODEL": "blob",
        "COUNTLINE_DATA": str(folder / "data"),
    }
    return WorkerProcess({**environment, **more}, folder)


@dataclass
class Totals:
    """What a camera's records add up to; each crossing once, however often it was sent."""

    records: list[events_pb2.CountRecord] = field(default_factory=list)

    @property
    def crossings(self) -> dict[str, events_pb2.Crossing]:
        return {crossing.crossing_id: crossing for record in self.records for crossing in record.crossings}

    @property
    def in_out(self) -> tuple[int, int]:
        directions = [crossing.direction for crossing in self.crossings.values()]
        return directions.count(events_pb2.DIRECTION_IN), directions.count(events_pb2.DIRECTION_OUT)

    @property
    def spans(self) -> list[events_pb2.CoverageSpan]:
        return [span for record in self.records for span in record.coverage]

    @property
    def covered_s(self) -> list[tuple[float, float]]:
        """The spans as seconds."""
        return [(from_timestamp(span.start), from_timestamp(span.end)) for span in self.spans]


def check_film(totals: Totals, cycle_s: float) -> None:
    """A film with one crossing in each cycle was counted: each once, and none is missing where no frame is.

    A live camera leaves frames out where the machine is too slow for them, and may then date a crossing differently,
    or miss it.
    """
    times = sorted(from_timestamp(crossing.t) for crossing in totals.crossings.values())
    offsets = [(t - times[0] + cycle_s / 2) % cycle_s - cycle_s / 2 for t in times]
    first = times[0] + statistics.median(offsets)
    turns = [round((t - first) / cycle_s) for t in times]
    assert len(turns) == len(set(turns)), f"told twice: {times}"
    whole = {turn for turn in range(turns[0], turns[-1] + 1) if _is_whole(totals, first + turn * cycle_s, cycle_s)}
    timely = {turn for turn, t in zip(turns, times, strict=True) if abs(t - first - turn * cycle_s) < TIMELY_S}
    assert whole <= timely, f"missing or dated wrongly: {sorted(whole - timely)} of {times}"
    assert len(whole) >= 3, "too many frames were left out to say anything"


def _is_whole(totals: Totals, middle: float, length_s: float) -> bool:
    """Whether every frame of a span was counted."""
    start, end = middle - length_s / 2, middle + length_s / 2
    covered = 0.0
    for span, (begin, over) in zip(totals.spans, totals.covered_s, strict=True):
        shared = min(over, end) - max(begin, start)
        if shared > 0 and span.frames_dropped:
            return False
        covered += max(0.0, shared)
    return covered == pytest.approx(length_s, abs=1e-3)


async def published(nats_url: str, camera_id: str) -> Totals:
    """Everything that JetStream holds of a camera."""
    client = await nats.connect(nats_url)
    try:
        stream = client.jetstream()
        subject = f"countline.counts.*.{camera_id}"
        waiting = (await stream.stream_info(bus.COUNTS, subjects_filter=subject)).state.subjects or {}
        left = sum(waiting.values())
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy="none")
        subscription = await stream.subscribe(subject, ordered_consumer=False, config=config)
        totals = Totals()
        while len(totals.records) < left:
            totals.records.append(events_pb2.CountRecord.FromString((await subscription.next_msg(10)).data))
        return totals
    finally:
        await client.close()


async def compared(nats_url: str, trial_id: str, camera_id: str) -> list[events_pb2.TrialRecord]:
    """What JetStream holds of a trial on a camera."""
    client = await nats.connect(nats_url)
    try:
        stream, subject = client.jetstream(), bus.trial_subject(trial_id, camera_id)
        waiting = (await stream.stream_info(bus.TRIALS, subjects_filter=subject)).state.subjects or {}
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy="none")
        subscription = await stream.subscribe(subject, ordered_consumer=False, config=config)
        messages = [await subscription.next_msg(10) for _ in range(sum(waiting.values()))]
        return [events_pb2.TrialRecord.FromString(message.data) for message in messages]
    finally:
        await client.close()


async def wait_compared(
    nats_url: str,
    trial_id: str,
    camera_id: str,
    holds: Callable[[list[events_pb2.TrialRecord]], object],
    timeout_s: float = 90.0,
) -> None:
    """Wait until what is published of a trial on a camera is as wanted."""
    deadline = time.monotonic() + timeout_s
    while not holds(records := await compared(nats_url, trial_id, camera_id)):
        assert time.monotonic() < deadline, f"compared: {records}"
        await asyncio.sleep(0.1)


async def wait_until(nats_url: str, camera_id: str, holds: Callable[[Totals], bool], timeout_s: float = 90.0) -> Totals:
    """Wait until what is published of a camera is as wanted; fails with what there is."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            totals = await published(nats_url, camera_id)
        except (nats.errors.Error, OSError, TimeoutError):  # no server, or no stream yet
            totals = Totals()
        if holds(totals):
            return totals
        assert time.monotonic() < deadline, f"in, out = {totals.in_out} in {len(totals.records)} records"
        await asyncio.sleep(0.1)


async def wait_for_totals(nats_url: str, camera_id: str, in_out: tuple[int, int], timeout_s: float = 90.0) -> Totals:
    """Wait until a camera's published crossings are just these."""
    return await wait_until(nats_url, camera_id, lambda totals: totals.in_out == in_out, timeout_s)


def assignment(
    camera_id: str,
    source: str,
    *,
    epoch: int = 0,
    playback: int = cameras_pb2.PLAYBACK_FAST,
    model: str = "",
    follower: workers_pb2.Follower | None = None,
    lines: Sequence[tuple[str, Sequence[tuple[float, float]], int]] = (("middle", MIDDLE, 1),),
    **spec: object,
) -> workers_pb2.Assignment:
    """An assignment with lines as (id, points, version)."""
    camera = cameras_pb2.Camera(
        camera_id=camera_id,
        site_id="site",
        spec=cameras_pb2.CameraSpec(
            source_url=source,
            playback=playback,
            lines=[
                cameras_pb2.Line(line_id=name, points=[cameras_pb2.Point(x=x, y=y) for x, y in points], version=version)
                for name, points, version in lines
            ],
            **spec,
        ),
        created_at=to_timestamp(1_700_000_000.0),
    )
    return workers_pb2.Assignment(camera=camera, epoch=epoch, time_zone="Europe/Berlin", model=model, follower=follower)
