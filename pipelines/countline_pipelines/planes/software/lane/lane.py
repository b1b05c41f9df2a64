"""The way of all frames of one model: a ring of slots, batches across cameras, a bounded number of requests in flight.

Runs on the plane's event loop; cameras submit from their threads. Large batches cost less, but frames wait in them for
each other; so where live cameras take part, a batch holds no more than is inferred within `LIVE_BATCH_S`, as measured:
on a machine that has become slow, frames come fewer and not late. (Eight cameras, yolox_nano, two cores: batches of
eight instead of one take 0.7 ms of core time a frame off the worker; the graph itself gains nothing from batches on a
CPU, and Triton runs them one by one there.) A request that Triton did not answer is sent again
with the same frames until it does, so a restart of Triton loses nothing; meanwhile files wait and live cameras drop.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import CountlineError, DeadlineExceededError, InternalError
from countline_common.logs import get_logger
from countline_common.triton.letterbox import Letterbox, paste
from countline_common.waiting import happens
from countline_pipelines import metrics
from countline_pipelines.planes.runs import Run
from countline_pipelines.planes.software.lane.batching import Batcher
from countline_pipelines.triton import InferenceClient, ModelInfo, infer_surely
from countline_pipelines.triton.slots import Slot, SlotRing

PATIENCE_S: Final = 3.0
"""After which cameras say that it is Triton they wait for."""
LIVE_BATCH_S: Final = 0.1
_SMOOTHING: Final = 0.1
_log = get_logger(__name__)


class Traveller(Protocol):
    """Whom a ticket belongs to: one model's share of a camera."""

    @property
    def owner(self) -> str:
        """Names it among those that use a lane: cameras take turns, and each may have several models."""
        ...

    def next_sequence(self) -> int:
        """Number of the next frame that sets out to Triton."""
        ...

    def arrived(self, ticket: "Ticket", detections: NDArray[np.float32]) -> None:
        """An answer, (max_detections, 6), in pixels of the model's input; perhaps out of order."""
        ...

    def refused(self, ticket: "Ticket", error: CountlineError) -> None:
        """Triton refuses this frame for good."""
        ...


@dataclass(slots=True)
class Ticket:
    """One frame on its way."""

    camera: Traveller
    run: Run
    scaled: Any
    """av.VideoFrame of the size that it has in the model's input."""
    box: Letterbox
    index: int
    t: float
    dropped: int
    """Frames left out just before it."""
    taken_at: float
    """Monotonic time at which it was decoded."""
    picture: Any | None = None
    """av.VideoFrame where somebody wants to see it."""
    sequence: int = -1


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """What one machine chooses; None takes what the model ships with."""

    max_batch: int | None = None
    max_wait_s: float = 0.005
    """How long a frame waits for others to travel with."""
    in_flight: int | None = None
    """Requests at the same time; one more than the model has instances keeps each of them busy."""


