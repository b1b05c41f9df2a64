"""From an uploaded file to a version that is loaded and warm. Whatever step fails, Triton keeps serving as before.

    receive -> contract -> triton -> golden -> speed -> store -> load -> warm_up (-> promote, by the service)

Until `load` a candidate has a staging name of its own in Triton's repository, beside every served model. `load` adds it
to its model. A load that fails is undone, and Triton itself keeps what it served until the new set is ready.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from countline_common.errors import AlreadyExistsError, InvalidInputError, ResourceExhaustedError
from countline_common.tasks import to_its_end
from countline_common.triton import ModelRef
from countline_control.database import Database
from countline_control.models import checks, store
from countline_control.models.deployment.domain import DeployRequest
from countline_control.models.deployment.installation import Installer, Order
from countline_control.models.deployment.progress import Progress
from countline_control.models.deployment.upload import Chunks, Upload, receive
from countline_control.models.domain import (
    MOST_DEPLOYMENTS,
    GoldenResult,
    GoldenState,
    StoredModel,
    StoredVersion,
    Validation,
    VersionState,
)
from countline_control.models.repository import Repository
from countline_models.deploy import (
    ClipTruth,
    ExaminedModel,
    Limits,
    ModelTarget,
    ServedSpeed,
    ServingTriton,
    check_interchangeable,
    check_speed,
    count_golden,
    demo_golden,
    examine,
    golden_problem,
    parse_truth,
)


class Deployer:
    """Carries deployments out.

    Args:
        database: holds the schema `models`.
        repository: Triton's repository, and the Triton that serves it.
        installer: makes an examined model a served version.
        work: folder for uploads and rendered clips.
        limits: what a model may need.
        most: concurrent deployments. Each needs room on the disk, a process that examines, and Triton's time, which the
            cameras need too. One more is refused before its upload, and does not wait.
    """

    def __init__(
        self,
        database: Database,
        repository: Repository,
        installer: Installer,
        work: Path,
        limits: Limits,
        most: int = MOST_DEPLOYMENTS,
    ) -> None:
        self._database = database
        self._repository = repository
        self._installer = installer
        self._work = work
        self._limits = limits
        self._most = most
        self._running = 0

    async def deploy(self, request: DeployRequest, chunks: Chunks, actor: str, progress: Progress) -> StoredVersion:
        """Receive, validate and load a model; return the new version.

        Raises:
            CountlineError: the model is refused, and nothing of it is left; the message says why.
        """
        checks.check_deployable(request.name, request.comment)
        target = _target(request.target)
        with self._place():
            return await self._deploy(request, target, chunks, actor, progress)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._running >= self._most:
            raise ResourceExhaustedError(
                f"{self._running} deployments are running, which is the limit",
                hint="try again when one of them has ended, or raise COUNTLINE_MODEL_MOST_DEPLOYMENTS",
            )
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def _deploy(
        self, request: DeployRequest, target: ModelTarget, chunks: Chunks, actor: str, progress: Progress
    ) -> StoredVersion:
        self._work.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = self._work / f"deploy-{uuid4().hex}"
        try:
            # A thread that goes on after a cancellation would make the folder, or a file in it, after the removal.
            await to_its_end(asyncio.to_thread(folder.mkdir, mode=0o700))
            upload = await receive(request, chunks, folder, self._limits, progress)
            candidate = await self._examine(upload, progress)
            order = Order(upload, candidate, target, actor)
            validation = await self._validate(order, progress)
            return await self._installer.install(order, validation, progress)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _examine(self, upload: Upload, progress: Progress) -> ExaminedModel:
        await progress.begin("contract")
        request = upload.request
        candidate = await examine(upload.model, request.labels or None, self._limits)
        known = await self._database.read(lambda connection: store.get_model(connection, request.name))
        if known is not None:
            checks.check_takes_onnx(known)
            check_interchangeable(request.name, candidate.contract, known.contract)
            _check_is_new(known, candidate)
        contract = candidate.contract
        size = f"{contract.width}x{contract.height}, at most {contract.max_detections} detections"
        await progress.done("contract", f"{size}, {len(contract.labels)} classes")
        return candidate

    async def _validate(self, order: Order, progress: Progress) -> Validation:
        """Serve the candidate under a staging name; compare, count and measure there."""
        await progress.begin("triton")
        async with self._repository.staged(order.candidate, order.target) as (serving, ref):
            await serving.verify(ref, order.candidate)
            await progress.done("triton", "answers as ONNX Runtime does")
            golden = await self._count(order, ref, progress)
            speed = await self._measure(order, serving, ref, progress)
        return Validation(speed.frames_per_s, speed.latency_p50_ms, speed.latency_p95_ms, golden)

    async def _count(self, order: Order, ref: ModelRef, progress: Progress) -> GoldenResult:
        found = await self._golden(order)
        if found is None:
            why = "no clip was given, and the labels do not fit the demo clips: its counts are unchecked"
            await progress.skipped("golden", why)
            return GoldenResult(GoldenState.UNCHECKED, detail=why)
        clip, truth, name = found
        await progress.begin("golden")
        address = self._repository.triton_address
        moved: Callable[[float], None] = lambda share: progress.moved("golden", share)  # noqa: E731
        lines = await count_golden(address, ref, clip, truth, moved, shown=name)
        if problem := golden_problem(lines, truth):
            raise InvalidInputError(
                f"it counts {name} wrong: {problem}", hint="check its score threshold and classes, or train it further"
            )
        right = ", ".join(f"{line.line_id} in {line.counted_in} out {line.counted_out}" for line in lines)
        await progress.done("golden", f"{name}: {right}")
        return GoldenResult(GoldenState.PASSED, name, tuple(lines))

    async def _golden(self, order: Order) -> tuple[Path, ClipTruth, str] | None:
        """Return the clip to count, its true counts, and its name for people; None if no clip fits."""
        golden, clip = order.upload.request.golden, order.upload.clip
        if clip is not None:
            return clip, parse_truth(golden.truth), golden.clip or "the golden clip"
        labels = order.candidate.contract.labels
        found = await asyncio.to_thread(demo_golden, labels, self._work / "golden")
        return (*found, f"the demo clip {found[0].stem}") if found is not None else None

    async def _measure(self, order: Order, serving: ServingTriton, ref: ModelRef, progress: Progress) -> ServedSpeed:
        await progress.begin("speed")
        speed = await serving.measure(ref, order.candidate.contract)
        check_speed(speed, order.upload.request.max_latency_ms or self._limits.max_latency_ms)
        await progress.done(
            "speed", f"{speed.frames_per_s:.0f} frames/s one by one, {speed.latency_p50_ms:.1f} ms each"
        )
        return speed


def _target(text: str) -> ModelTarget:
    try:
        return ModelTarget(text or ModelTarget.CPU)
    except ValueError as error:
        raise InvalidInputError(f"{text!r} is not a target", hint=f"give one of: {', '.join(ModelTarget)}") from error


def _check_is_new(model: StoredModel, candidate: ExaminedModel) -> None:
    for version in model.versions:
        if version.digest == candidate.digest and version.state is not VersionState.REGISTERED:
            raise AlreadyExistsError(
                f"this file is already deployed as {version.ref}",
                hint=f"use that version: countline models promote {version.ref}",
            )
