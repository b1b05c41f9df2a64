"""The interface of inference: slots in, detections out.

    client = await TritonClient.connect("127.0.0.1:9001")          (countline_pipelines.triton.client)
    info = await client.load("demo_detector")
    ring = SlotRing(16, info.height, info.width)
    await client.attach(ring)
    ...                                                              a decoder writes into ring.acquire().frame_hwc
    detections = await infer_surely(client, info.name, slots, patience_s=60)    (n, max_detections, 6)

No frame is lost on the way: whatever happens to Triton, the caller keeps its slots until it has an answer.
"""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import DeadlineExceededError
from countline_common.triton import InferenceLostError, ModelInfo, ModelOverrides
from countline_pipelines.triton.slots import Slot, SlotRing


class Transport(StrEnum):
    """How frames reach Triton."""

    AUTO = "auto"
    """Shared memory if a probe shows that Triton can read this machine's, else gRPC bytes."""
    SHM = "shm"
    GRPC = "grpc"


class SilentTritonError(DeadlineExceededError):
    """Triton gave no answer in time.

    Args:
        waited_s: how long the caller waited.
        reason: why Triton is away; empty if it is not known.
    """

    def __init__(self, waited_s: float, reason: str = "") -> None:
        shown = f"{waited_s:.0f}" if waited_s >= 1 else f"{waited_s:g}"
        super().__init__(
            f"Triton gave no answer within {shown} s{': ' if reason else ''}{reason}",
            hint="see Triton's log; `countline status` shows whether it is restarting",
        )
        self.reason = reason


class InferenceClient(Protocol):
    """A client of Triton; one per process, used from one event loop."""

    @property
    def transport(self) -> Transport:
        """SHM or GRPC, as chosen at start; never AUTO."""
        ...

    async def load(self, model: str, overrides: ModelOverrides | None = None) -> ModelInfo:
        """Load a model and wait until it is ready. After a restart of Triton, the client loads it again.

        Args:
            model: `NAME`, its folder in Triton's repository, or `NAME@VERSION`. Without a version, the
                client takes the newest and keeps it until the model is loaded again.
            overrides: None takes what suits the server (for the embedded one, an instance per core, one thread each).

        Raises:
            ModelRefusedError: there is no such model, it does not load, or it breaks the contract.
            InferenceLostError: Triton does not answer.
        """
        ...

    def release(self, model: str) -> None:
        """Forget a model; Triton goes on serving it to others."""
        ...

    async def unload(self, model: str) -> None:
        """Have Triton unload a model."""
        ...

    async def metadata(self, model: str) -> ModelInfo:
        """Return what is known of a model that this client loaded.

        Raises:
            ModelRefusedError: this client did not load it.
        """
        ...

    async def attach(self, ring: SlotRing) -> None:
        """Let Triton read a ring. After a restart of Triton, the client attaches it again."""
        ...

    async def detach(self, ring: SlotRing) -> None:
        """Undo `attach`; afterwards the ring may be closed."""
        ...

    async def infer(self, model: str, slots: Sequence[Slot]) -> NDArray[np.float32]:
        """Detect in the frames of HELD slots of one attached ring, any number of them.

        Returns:
            (len(slots), max_detections, 6) float32 in the order of `slots`: x1, y1, x2, y2 in pixels of the model's
            input, score, class; unused rows have score 0.

        Raises:
            InferenceLostError: Triton is away or answered too late; the slots are HELD as before and may be sent again.
            ModelRefusedError: Triton refuses these frames.
        """
        ...

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until Triton answers and holds this client's rings and models.

        Raises:
            SilentTritonError: not within `timeout_s`.
        """
        ...

    async def close(self) -> None:
        """Undo every `attach` and disconnect."""
        ...


async def infer_surely(
    client: InferenceClient, model: str, slots: Sequence[Slot], *, patience_s: float
) -> NDArray[np.float32]:
    """Like `infer`, but survives restarts of Triton: sends the same slots again when Triton is back.

    Raises:
        SilentTritonError: no answer within `patience_s`.
        CountlineError: an error of `infer` that waiting does not solve.
    """
    try:
        async with asyncio.timeout(patience_s):
            while True:
                try:
                    return await client.infer(model, slots)
                except InferenceLostError:
                    await client.wait_ready(patience_s)
    except TimeoutError as error:
        raise SilentTritonError(patience_s) from error
