"""Triton as a deployment sees it: load a model, hold it to what it answers here, warm it up, measure it.

A model is loaded anew whenever its configuration has changed. Triton then loads what is new beside what is served, and
a version that fails leaves the others as they are. What a configuration no longer names is let go when the last request
to it is answered.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

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
from countline_models.deploy.examination import Candidate, Limits, local_answers
from countline_models.repository.config import as_overrides
from countline_models.repository.folder import ModelFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from countline_common.triton.connection import Connection

    Detections = NDArray[np.float32]
    Frames = NDArray[np.uint8]

READY_TIMEOUT_S: Final = 60.0
"""After a load was answered, for its versions to be listed as ready."""
INFER_TIMEOUT_S: Final = 60.0
"""Of one request: a GPU may build an engine first."""
POLL_S: Final = 0.05
LEAST_FRAMES: Final = 5
"""Measured however long they take, within `INFER_TIMEOUT_S` each."""
SAME: Final = 1e-2
"""Largest difference, in pixels and in score, between ONNX Runtime within Triton and here, on processors."""
SAME_OVERLAP: Final = 0.9
SAME_SCORE: Final = 0.05
"""On a GPU in half precision: overlap (IoU) and score of what is the same detection."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one version, frames sent one after another, in the requests themselves."""

    frames_per_s: float
    latency_p50_ms: float
    latency_p95_ms: float


def check_speed(speed: Speed, max_latency_ms: float) -> None:
    """Hold a measured speed to what is allowed; 0 for no limit.

    Raises:
        InvalidInputError: one frame in twenty takes longer.
    """
    if 0.0 < max_latency_ms < speed.latency_p95_ms:
        raise InvalidInputError(
            f"a frame takes {speed.latency_p95_ms:.1f} ms (95th percentile), and {max_latency_ms:g} ms is the limit",
            hint="fuse it at a smaller --size, choose a smaller network, or raise --max-latency-ms",
        )


