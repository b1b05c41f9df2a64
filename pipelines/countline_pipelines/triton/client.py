"""The client that the data plane uses: chooses the transport, loads models, survives restarts of Triton.

The states of a client, and what moves it:

    READY --a request is lost--> RECOVERING --server answers, rings registered, models loaded--> READY
    any --close--> CLOSED

While it is RECOVERING, `infer` fails at once and the caller keeps its slots. Recovery tries for as long as it takes,
with a growing pause. A version that Triton refuses meanwhile holds up none of the others: its `infer` says why, until
it is served again. Requests in flight are bounded: more than a Triton has instances only wait in its queue.

Slots that lie side by side travel as one request. Measured on two cores with yolox_nano: a request of one frame costs
this process 0.55 to 0.8 ms of processor time, one of eight 0.13 ms a frame; frames sent as bytes 1.0 and 0.8 ms.
(tests/benchmarks/pipelines/bench_triton.py)
"""

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import structlog
from numpy.typing import NDArray

from countline_common.errors import ConflictError, CountlineError, DeadlineExceededError, InvalidInputError
from countline_common.resilience.retry import Backoff, Cooldowns
from countline_common.triton import InferenceLostError, ModelInfo, ModelOverrides, ModelRef, ModelRefusedError
from countline_common.triton.connection import BackendDeadError, Connection, bytes_input, shared_input
from countline_common.triton.model_config import (
    EMBEDDED_SERVER_ID,
    Config,
    model_info,
    overridden,
    usual_overrides,
)
from countline_common.triton.shared_memory import SharedSegment
from countline_pipelines.triton.api import Transport
from countline_pipelines.triton.slots import SEGMENT_PREFIX, Slot, SlotRing, contiguous_runs

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0
RETRY_REFUSED_S: Final = 10.0
"""Between looks at whether a version that was refused is served again."""
LOOK_AGAIN_S: Final = 10.0
LOOK_AGAIN_LONGEST_S: Final = 600.0
"""Between loads of a model for a version that was not served after the last one, such as one that was retired while a
camera names it. Where its file cannot be loaded, each of them loads those anew that count."""
TOO_LARGE_WORDS: Final = "batch-size must be <="
"""How Triton refuses a request of more frames than the model takes."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    info: ModelInfo
    overrides: ModelOverrides | None
    refusal: ModelRefusedError | None = None
    """Why Triton does not serve it any more."""


class TritonClient:
    """An `InferenceClient` over gRPC; make it with `connect`, end it with `close` or `async with`.

    Args:
        connection: to the server.
        transport: SHM or GRPC, as chosen.
        embedded: whether the server is this machine's own, and may be told how many instances suit it.
        infer_timeout_s: a request that takes longer is lost.
        max_in_flight: requests that may be with Triton at the same time.
    """

    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        *,
        embedded: bool,
        infer_timeout_s: float = 10.0,
        max_in_flight: int = 8,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._embedded = embedded
        self._infer_timeout_s = infer_timeout_s
        self._in_flight = asyncio.Semaphore(max_in_flight)
        self._rings: dict[str, SlotRing] = {}
        self._models: dict[str, _Loaded] = {}
        self._broken: set[str] = set()
        self._missing: dict[str, ModelRefusedError] = {}
        self._looked_for = Cooldowns[str](LOOK_AGAIN_S, LOOK_AGAIN_LONGEST_S)
        self._ready = asyncio.Event()
        self._ready.set()
        self._recovery: asyncio.Task[None] | None = None
        self._trouble = ""
        self._closed = False

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
            transport: AUTO takes shared memory where the server proves to read ours, else gRPC bytes.
            timeout_s: how long to wait for a server that does not answer yet.
            infer_timeout_s: a request that takes longer is lost.
            max_in_flight: requests that may be with Triton at the same time.

        Raises:
            InferenceLostError: it does not answer.
            InvalidInputError: SHM was asked for and the server cannot read our shared memory.
        """
        connection = Connection(address)
        try:
            server_id = await _first_answer(connection, timeout_s)
            chosen = await _choose(connection, transport)
        except BaseException:
            await connection.close()
            raise
        log.info("triton connected", address=address, server=server_id, transport=chosen.value)
        embedded = server_id == EMBEDDED_SERVER_ID
        return cls(connection, chosen, embedded=embedded, infer_timeout_s=infer_timeout_s, max_in_flight=max_in_flight)

    @property
    def transport(self) -> Transport:
        """See `InferenceClient.transport`."""
        return self._transport

    @property
    def is_ready(self) -> bool:
        """Whether Triton held our rings and models when it last was heard of."""
        return self._ready.is_set() and not self._closed

    async def load(self, model: str, overrides: ModelOverrides | None = None) -> ModelInfo:
        """See `InferenceClient.load`."""
        info = await self._load(model, overrides)
        self._models[model] = _Loaded(info, overrides)
        log.info("model ready", model=model, version=info.version, instances=info.instances)
        return info

    async def _load(self, model: str, overrides: ModelOverrides | None) -> ModelInfo:
        wanted = ModelRef.parse(model)
        config = await self._connection.model_config(wanted.name)
        is_served = config is not None and bool(await self._chosen_version(wanted))
        if not is_served:
            await self._look_for(wanted, others_count=config is not None)
            config = await self._connection.model_config(wanted.name)
        if config is None:
            raise ModelRefusedError(f"Triton does not serve the model {wanted.name!r}", hint="see Triton's log")
        # Whoever had it loaded has suited it. To load it again would drop a version that is added at this moment: what
        # is sent names the versions that were served before.
        suited = config if is_served and overrides is None else self._suited(config, overrides)
        if suited != config:
            await self._connection.load(wanted.name, suited)
        # From here on by number: a version that is put beside it later must not take over unseen.
        version = await self._chosen_version(wanted)
        if not version:
            raise self._noted_missing(wanted, await self._version_missing(wanted))
        self._missing.pop(str(wanted), None)
        self._looked_for.record_success(str(wanted))
        bare = model_info(suited, version, ())
        labels = await self._connection.labels(bare.ref, (bare.height, bare.width, 3), bare.max_detections * 6)
        return model_info(suited, version, labels)

    async def _look_for(self, wanted: ModelRef, *, others_count: bool) -> None:
        """Load a model of which a version is not served; not again and again where its other versions pay for it."""
        missing = self._missing.get(str(wanted))
        if others_count and missing is not None and not self._looked_for.may_try(str(wanted)):
            raise missing.with_traceback(None)
        try:
            await self._connection.load(wanted.name)
        except ModelRefusedError as error:
            raise self._noted_missing(wanted, error) from None

    def _noted_missing(self, wanted: ModelRef, error: ModelRefusedError) -> ModelRefusedError:
        self._looked_for.record_failure(str(wanted))
        self._missing[str(wanted)] = error
        self._missing = {model: each for model, each in self._missing.items() if model in self._looked_for}
        return error

    async def _chosen_version(self, wanted: ModelRef) -> int:
        """The version to use, the newest one where none is named; 0 where Triton does not serve it."""
        ready = await self._connection.ready_versions(wanted.name)
        if not wanted.version:
            return max(ready, default=0)
        return wanted.version if wanted.version in ready else 0

    async def _version_missing(self, wanted: ModelRef) -> ModelRefusedError:
        ready = await self._connection.ready_versions(wanted.name)
        served = ", ".join(map(str, ready)) or "none"
        return ModelRefusedError(
            f"Triton does not serve {wanted}; versions of {wanted.name!r} that it serves: {served}",
            hint=f"name another one (countline models list), or bring it back: countline models promote {wanted}",
        )

    def _suited(self, config: Config, overrides: ModelOverrides | None) -> Config:
        """A configuration as this machine runs it: the embedded server runs on its cores."""
        usual = usual_overrides(config, len(os.sched_getaffinity(0))) if self._embedded else ModelOverrides()
        return overridden(config, overrides or usual)

    def release(self, model: str) -> None:
        """See `InferenceClient.release`."""
        self._models.pop(model, None)

    async def unload(self, model: str) -> None:
        """See `InferenceClient.unload`."""
        self._models.pop(model, None)
        await self._connection.unload(ModelRef.parse(model).name)

    async def metadata(self, model: str) -> ModelInfo:
        """See `InferenceClient.metadata`."""
        return self._known(model).info

    def _known(self, model: str) -> _Loaded:
        if model not in self._models:
            raise ModelRefusedError(f"the model {model!r} was not loaded by this client", hint="load it first")
        return self._models[model]

    async def attach(self, ring: SlotRing) -> None:
        """See `InferenceClient.attach`."""
        if self._transport is Transport.SHM:
            await self._connection.register(ring.name, ring.size_bytes)
        self._rings[ring.name] = ring

    async def detach(self, ring: SlotRing) -> None:
        """See `InferenceClient.detach`; a server that does not answer has forgotten the ring anyway."""
        if self._rings.pop(ring.name, None) is not None and self._transport is Transport.SHM:
            with suppress(InferenceLostError):
                await self._connection.unregister(ring.name)

    async def infer(self, model: str, slots: Sequence[Slot]) -> NDArray[np.float32]:
        """See `InferenceClient.infer`."""
        loaded = self._known(model)
        info = loaded.info
        if not slots:
            return np.zeros((0, info.max_detections, 6), np.float32)
        self._check_usable()
        if loaded.refusal is not None:
            raise loaded.refusal.with_traceback(None)
        ring = self._ring_of(slots, info)
        runs = contiguous_runs(slots, info.max_batch_size)
        ring.send(slots)
        try:
            answers = await asyncio.gather(*(self._infer_run(info, run) for run in runs), return_exceptions=True)
        finally:
            ring.returned(slots)
        found: dict[int, NDArray[np.float32]] = {}
        for run, answer in zip(runs, answers, strict=True):
            if isinstance(answer, BaseException):
                raise await self._judged(model, loaded, answer)
            found.update({slot.index: detections for slot, detections in zip(run, answer, strict=True)})
        return np.stack([found[slot.index] for slot in slots])

    async def _judged(self, model: str, loaded: _Loaded, error: BaseException) -> BaseException:
        """What a failed request means: one that a model tuned meanwhile finds too large is sent again in parts."""
        if not isinstance(error, ModelRefusedError) or TOO_LARGE_WORDS not in error.message:
            return error
        info = loaded.info
        config = await self._connection.model_config(info.name)
        most = model_info(config, info.version, info.labels).max_batch_size if config is not None else 0
        if not 0 < most < info.max_batch_size:
            return error
        if self._models.get(model) is loaded:
            log.info("model takes fewer frames", model=model, max_batch_size=most)
            self._models[model] = replace(loaded, info=replace(info, max_batch_size=most))
        return InferenceLostError(f"{info.ref} takes {most} frames at a time now")

    def _check_usable(self) -> None:
        if self._closed:
            raise ConflictError("this client is closed")
        if not self._ready.is_set():
            raise InferenceLostError(f"Triton is away: {self._trouble}")

    def _ring_of(self, slots: Sequence[Slot], info: ModelInfo) -> SlotRing:
        ring = slots[0].ring
        if any(slot.ring is not ring for slot in slots) or ring.name not in self._rings:
            raise InvalidInputError("the slots of a batch must come from one ring, which is attached to this client")
        if (ring.height, ring.width) != (info.height, info.width):
            raise InvalidInputError(
                f"the model {info.name!r} takes frames of {info.width}x{info.height}, not {ring.width}x{ring.height}"
            )
        return ring

    async def _infer_run(self, info: ModelInfo, run: Sequence[Slot]) -> NDArray[np.float32]:
        ring, first = run[0].ring, run[0].index
        shape = (len(run), ring.height, ring.width, 3)
        async with self._in_flight:
            if self._transport is Transport.SHM:
                frames = shared_input(ring.name, run[0].offset_bytes, len(run) * ring.slot_bytes, shape)
            else:
                frames = bytes_input(ring.frames_nhwc[first : first + len(run)])
            try:
                detections = await self._connection.infer(info.ref, frames, self._infer_timeout_s)
            except InferenceLostError as error:
                if isinstance(error, BackendDeadError):
                    self._broken.add(info.name)
                self._recover(error)
                raise
        if detections.shape != (len(run), info.max_detections, 6):
            raise ModelRefusedError(f"the model {info.name!r} answers {list(detections.shape)} to {len(run)} frames")
        return detections

    def _recover(self, error: CountlineError) -> None:
        """Begin to win the server back, unless that has begun or all is over."""
        if self._closed or not self._ready.is_set():
            return
        self._ready.clear()
        self._trouble = error.message
        log.warning("triton lost", address=self._connection.address, reason=error.message)
        if self._recovery is not None:  # that may still look after versions that were refused
            self._recovery.cancel()
        self._recovery = asyncio.create_task(self._recover_all(), name="triton-recovery")

    async def _recover_all(self) -> None:
        await self._recover_until_ready()
        while refused := self._refused():
            await asyncio.sleep(RETRY_REFUSED_S)
            with suppress(InferenceLostError):  # the next request will find that out too
                for model, loaded in refused.items():
                    await self._win_back(model, loaded)

    def _refused(self) -> dict[str, _Loaded]:
        return {model: loaded for model, loaded in self._models.items() if loaded.refusal is not None}

    async def _win_back(self, model: str, loaded: _Loaded) -> None:
        """Load a refused version, unless its model is served without it: that would be loaded anew for nothing."""
        served = await self._connection.ready_versions(loaded.info.name)
        if not served or loaded.info.version in served:
            await self._restore_model(model, loaded)

    async def _recover_until_ready(self) -> None:
        began_s, backoff = time.monotonic(), Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            try:
                await self._restore()
            except CountlineError as error:
                self._trouble = error.message
            else:
                self._ready.set()
                log.info("triton is back", address=self._connection.address, after_s=time.monotonic() - began_s)
                return
            await asyncio.sleep(backoff.next_s())

    async def _restore(self) -> None:
        """What a Triton that has restarted must be told again."""
        await self._connection.server_id()
        for ring in tuple(self._rings.values()):
            await self.attach(ring)
        for model, loaded in tuple(self._models.items()):
            await self._restore_model(model, loaded)

    async def _restore_model(self, model: str, loaded: _Loaded) -> None:
        if loaded.info.name in self._broken:
            await self._connection.unload(loaded.info.name)
            self._broken.discard(loaded.info.name)
        try:  # the version that was chosen at first, whatever has become the newest since
            info = await self._load(str(loaded.info.ref), loaded.overrides)
            restored = _Loaded(info, loaded.overrides)
        except ModelRefusedError as error:
            log.warning("model refused", model=model, reason=error.message)
            restored = replace(loaded, refusal=error)
        if self._models.get(model) is loaded:  # else it was released or loaded anew meanwhile
            self._models[model] = restored

    async def wait_ready(self, timeout_s: float) -> None:
        """See `InferenceClient.wait_ready`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"Triton did not come back within {timeout_s:g} s: {self._trouble}",
                hint="`countline status` and Triton's log show why",
            ) from error

    async def close(self) -> None:
        """See `InferenceClient.close`."""
        if self._closed:
            return
        self._closed = True
        if self._recovery is not None:
            self._recovery.cancel()
            with suppress(asyncio.CancelledError):
                await self._recovery
        for ring in tuple(self._rings.values()):
            await self.detach(ring)
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _first_answer(connection: Connection, timeout_s: float) -> str:
    """Wait for a server that may still be starting; returns what it calls itself."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return await connection.server_id()
        except InferenceLostError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(FIRST_PAUSE_S)


async def _choose(connection: Connection, wanted: Transport) -> Transport:
    """Choose the transport by asking the server to open a segment that only this machine has."""
    if wanted is Transport.GRPC:
        return Transport.GRPC
    with SharedSegment(f"{SEGMENT_PREFIX}{os.getpid()}-probe-{secrets.token_hex(8)}", 4096) as probe:
        try:
            await connection.register(probe.name, probe.size_bytes)
            await connection.unregister(probe.name)
        except InferenceLostError as error:
            if wanted is Transport.SHM:
                raise InvalidInputError(
                    f"Triton at {connection.address} cannot read this machine's shared memory: {error.message}",
                    hint="let them share /dev/shm, or choose --triton-transport grpc",
                ) from error
            return Transport.GRPC
    return Transport.SHM