class ModelLane:
    """One model's lane.

    Args:
        client: to Triton.
        info: the model, loaded under the name of its version.
        options: sizes and deadlines.
    """

    def __init__(self, client: InferenceClient, info: ModelInfo, options: LaneOptions) -> None:
        self.info = info
        self.name = str(info.ref)
        """The version that it leads to, as NAME@VERSION."""
        self.batcher: Batcher[Ticket] = Batcher(
            min(options.max_batch or info.max_batch_size, info.max_batch_size), options.max_wait_s
        )
        in_flight = options.in_flight or info.instances + 1
        self._ring = SlotRing(in_flight * self.batcher.max_batch, info.height, info.width)
        self._blocks = _blocks_of(self._ring, self.batcher.max_batch)
        self._free: asyncio.Queue[Block] = asyncio.Queue()
        for block in self._blocks:
            self._free.put_nowait(block)
        self.users = 0
        self.live_users = 0
        """Those of them whose frames must not come late."""
        self._frame_s = 0.0
        self._waiting_time = metrics.STAGE_SECONDS.labels("wait")
        self.trouble: CountlineError | None = None
        """Why frames wait, while they do."""
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._closed = False
        self._hungry = False
        """Whether the dispatcher waits for frames."""
        self._requests: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Let Triton read the ring and begin to send."""
        await self._client.attach(self._ring)
        self._dispatcher = asyncio.create_task(self._dispatch(), name=f"lane-{self.name}")

    async def close(self) -> None:
        """Stop sending; what is in flight is cancelled."""
        self._closed = True
        tasks = [*self._requests, *([self._dispatcher] if self._dispatcher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(CountlineError):
            await self._client.detach(self._ring)
        self._ring.close()

    def submit(self, ticket: Ticket) -> None:
        """Send a frame on its way; from any thread."""
        self.batcher.put(ticket.camera.owner, ticket, time.monotonic())
        if not self._hungry:
            return  # all requests are out: the dispatcher looks by itself when one comes back
        self._hungry = False
        with suppress(RuntimeError):  # the loop is closed: the plane has ended
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _dispatch(self) -> None:
        while True:
            block = await self._free.get()
            batch = await self._next_batch()
            if not batch:
                return
            for ticket in batch:
                ticket.sequence = ticket.camera.next_sequence()
            task = asyncio.create_task(self._request(batch, block), name=f"infer-{self.name}")
            self._requests.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("lane.request_crashed", model=self.name, error=repr(error))

    async def _next_batch(self) -> list[Ticket]:
        """The frames of the next request; none when the lane is closed."""
        # Not only until cancelled: Python 3.11's wait_for forgets that it was, where its event is set in that moment.
        while not self._closed:
            self._wake.clear()
            self._hungry = True  # before looking, so that a frame which comes after the look is told
            now = time.monotonic()
            if batch := self.batcher.take(now, self._most()):
                self._hungry = False
                return batch
            due_s = self.batcher.due_in(now)
            await happens(self._wake, None if due_s == float("inf") else due_s)
        return []

    def _most(self) -> int:
        if self.live_users == 0 or self._frame_s == 0:
            return self.batcher.max_batch
        return max(1, int(LIVE_BATCH_S / self._frame_s))

    def _note_speed(self, frame_s: float) -> None:
        self._frame_s += (_SMOOTHING if self._frame_s else 1.0) * (frame_s - self._frame_s)

    async def _request(self, batch: list[Ticket], block: "Block") -> None:
        began = time.monotonic()
        try:
            detections = await self._infer(block.fill(batch))
        except Exception as error:  # noqa: BLE001  (cameras wait for their frames, whatever became of them)
            self._refuse(batch, error)
            return
        finally:
            self._free.put_nowait(block)
        took_s = time.monotonic() - began
        self._note_speed(took_s / len(batch))
        metrics.INFERENCE_SECONDS.labels(self.name).observe(took_s)
        metrics.BATCH_FRAMES.labels(self.name).observe(len(batch))
        for ticket in batch:
            self._waiting_time.observe(began - ticket.taken_at)
        for ticket, rows in zip(batch, detections, strict=True):
            self._hand_back(ticket, rows)

    def _refuse(self, batch: Sequence[Ticket], error: Exception) -> None:
        """Hand frames back that will not be answered."""
        if isinstance(error, CountlineError):
            _log.error("lane.refused", model=self.name, error=error.message)
            refusal = error
        else:
            _log.error("lane.request_crashed", model=self.name, exc_info=error)
            refusal = InternalError(
                f"asking {self.name} crashed: {error!r}", hint="this is a fault of ours; see the log"
            )
        for ticket in batch:
            self._hand_back(ticket, refusal)

    def _hand_back(self, ticket: Ticket, answer: NDArray[np.float32] | CountlineError) -> None:
        try:
            if isinstance(answer, CountlineError):
                ticket.camera.refused(ticket, answer)
            else:
                ticket.camera.arrived(ticket, answer)
        except Exception:  # noqa: BLE001  (the frames of other cameras are in the same batch)
            _log.exception("lane.answer_not_taken", model=self.name, owner=ticket.camera.owner)

    async def _infer(self, slots: Sequence[Slot]) -> NDArray[np.float32]:
        while True:
            try:
                detections = await infer_surely(self._client, self.name, slots, patience_s=PATIENCE_S)
            except DeadlineExceededError as error:
                self.trouble = error
                _log.warning("lane.waiting", model=self.name, error=error.message)
            else:
                self.trouble = None
                return detections


class Block:
    """Neighbouring slots: the place of one batch in flight."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._held: list[tuple[int, int] | None] = [None] * len(slots)
        """Size of the picture that each slot holds; what lies beside it is padded."""

    def fill(self, batch: Sequence[Ticket]) -> Sequence[Slot]:
        """Copy the frames of a batch into the first slots; returns those."""
        for index, ticket in enumerate(batch):
            size = ticket.box.scaled_wh
            paste(ticket.scaled, self._slots[index].frame_hwc, padded=self._held[index] == size)
            self._held[index] = size
        return self._slots[: len(batch)]


def _blocks_of(ring: SlotRing, block_size: int) -> list[Block]:
    """Take all slots of a fresh ring, in blocks of neighbours."""
    slots = [slot for _ in range(ring.count) if (slot := ring.acquire("lane")) is not None]
    return [Block(slots[first : first + block_size]) for first in range(0, len(slots), block_size)]