class Serving:
    """Triton; an async context manager that is made and used on one loop."""

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
        """Raises `UnavailableError` while Triton does not answer."""
        await self._connection.server_id()

    async def load(self, folder: ModelFolder, name: str) -> None:
        """Have a model served as its configuration in the folder says; let go where that names no version.

        Args:
            folder: Triton's repository, as this process sees it.
            name: of a model, or of a staged candidate.

        Raises:
            NotFoundError: the folder has no such model.
            InferenceLostError: Triton does not answer.
            ModelRefusedError: Triton refuses a version, with its reason; those that were served still are.
        """
        config = await asyncio.to_thread(folder.config, name)
        wanted = set(config.version_policy.specific.versions)
        if config.version_policy.HasField("specific") and not wanted:
            await self.unload(name)
            return
        told = await self._suited(as_overrides(config))
        await self._connection.load(name, told)
        await self._wait_ready(name, wanted, told)

    async def _suited(self, config: Config) -> Config:
        """As workers would load it, so that none of them changes it and has it loaded once more."""
        if await self._connection.server_id() != EMBEDDED_SERVER_ID:
            return config
        return overridden(config, usual_overrides(config, len(os.sched_getaffinity(0))))

    async def _wait_ready(self, name: str, wanted: set[int], told: Config) -> None:
        """Wait for versions; for any where none is named.

        A worker that finds Triton restarted loads what was served before, and may do so right after us: that is undone.
        """
        ready: set[int] = set()
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            ready = set(await self._connection.ready_versions(name))
            if ready and wanted <= ready:
                return
            if not wanted <= await self._named(name, wanted):
                await self._connection.load(name, told)
            await asyncio.sleep(POLL_S)
        missing = ", ".join(f"{name}@{version}" for version in sorted(wanted - ready)) or name
        raise ModelRefusedError(f"Triton does not serve {missing}", hint="see Triton's log for the reason")

    async def _named(self, name: str, wanted: set[int]) -> frozenset[int] | set[int]:
        """The versions that the configuration which is in force names; those that are wanted where it names none."""
        config = await self._connection.model_config(name)
        named = named_versions(config) if config is not None else None
        return wanted if named is None else named

    async def unload(self, name: str) -> None:
        """Let a model go, with all its versions; nothing happens where it is not loaded."""
        await self._connection.unload(name)

    async def verify(self, ref: ModelRef, candidate: Candidate) -> None:
        """Hold what Triton answers to what ONNX Runtime answers here: three frames at once, and each alone.

        Args:
            ref: a version that is loaded.
            candidate: what it was made of.

        Raises:
            InferenceLostError: Triton does not answer.
            InvalidInputError: its labels, sizes or answers are others; says which.
        """
        config = await self._config(ref)
        contract = candidate.contract
        await self._check_info(ref, config, contract)
        frames = _frames(contract)
        expected = await local_answers(candidate.file, Limits(check_timeout_s=INFER_TIMEOUT_S))
        together = await self._infer(ref, frames)
        alone = [await self._infer(ref, frame[None]) for frame in frames]
        for index, one in enumerate(alone):
            for how, found in (("alone", one[0]), ("in a batch", together[index])):
                if problem := _difference(expected[index], found, contract.score_threshold, exact=not _on_gpu(config)):
                    raise ModelRefusedError(
                        f"Triton answers frame {index + 1} {how} otherwise than ONNX Runtime does here: {problem}",
                        hint="see which versions of ONNX Runtime the two are; fuse the network again with opset 17",
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
                hint="look at labels.txt in the model's folder, and whether Triton sees that folder",
            )

    async def _infer(self, ref: ModelRef, frames: "Frames") -> "Detections":
        from countline_common.triton.connection import bytes_input

        return await self._connection.infer(ref, bytes_input(frames), INFER_TIMEOUT_S)

    async def warm_up(self, ref: ModelRef, contract: ContractModel) -> None:
        """Send one frame, and as many as one request may hold, to every instance: the first ones are slow.

        Raises:
            InferenceLostError: Triton does not answer.
            ModelRefusedError: it refuses the frames.
        """
        import numpy as np

        info = model_info(await self._config(ref), ref.version, ())
        for batch in sorted({1, info.max_batch_size}):
            frames = np.resize(_frames(contract), (batch, contract.height, contract.width, 3))
            await asyncio.gather(*(self._infer(ref, frames) for _ in range(info.instances)))

    async def measure(self, ref: ModelRef, contract: ContractModel, seconds: float = 2.0) -> Speed:
        """How fast it answers, one frame after another, sent as bytes.

        Raises:
            InferenceLostError: Triton does not answer.
        """
        frame = _frames(contract)[:1]
        began_s = time.perf_counter()
        taken_ms: list[float] = []
        while time.perf_counter() - began_s < seconds or len(taken_ms) < LEAST_FRAMES:
            taken_ms.append(await self._timed(ref, frame))
            if time.perf_counter() - began_s > INFER_TIMEOUT_S:
                break
        taken_ms.sort()
        count = len(taken_ms)
        return Speed(1000.0 * count / sum(taken_ms), taken_ms[count // 2], taken_ms[min(count - 1, int(count * 0.95))])

    async def _timed(self, ref: ModelRef, frame: "Frames") -> float:
        began_s = time.perf_counter()
        await self._infer(ref, frame)
        return 1000.0 * (time.perf_counter() - began_s)


def _frames(contract: ContractModel) -> "Frames":
    from countline_models.noise import noise_frames

    return noise_frames(contract.height, contract.width)


def _on_gpu(config: Config) -> bool:
    """Whether half precision may be at work."""
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    return bool(accelerators) or config.get("backend") == "tensorrt"


def _difference(expected: "Detections", found: "Detections", score_threshold: float, *, exact: bool) -> str:
    """What one frame's detections (max_detections, 6) have not in common; empty where they are the same.

    Rows are compared one by one where the arithmetic is the same; else every detection that is surely believed must
    have its like, since rows of nearly the same score change places.
    """
    import numpy as np

    if expected.shape != found.shape:
        return f"{list(found.shape)} numbers in place of {list(expected.shape)}"
    if exact:
        by = np.abs(expected - found)
        return "" if np.all(by <= SAME) else f"numbers differ by up to {by.max():.4g}"
    sure = expected[expected[:, 4] >= score_threshold + SAME_SCORE]
    lost = [row for row in sure if not _has_like(row, found)]
    return f"{len(lost)} of {len(sure)} detections have no like" if lost else ""


def _has_like(row: Any, found: "Detections") -> bool:
    """Whether one of the detections is as good as this one."""
    import numpy as np

    like = found[(found[:, 5] == row[5]) & (np.abs(found[:, 4] - row[4]) <= SAME_SCORE)]
    sides = np.minimum(like[:, 2:4], row[2:4]) - np.maximum(like[:, :2], row[:2])
    inner = np.prod(np.maximum(sides, 0.0), axis=1)
    outer = np.prod(like[:, 2:4] - like[:, :2], axis=1) + np.prod(row[2:4] - row[:2]) - inner
    return bool(np.any(inner >= SAME_OVERLAP * outer))
