"""The Triton that a deployment uses: load a model, verify its answers, warm it up, measure it.

A model is loaded again whenever its configuration has changed. Triton loads new versions beside those that it serves;
if one fails, the others stay. It unloads a version that the configuration no longer names after its last request.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from countline_common.errors import InvalidInputError
from countline_common.triton import ModelRef, ModelRefusedError
from countline_common.triton.model_config import (
    EMBEDDED_SERVER_ID,
    Config,
    model_info,
    named_versions,
    overridden,
    usual_overrides,
)
from countline_models.contract_model import ContractModel
from countline_models.deploy.examination import ExaminedModel, Limits, local_answers
from countline_models.deploy.likeness import difference
from countline_models.repository.parsing import as_overrides
from countline_models.repository.reader import ModelReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from countline_common.triton.connection import Connection

    Detections = NDArray[np.float32]
    Frames = NDArray[np.uint8]

READY_TIMEOUT_S: Final = 60.0
"""Allowed between the answer to a load and the versions being ready."""
INFER_TIMEOUT_S: Final = 60.0
"""For one request; a GPU may build an engine first."""
POLL_S: Final = 0.05
LEAST_FRAMES: Final = 5
MEASURE_S: Final = 2.0
"""At least this many frames are measured, each within `INFER_TIMEOUT_S`."""


@dataclass(frozen=True, slots=True)
class ServedSpeed:
    """Speed of one version, with frames sent one after another as bytes in the requests."""

    frames_per_s: float
    latency_p50_ms: float
    latency_p95_ms: float


def check_speed(speed: ServedSpeed, max_latency_ms: float) -> None:
    """Check a measured latency against a limit in milliseconds; 0 means no limit.

    Raises:
        InvalidInputError: the 95th percentile is above the limit.
    """
    if 0.0 < max_latency_ms < speed.latency_p95_ms:
        raise InvalidInputError(
            f"a frame takes {speed.latency_p95_ms:.1f} ms (95th percentile), and {max_latency_ms:g} ms is the limit",
            hint="fuse it at a smaller --size, choose a smaller network, or raise --max-latency-ms",
        )


class ServingTriton:
    """The Triton that serves models; an async context manager, made and used on one event loop.

    Args:
        address: host:port of its gRPC service.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._open: Connection | None = None

    async def __aenter__(self) -> Self:
        from countline_common.triton.connection import Connection

        self._open = Connection(self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened.close()

    @property
    def _connection(self) -> "Connection":
        assert self._open is not None, "use `async with`"
        return self._open

    async def check(self) -> None:
        """Raise `UnavailableError` if Triton does not answer."""
        await self._connection.server_id()

    async def load(self, folder: ModelReader, name: str) -> None:
        """Load a model as its configuration in the repository says; unload it if that names no version.

        Args:
            folder: Triton's repository.
            name: name of a model, or of a staged model.

        Raises:
            NotFoundError: the repository has no such model.
            InferenceLostError: Triton does not answer.
            ModelRefusedError: Triton refuses a version, with its reason; versions that it served stay.
        """
        config = await asyncio.to_thread(folder.config, name)
        wanted = set(config.version_policy.specific.versions)
        if config.version_policy.HasField("specific") and not wanted:
            await self.unload(name)
            return
        overrides = await self._as_workers_load(as_overrides(config))
        await self._connection.load(name, overrides)
        await self._wait_ready(name, wanted, overrides)

    async def _as_workers_load(self, config: Config) -> Config:
        """The configuration that workers would load, so that no worker changes it and loads the model again."""
        if await self._connection.server_id() != EMBEDDED_SERVER_ID:
            return config
        return overridden(config, usual_overrides(config, len(os.sched_getaffinity(0))))

    async def _wait_ready(self, name: str, wanted: set[int], overrides: Config) -> None:
        """Wait until the wanted versions are ready; any version if none is wanted.

        A worker that finds Triton restarted loads the former configuration, perhaps just after this load. Then the
        model is loaded again.
        """
        ready: set[int] = set()
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            ready = set(await self._connection.ready_versions(name))
            if ready and wanted <= ready:
                return
            if not wanted <= await self._named(name, wanted):
                await self._connection.load(name, overrides)
            await asyncio.sleep(POLL_S)
        missing = ", ".join(f"{name}@{version}" for version in sorted(wanted - ready)) or name
        raise ModelRefusedError(f"Triton does not serve {missing}", hint="see Triton's log for the reason")

    async def _named(self, name: str, wanted: set[int]) -> frozenset[int] | set[int]:
        """The versions that the loaded configuration names; the wanted ones if it names none."""
        config = await self._connection.model_config(name)
        named = named_versions(config) if config is not None else None
        return wanted if named is None else named

    async def unload(self, name: str) -> None:
        """Unload a model with all its versions; a model that is not loaded is no error."""
        await self._connection.unload(name)

    async def verify(self, ref: ModelRef, examined: ExaminedModel) -> None:
        """Compare Triton's answers with those of ONNX Runtime here, for three frames in a batch and for each alone.

        Args:
            ref: a loaded version.
            examined: the model that it was made of.

        Raises:
            InferenceLostError: Triton does not answer.
            ModelRefusedError: labels, sizes or answers differ; the message says which.
        """
        config = await self._config(ref)
        contract = examined.contract
        await self._check_info(ref, config, contract)
        frames = _frames(contract)
        expected = await local_answers(examined.file, Limits(check_timeout_s=INFER_TIMEOUT_S))
        together = await self._infer(ref, frames)
        alone = [await self._infer(ref, frame[None]) for frame in frames]
        for index, one in enumerate(alone):
            for how, found in (("alone", one[0]), ("in a batch", together[index])):
                if problem := difference(expected[index], found, contract.score_threshold, exact=not _on_gpu(config)):
                    raise ModelRefusedError(
                        f"Triton and ONNX Runtime here answer frame {index + 1} {how} differently: {problem}",
                        hint="compare their versions of ONNX Runtime; fuse the network again with opset 17",
                    )

    async def _config(self, ref: ModelRef) -> Config:
        config = await self._connection.model_config(ref.name)
        if config is None:
            raise ModelRefusedError(f"Triton does not serve {ref}", hint="load it first")
        return config

    async def _check_info(self, ref: ModelRef, config: Config, contract: ContractModel) -> None:
        info = model_info(config, ref.version, ())
        served = (info.width, info.height, info.max_detections)
        if served != (contract.width, contract.height, contract.max_detections):
            raise ModelRefusedError(
                f"Triton serves {ref} with {info.width}x{info.height} and {info.max_detections} detections, "
                f"not {contract.width}x{contract.height} and {contract.max_detections}",
                hint="deploy it under another --name",
            )
        elements = contract.max_detections * 6
        labels = await self._connection.labels(ref, (contract.height, contract.width, 3), elements)
        if labels != contract.labels[:elements]:
            raise ModelRefusedError(
                f"Triton names the classes of {ref} {', '.join(labels) or 'not at all'}, "
                f"not {', '.join(contract.labels)}",
                hint="check labels.txt in the model's folder, and that Triton reads that folder",
            )

    async def _infer(self, ref: ModelRef, frames: "Frames") -> "Detections":
        from countline_common.triton.connection import bytes_input

        return await self._connection.infer(ref, bytes_input(frames), INFER_TIMEOUT_S)

    async def warm_up(self, ref: ModelRef, contract: ContractModel) -> None:
        """Send one frame and a full batch to every instance, because the first requests are slow.

        Raises:
            InferenceLostError: Triton does not answer.
            ModelRefusedError: Triton refuses the frames.
        """
        import numpy as np

        info = model_info(await self._config(ref), ref.version, ())
        for batch in sorted({1, info.max_batch_size}):
            frames = np.resize(_frames(contract), (batch, contract.height, contract.width, 3))
            await asyncio.gather(*(self._infer(ref, frames) for _ in range(info.instances)))

    async def measure(self, ref: ModelRef, contract: ContractModel) -> ServedSpeed:
        """Measure the speed for `MEASURE_S` with one frame after another, sent as bytes.

        Raises:
            InferenceLostError: Triton does not answer.
        """
        frame = _frames(contract)[:1]
        began_s = time.perf_counter()
        taken_ms: list[float] = []
        while time.perf_counter() - began_s < MEASURE_S or len(taken_ms) < LEAST_FRAMES:
            taken_ms.append(await self._timed(ref, frame))
            if time.perf_counter() - began_s > INFER_TIMEOUT_S:
                break
        taken_ms.sort()
        count = len(taken_ms)
        return ServedSpeed(
            1000.0 * count / sum(taken_ms), taken_ms[count // 2], taken_ms[min(count - 1, int(count * 0.95))]
        )

    async def _timed(self, ref: ModelRef, frame: "Frames") -> float:
        began_s = time.perf_counter()
        await self._infer(ref, frame)
        return 1000.0 * (time.perf_counter() - began_s)


def _frames(contract: ContractModel) -> "Frames":
    from countline_models.noise import noise_frames

    return noise_frames(contract.height, contract.width)


def _on_gpu(config: Config) -> bool:
    """Whether the model may run in half precision."""
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    return bool(accelerators) or config.get("backend") == "tensorrt"
