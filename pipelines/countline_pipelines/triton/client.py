"""The client that the data plane uses: connects to Triton and puts the parts of this folder together.

While Triton is away, `infer` fails at once and the caller keeps its slots (recovery.py).
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, Self

import numpy as np
import structlog
from numpy.typing import NDArray

from countline_common.resilience.retry import Backoff
from countline_common.triton import InferenceLostError, ModelInfo, ModelOverrides
from countline_common.triton.connection import Connection
from countline_common.triton.model_config import EMBEDDED_SERVER_ID
from countline_pipelines.triton.api import Transport
from countline_pipelines.triton.loading import ModelLoader
from countline_pipelines.triton.models import LoadedModels
from countline_pipelines.triton.recovery import Recovery
from countline_pipelines.triton.requests import InferenceRequests
from countline_pipelines.triton.slots import Slot, SlotRing
from countline_pipelines.triton.transport import AttachedRings, choose_transport

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 0.5

log = structlog.get_logger(__name__)


class TritonClient:
    """An `InferenceClient` over gRPC. Create it with `connect`, end it with `close` or `async with`.

    Args:
        connection: to the server.
        transport: SHM or GRPC, as chosen.
        embedded: whether the server runs on this machine's cores.
        infer_timeout_s: a request that takes longer is lost.
        max_in_flight: requests with Triton at the same time.
    """

    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        *,
        embedded: bool,
        infer_timeout_s: float,
        max_in_flight: int,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._rings = AttachedRings(connection, transport)
        self._models = LoadedModels(connection, ModelLoader(connection, embedded=embedded))
        self._recovery = Recovery(connection, self._rings, self._models)
        self._requests = InferenceRequests(
            connection,
            self._rings,
            self._models,
            self._recovery,
            timeout_s=infer_timeout_s,
            max_in_flight=max_in_flight,
        )

    @classmethod
    async def connect(
        cls,
        address: str,
        transport: Transport = Transport.AUTO,
        *,
        timeout_s: float = 30.0,
        infer_timeout_s: float = 10.0,
        max_in_flight: int = 8,
    ) -> Self:
        """Connect to a Triton and choose how frames reach it.

        Args:
            address: host:port of its gRPC service.
            transport: AUTO takes shared memory if the server can read this machine's, else gRPC bytes.
            timeout_s: how long to wait for a server that does not answer yet.
            infer_timeout_s: a request that takes longer is lost.
            max_in_flight: requests with Triton at the same time.

        Raises:
            InferenceLostError: the server does not answer.
            InvalidInputError: SHM is wanted and the server cannot read this machine's shared memory.
        """
        connection = Connection(address)
        try:
            server_id = await _first_answer(connection, timeout_s)
            chosen = await choose_transport(connection, transport)
        except BaseException:
            await connection.close()
            raise
        log.info("triton connected", address=address, server=server_id, transport=chosen.value)
        embedded = server_id == EMBEDDED_SERVER_ID
        return cls(connection, chosen, embedded=embedded, infer_timeout_s=infer_timeout_s, max_in_flight=max_in_flight)

    @property
    def transport(self) -> Transport:
        """SHM or GRPC, as chosen at start."""
        return self._transport

    async def load(self, model: str, overrides: ModelOverrides | None = None) -> ModelInfo:
        """Load a model."""
        return await self._models.load(model, overrides)

    def release(self, model: str) -> None:
        """Forget a model; Triton goes on serving it to others."""
        self._models.release(model)

    async def unload(self, model: str) -> None:
        """Have Triton unload a model."""
        await self._models.unload(model)

    async def metadata(self, model: str) -> ModelInfo:
        """Return what is known of a loaded model."""
        return self._models.known(model).info

    async def attach(self, ring: SlotRing) -> None:
        """Let Triton read a ring."""
        await self._rings.attach(ring)

    async def detach(self, ring: SlotRing) -> None:
        """Undo `attach`."""
        await self._rings.detach(ring)

    async def infer(self, model: str, slots: Sequence[Slot]) -> NDArray[np.float32]:
        """Detect in the frames of HELD slots, (len(slots), max_detections, 6)."""
        return await self._requests.infer(model, slots)

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until Triton answers and holds rings and models."""
        await self._recovery.wait_ready(timeout_s)

    async def close(self) -> None:
        """Undo every `attach` and disconnect."""
        if self._recovery.is_closed:
            return
        await self._recovery.close()
        await self._rings.detach_all()
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _first_answer(connection: Connection, timeout_s: float) -> str:
    """Wait for a server that may still be starting; return its name."""
    deadline_s, backoff = time.monotonic() + timeout_s, Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
    while True:
        try:
            return await connection.server_id()
        except InferenceLostError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(backoff.next_s())
