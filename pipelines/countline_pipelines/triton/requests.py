"""Requests for inference: cuts slots into runs that travel together, and puts the answers into the slots' order.

Slots that lie side by side travel as one request. Measured on two cores with yolox_nano: a request of one frame costs
this process 0.55 to 0.8 ms of processor time, one of eight 0.13 ms a frame; frames sent as bytes 1.0 and 0.8 ms.
(tests/benchmarks/pipelines/bench_triton.py)
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_common.triton import InferenceLostError, ModelInfo, ModelRefusedError
from countline_common.triton.connection import BackendDeadError, Connection
from countline_common.triton.model_config import model_info
from countline_pipelines.triton.models import LoadedModel, LoadedModels
from countline_pipelines.triton.recovery import Recovery
from countline_pipelines.triton.slots import Slot, contiguous_runs
from countline_pipelines.triton.transport import AttachedRings

TOO_LARGE_WORDS: Final = "batch-size must be <="
"""How Triton refuses a request of more frames than the model takes."""


class InferenceRequests:
    """Sends requests.

    Args:
        connection: to the server.
        rings: that may be sent.
        models: that may be asked.
        recovery: starts when a request is lost.
        timeout_s: a request that takes longer is lost.
        max_in_flight: requests with Triton at the same time. More than a Triton has instances only wait in its queue.
    """

    def __init__(
        self,
        connection: Connection,
        rings: AttachedRings,
        models: LoadedModels,
        recovery: Recovery,
        *,
        timeout_s: float,
        max_in_flight: int,
    ) -> None:
        self._connection = connection
        self._rings = rings
        self._models = models
        self._recovery = recovery
        self._timeout_s = timeout_s
        self._in_flight = asyncio.Semaphore(max_in_flight)

    async def infer(self, model: str, slots: Sequence[Slot]) -> NDArray[np.float32]:
        """Detect in the frames of HELD slots; see `InferenceClient.infer` for shapes and errors."""
        loaded = self._models.known(model)
        info = loaded.info
        if not slots:
            return np.zeros((0, info.max_detections, 6), np.float32)
        self._recovery.check_ready()
        if loaded.refusal is not None:
            raise loaded.refusal.with_traceback(None)
        ring = self._rings.ring_of(slots, info)
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

    async def _infer_run(self, info: ModelInfo, run: Sequence[Slot]) -> NDArray[np.float32]:
        async with self._in_flight:
            frames = self._rings.input_of(run)
            try:
                detections = await self._connection.infer(info.ref, frames, self._timeout_s)
            except InferenceLostError as error:
                if isinstance(error, BackendDeadError):
                    self._models.record_dead_backend(info.name)
                self._recovery.start(error)
                raise
        if detections.shape != (len(run), info.max_detections, 6):
            raise ModelRefusedError(f"the model {info.name!r} answers {list(detections.shape)} to {len(run)} frames")
        return detections

    async def _judged(self, model: str, loaded: LoadedModel, error: BaseException) -> BaseException:
        """Return the error to raise. If a tuned model takes fewer frames now, the caller sends the request again."""
        if not isinstance(error, ModelRefusedError) or TOO_LARGE_WORDS not in error.message:
            return error
        info = loaded.info
        config = await self._connection.model_config(info.name)
        most = model_info(config, info.version, info.labels).max_batch_size if config is not None else 0
        if not 0 < most < info.max_batch_size:
            return error
        self._models.limit_batch(model, loaded, most)
        return InferenceLostError(f"{info.ref} takes {most} frames at a time now")
