"""How frames reach Triton: the choice of the transport, and the rings that Triton may read."""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from tritonclient.grpc import InferInput

from countline_common.errors import InvalidInputError
from countline_common.triton import InferenceLostError, ModelInfo
from countline_common.triton.connection import Connection, bytes_input, shared_input
from countline_common.triton.shared_memory import SharedSegment
from countline_pipelines.triton.api import Transport
from countline_pipelines.triton.slots import SEGMENT_PREFIX, Slot, SlotRing

_PROBE_BYTES: Final = 4096


async def choose_transport(connection: Connection, wanted: Transport) -> Transport:
    """Return SHM or GRPC. AUTO asks the server to open a segment that only this machine has.

    Raises:
        InvalidInputError: SHM is wanted and the server cannot read this machine's shared memory.
    """
    if wanted is Transport.GRPC:
        return Transport.GRPC
    with SharedSegment(f"{SEGMENT_PREFIX}{os.getpid()}-probe-{secrets.token_hex(8)}", _PROBE_BYTES) as probe:
        try:
            await connection.register(probe.name, probe.size_bytes)
            await connection.unregister(probe.name)
        except InferenceLostError as error:
            if wanted is Transport.SHM:
                raise InvalidInputError(
                    f"Triton at {connection.address} cannot read this machine's shared memory: {error.message}",
                    hint="let them share /dev/shm, or use --triton-transport grpc",
                ) from error
            return Transport.GRPC
    return Transport.SHM


class AttachedRings:
    """The rings whose slots may be sent; with SHM, Triton holds each of them registered."""

    def __init__(self, connection: Connection, transport: Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._rings: dict[str, SlotRing] = {}

    async def attach(self, ring: SlotRing) -> None:
        """Register a ring with Triton."""
        if self._transport is Transport.SHM:
            await self._connection.register(ring.name, ring.size_bytes)
        self._rings[ring.name] = ring

    async def attach_again(self) -> None:
        """Register all rings with a Triton that has restarted."""
        for ring in tuple(self._rings.values()):
            await self.attach(ring)

    async def detach(self, ring: SlotRing) -> None:
        """Unregister a ring. A server that does not answer has restarted and no longer knows the ring."""
        if self._rings.pop(ring.name, None) is not None and self._transport is Transport.SHM:
            with suppress(InferenceLostError):
                await self._connection.unregister(ring.name)

    async def detach_all(self) -> None:
        """Unregister every ring."""
        for ring in tuple(self._rings.values()):
            await self.detach(ring)

    def ring_of(self, slots: Sequence[Slot], info: ModelInfo) -> SlotRing:
        """Return the ring of a batch.

        Raises:
            InvalidInputError: the slots are of several rings, of one that is not attached, or of the wrong size.
        """
        ring = slots[0].ring
        if any(slot.ring is not ring for slot in slots) or ring.name not in self._rings:
            raise InvalidInputError("the slots of a batch must come from one ring, which is attached to this client")
        if (ring.height, ring.width) != (info.height, info.width):
            raise InvalidInputError(
                f"the model {info.name!r} takes frames of {info.width}x{info.height}, not {ring.width}x{ring.height}"
            )
        return ring

    def input_of(self, run: Sequence[Slot]) -> InferInput:
        """Return the input of a request: slots that lie side by side, as a place in shared memory or as bytes."""
        ring, first = run[0].ring, run[0].index
        if self._transport is Transport.SHM:
            shape = (len(run), ring.height, ring.width, 3)
            return shared_input(ring.name, run[0].offset_bytes, len(run) * ring.slot_bytes, shape)
        return bytes_input(ring.frames_nhwc[first : first + len(run)])
