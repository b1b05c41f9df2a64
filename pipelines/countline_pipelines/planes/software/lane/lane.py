"""The way of all frames of one model: a ring of slots, batches across cameras, a bounded number of requests in flight.

A lane runs on the plane's event loop; cameras submit frames from their threads. Large batches cost less, but frames in
them wait for each other. So while live cameras use the lane, a batch holds no more frames than are inferred within
`LIVE_BATCH_S`, as measured: on a machine that has become slow, fewer frames are processed and none comes late. (Eight
cameras, yolox_nano, two cores: batches of eight instead of one take 0.7 ms of core time a frame off the worker. The
graph itself gains nothing from batches on a CPU, where Triton runs the frames one by one.) The lane sends a request
that Triton did not answer again, with the same frames, until Triton answers. So a restart of Triton loses nothing;
meanwhile files wait and live cameras drop frames. If Triton refuses a request, frames of live cameras are dropped, and
frames of files are sent again for `LaneOptions.refused_s`, unless another version of the model counts them.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import CountlineError, InternalError
from countline_common.logs import get_logger
from countline_common.resilience.retry import retrying
from countline_common.tasks import cancel
from countline_common.triton import ModelRefusedError
from countline_common.triton.letterbox import paste
from countline_common.waiting import happens
from countline_pipelines import metrics
from countline_pipelines.planes.software.lane.batching import Batcher
from countline_pipelines.planes.software.lane.ticket import Ticket
from countline_pipelines.triton import InferenceClient, ModelInfo, SilentTritonError, infer_surely
from countline_pipelines.triton.slots import Slot, SlotRing

PATIENCE_S: Final = 3.0
"""Wait for an answer after which cameras report that they wait for Triton."""
LIVE_BATCH_S: Final = 0.1
"""Longest inference of a batch while live cameras use the lane."""
_SMOOTHING: Final = 0.1
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """What a machine chooses; None takes the value that the model ships with."""

    max_batch: int | None = None
    max_wait_s: float = 0.005
    """How long a frame waits for others of its batch."""
    in_flight: int | None = None
    """Requests at the same time. By default one more than the model has instances, which keeps every instance busy."""
    refused_s: float = 15.0
    """How long frames of files that Triton refuses are sent again; longer than a client waits to load a model again."""


class ModelLane:
    """The lane of one version of a model.

    Args:
        client: to Triton.
        info: the model, loaded under the name of its version.
        options: sizes and deadlines.
    """

    def __init__(self, client: InferenceClient, info: ModelInfo, options: LaneOptions) -> None:
        self.info = info
        self.name = str(info.ref)
        """The version of the model, as NAME@VERSION."""
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
        """Branches that send frames here."""
        self.live_users = 0
        """Branches of live cameras, whose frames must not come late."""
        self._refused_s = options.refused_s
        self._refuses = False
        """True while Triton refuses frames of files for good: the next ones are not sent again for so long."""
        self._frame_s = 0.0
        """Seconds of inference for each frame, smoothed; 0 before the first answer."""
        self._waiting_time = metrics.STAGE_SECONDS.labels("wait")
        self.trouble: CountlineError | None = None
        """Why frames wait for Triton; None while it answers."""
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._closed = False
        self._hungry = False
        """True while the dispatcher waits for frames."""
        self._requests: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Register the ring with Triton and start to send."""
        await self._client.attach(self._ring)
        self._dispatcher = asyncio.create_task(self._dispatch(), name=f"lane-{self.name}")

    async def close(self) -> None:
        """Stop sending, and cancel the requests in flight."""
        self._closed = True
        await cancel(*self._requests, *([self._dispatcher] if self._dispatcher else []))
        with suppress(CountlineError):
            await self._client.detach(self._ring)
        self._ring.close()

    def submit(self, ticket: Ticket) -> None:
        """Queue a frame; may be called from any thread."""
        self.batcher.put(ticket.traveller.owner, ticket, time.monotonic())
        if not self._hungry:
            return  # all requests are in flight: the dispatcher checks the queue when one comes back
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
                ticket.sequence = ticket.traveller.next_sequence()
            task = asyncio.create_task(self._request(batch, block), name=f"infer-{self.name}")
            self._requests.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("lane.request_crashed", model=self.name, error=repr(error))

    async def _next_batch(self) -> list[Ticket]:
        """The frames of the next request; empty if the lane is closed."""
        # `while True` would not end: Python 3.11's wait_for loses a cancellation if its event is set in that moment.
        while not self._closed:
            self._wake.clear()
            self._hungry = True  # set before the look at the queue: a frame that comes after it wakes the dispatcher
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
        slots = block.fill(batch)
        try:
            try:
                detections = await self._infer(slots)
                self._note_answer(batch, began)
            except ModelRefusedError as error:
                again = [ticket.is_sent_again for ticket in batch]
                self._refuse(list(compress(batch, map(not_, again))), error)
                batch, slots = list(compress(batch, again)), list(compress(slots, again))
                detections = await self._insist(slots)
        except Exception as error:  # noqa: BLE001  (cameras wait for their frames, so each frame must come back)
            self._refuse(batch, error)
            return
        finally:
            self._free.put_nowait(block)
        for ticket, rows in zip(batch, detections, strict=True):
            self._hand_back(ticket, rows)

    async def _insist(self, slots: Sequence[Slot]) -> NDArray[np.float32]:
        """Send frames of files again that Triton refused: for `refused_s`, or once if it refused other frames so long.

        Raises:
            ModelRefusedError: Triton still refuses them.
        """
        if self._refuses or not slots:
            return await self._infer(slots)
        try:
            async for attempt in retrying(ModelRefusedError, timeout_s=self._refused_s):
                with attempt:
                    return await self._infer(slots)
        except ModelRefusedError:
            self._refuses = True
            raise
        raise AssertionError("the last attempt returns or raises")

    def _note_answer(self, batch: Sequence[Ticket], began: float) -> None:
        took_s = time.monotonic() - began
        self._refuses = False
        self._note_speed(took_s / len(batch))
        metrics.INFERENCE_SECONDS.labels(self.name).observe(took_s)
        metrics.BATCH_FRAMES.labels(self.name).observe(len(batch))
        for ticket in batch:
            self._waiting_time.observe(began - ticket.taken_at)

    def _refuse(self, batch: Sequence[Ticket], error: Exception) -> None:
        """Hand frames back that Triton will not answer."""
        if not batch:
            return
        if isinstance(error, CountlineError):
            _log.error("lane.refused", model=self.name, error=error.message)
            refusal = error
        else:
            _log.error("lane.request_crashed", model=self.name, exc_info=error)
            refusal = InternalError(
                f"asking {self.name} crashed: {error!r}", hint="this is a bug in Countline; see the log"
            )
        for ticket in batch:
            self._hand_back(ticket, refusal)

    def _hand_back(self, ticket: Ticket, answer: NDArray[np.float32] | CountlineError) -> None:
        try:
            if isinstance(answer, CountlineError):
                ticket.traveller.refused(ticket, answer)
            else:
                ticket.traveller.arrived(ticket, answer)
        except Exception:  # noqa: BLE001  (the frames of other cameras are in the same batch)
            _log.exception("lane.answer_not_taken", model=self.name, owner=ticket.traveller.owner)

    async def _infer(self, slots: Sequence[Slot]) -> NDArray[np.float32]:
        began = time.monotonic()
        while True:
            try:
                detections = await infer_surely(self._client, self.name, slots, patience_s=PATIENCE_S)
            except SilentTritonError as error:
                self.trouble = SilentTritonError(time.monotonic() - began, error.reason)
                _log.warning("lane.waiting", model=self.name, error=self.trouble.message)
            else:
                self.trouble = None
                return detections


class Block:
    """Neighbouring slots that hold one batch in flight."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._held: list[tuple[int, int] | None] = [None] * len(slots)
        """By slot: (width, height) of the picture in it, around which the slot is padded; None before the first."""

    def fill(self, batch: Sequence[Ticket]) -> Sequence[Slot]:
        """Copy the frames of a batch into the first slots, and return these slots."""
        for index, ticket in enumerate(batch):
            size = ticket.box.scaled_wh
            paste(ticket.scaled, self._slots[index].frame_hwc, padded=self._held[index] == size)
            self._held[index] = size
        return self._slots[: len(batch)]


def _blocks_of(ring: SlotRing, block_size: int) -> list[Block]:
    """Acquire all slots of a new ring, in blocks of neighbours."""
    slots = [slot for _ in range(ring.count) if (slot := ring.acquire()) is not None]
    return [Block(slots[first : first + block_size]) for first in range(0, len(slots), block_size)]
