"""A software plane over a Triton of a few lines that answers late, out of order, or not at all; for tests."""

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.fixtures.clips import MIDDLE

from countline_pipelines.counting import Crossing, Event, Identity
from countline_pipelines.plane import (
    CameraCondition,
    CameraPlan,
    CameraState,
    CountedFrame,
    CountingPlan,
    LinePlan,
    RunStarted,
)
from countline_pipelines.slots import Slot, SlotRing
from countline_pipelines.software.lane import LaneOptions
from countline_pipelines.software.plane import PlaneOptions, SoftwarePlane
from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.trials import TrialSpan
from countline_pipelines.triton import (
    InferenceLostError,
    ModelInfo,
    ModelOverrides,
    ModelRef,
    ModelRefusedError,
    Transport,
)

COUNTING = CountingPlan(lines=(LinePlan("middle", MIDDLE),))
WIDTH, HEIGHT = 96, 64


class FakeTriton:
    """Finds the bright rectangle, as the blob model does, and misbehaves as told."""

    def __init__(self, *, delay_s: float = 0.0, jitter_s: float = 0.0, lose_every: int = 0) -> None:
        self.transport = Transport.SHM
        self.batches: list[int] = []
        self.in_flight = self.most_in_flight = 0
        self.refuse: set[str] = set()
        self.loaded: set[str] = set()
        self.labels: dict[str, tuple[str, ...]] = {}
        self.rings: set[str] = set()
        self.shift_px: dict[str, int] = {}
        """By model: how far to the right it sees everything."""
        self.delays: dict[str, float] = {}
        """By model: how long it takes beyond the others."""
        self.blind: dict[str, int] = {}
        """By model: a colour that it does not see."""
        self.crashing: set[str] = set()
        """Models of which asking fails as nobody foresaw."""
        self.babbling: set[str] = set()
        """Models of which the answers make no sense, so that counting crashes."""
        self.deaf = False
        """Takes no ring."""
        self.attempts: list[str] = []
        """Rings that it did not take."""
        self.gates: dict[str, threading.Event] = {}
        """By model: what its loading waits for."""
        self._delay_s, self._jitter_s, self._lose_every = delay_s, jitter_s, lose_every
        self._noise = random.Random(3)

    async def load(self, model: str, overrides: ModelOverrides | None = None) -> ModelInfo:
        if model == "missing":
            raise ModelRefusedError(f"Triton does not serve the model {model!r}", cure="deploy it")
        if model in self.gates:
            assert await asyncio.to_thread(self.gates[model].wait, 20)
        ref = ModelRef.parse(model)
        self.loaded.add(model)
        return ModelInfo(ref.name, ref.version or 1, HEIGHT, WIDTH, 1, self.labels.get(model, ("thing",)), 0.4, 4, 2)

    def release(self, model: str) -> None:
        self.loaded.discard(model)

    async def unload(self, model: str) -> None: ...

    async def metadata(self, model: str) -> ModelInfo:
        return await self.load(model)

    async def attach(self, ring: SlotRing) -> None:
        if self.deaf:
            self.attempts.append(ring.name)
            raise InferenceLostError("Triton went away")
        self.rings.add(ring.name)

    async def detach(self, ring: SlotRing) -> None:
        self.rings.discard(ring.name)

    async def wait_ready(self, timeout_s: float) -> None: ...

    async def close(self) -> None: ...

    async def infer(self, model: str, slots: Sequence[Slot]) -> NDArray[np.float32]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self.batches.append(len(slots))
            await asyncio.sleep(self.delays.get(model, 0.0) + self._delay_s + self._noise.random() * self._jitter_s)
            assert model in self.loaded
            if model in self.crashing:
                raise ZeroDivisionError("an accident")
            if model in self.refuse:
                raise ModelRefusedError("the graph fails on this frame")
            if self._lose_every and len(self.batches) % self._lose_every == 0:
                raise InferenceLostError("Triton went away")
            if model in self.babbling:
                return np.zeros((len(slots), 1, 2), np.float32)
            return np.stack([self._box(model, slot.frame_hwc) for slot in slots])
        finally:
            self.in_flight -= 1

    def _box(self, model: str, frame_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen = [channel for channel in range(3) if channel != self.blind.get(model)]
        return _box(frame_hwc[:, :, seen], self.shift_px.get(model, 0))


def _box(frame_hwc: NDArray[np.uint8], shift_px: int) -> NDArray[np.float32]:
    ys, xs = np.nonzero(frame_hwc.max(axis=2) > 160)
    if not len(xs):
        return np.zeros((1, 6), np.float32)
    left, right = xs.min() + shift_px, xs.max() + 1 + shift_px
    return np.array([[left, ys.min(), right, ys.max() + 1, 0.9, 0]], np.float32)


class Recorder:
    """A sink that keeps what it is told, and fails the test where the order is wrong."""

    def __init__(self) -> None:
        self.frames: dict[str, list[tuple[int, float]]] = {}
        self.events: dict[str, list[Event]] = {}
        self.open: set[Identity] = set()
        self.broken_off: list[Identity] = []
        self.runs: list[Identity] = []
        self.starts: list[RunStarted] = []
        self.spans: dict[str, list[TrialSpan]] = {}

    def run_started(self, run: RunStarted) -> None:
        self.open.add(run.identity)
        self.runs.append(run.identity)
        self.starts.append(run)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        assert identity in self.open
        tracked = counted.result.tracked
        self.frames.setdefault(identity.camera_id, []).append((tracked.index, tracked.t))
        self.events.setdefault(identity.camera_id, []).extend(counted.result.events)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        assert identity in self.open
        self.events.setdefault(identity.camera_id, []).extend(events)

    def span_compared(self, camera_id: str, span: TrialSpan) -> None:
        self.spans.setdefault(camera_id, []).append(span)

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        self.open.remove(identity)
        if events is None:
            self.broken_off.append(identity)
        else:
            self.events.setdefault(identity.camera_id, []).extend(events)

    def ids(self, camera_id: str) -> list[str]:
        return [event.id for event in self.events[camera_id] if isinstance(event, Crossing)]


class Bench:
    """A plane with its fake and its recorder."""

    def __init__(self, client: FakeTriton, **options: object) -> None:
        self.client, self.recorder = client, Recorder()
        self.ended: set[str] = set()
        self._changed = threading.Condition()

        async def connect() -> FakeTriton:
            return client

        lane = LaneOptions(max_wait_s=0.002)
        self.plane = SoftwarePlane(connect, self.recorder, PlaneOptions(lane=lane, **options), self._end)
        self.plane.start()

    def _end(self, ended: CameraPlan, state: CameraState) -> None:
        with self._changed:
            self.ended.add(ended.camera_id)
            self._changed.notify_all()

    def condition(self, camera_id: str) -> CameraCondition:
        """Of a camera that the plane may just be taking up."""
        return self.plane.conditions().get(camera_id, CameraCondition(CameraState.STARTING))

    def wait_ended(self, *cameras: str, timeout_s: float = 30) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended >= set(cameras), timeout_s), self.plane.conditions()

    def wait_for(self, holds, timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, self.plane.conditions()
            time.sleep(0.01)


def plan(camera_id: str, path: Path, playback: Playback = Playback.FAST, **more: object) -> CameraPlan:
    model = str(more.pop("model", "fake"))
    run = f"film by {model}" if playback.is_finite else ""
    return CameraPlan(camera_id, SourceSpec(str(path), playback), model, COUNTING, run=run, **more)
