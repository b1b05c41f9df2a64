"""From an uploaded file to a version that is loaded and warm, step by step; whatever fails, what served before goes on.

    receive -> contract -> triton -> golden -> speed -> store -> load -> warm_up (-> promote, by the service)

Until `load` a candidate lives under a staging name of its own in Triton's repository, beside everything that serves.
`load` adds it to its model; a load that fails is taken back, and Triton itself keeps what it served until the new set
is ready.
"""

import asyncio
import contextlib
import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from countline.v1 import models_pb2
from countline.v1.models_pb2 import DeployHeader, DeployModelResponse, GoldenLine, GoldenResult, ModelValidation
from countline_common.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    InvalidInputError,
    ResourceExhaustedError,
)
from countline_common.logs import get_logger
from countline_common.tasks import to_its_end
from countline_common.triton import ModelRef
from countline_control.database import Database
from countline_control.models import domain, store
from countline_control.models.artifacts import ArtifactStore
from countline_control.models.domain import Stored, StoredModel, StoredVersion
from countline_control.models.repository import Repository
from countline_control.outbox import Outbox
from countline_models.deploy import (
    ClipTruth,
    ExaminedModel,
    Limits,
    ModelTarget,
    ServedSpeed,
    ServingTriton,
    Tuning,
    check_interchangeable,
    check_speed,
    count_golden,
    demo_golden,
    examine,
    golden_problem,
    parse_truth,
)

CHUNK_TIMEOUT_S: Final = 60.0
STEPS_WAITING: Final = 64
"""Reports that a slow reader has not taken yet; more of a step's progress are left out, its end never is."""
MAX_CLIP_BYTES: Final = 4 << 30

Chunks = AsyncIterator[bytes]

_log = get_logger(__name__)


class Progress:
    """Tells whoever waits which step is under way."""

    def __init__(self, queue: "asyncio.Queue[DeployModelResponse]") -> None:
        self._queue = queue
        self._told_at = 0.0

    async def begin(self, step: str) -> None:
        """A step begins."""
        await self._queue.put(DeployModelResponse(step=step, state=models_pb2.STEP_STATE_RUNNING))

    def moved(self, step: str, share: float) -> None:
        """How far a step is, 0..1; told at most five times a second."""
        if time.monotonic() - self._told_at < 0.2 or self._queue.full():
            return
        self._told_at = time.monotonic()
        running = models_pb2.STEP_STATE_RUNNING
        self._queue.put_nowait(DeployModelResponse(step=step, state=running, progress=min(max(share, 0.0), 1.0)))

    async def done(self, step: str, detail: str = "") -> None:
        """A step has ended well."""
        await self._queue.put(DeployModelResponse(step=step, state=models_pb2.STEP_STATE_DONE, detail=detail))

    async def skipped(self, step: str, why: str) -> None:
        """A step is not needed, or cannot be done."""
        await self._queue.put(DeployModelResponse(step=step, state=models_pb2.STEP_STATE_SKIPPED, detail=why))


@dataclass(frozen=True, slots=True)
class Upload:
    """What was received."""

    header: DeployHeader
    model: Path
    clip: Path | None


@dataclass(frozen=True, slots=True)
class Order:
    """A deployment that has been received and examined."""

    upload: Upload
    candidate: ExaminedModel
    target: ModelTarget
    actor: str


class Deployer:
    """Carries deployments out.

    Args:
        database: with the schema `models`.
        repository: Triton's, and the Triton that serves it.
        artifacts: where files are kept besides; None for nowhere.
        work: a folder for uploads and rendered clips.
        limits: what a model may ask for.
        outbox: of the service.
        most: deployments at once. Each takes room on the disk, a process that examines, and Triton's time, which the
            cameras need: one more is refused rather than kept waiting, and nothing of it is received.
    """

    def __init__(
        self,
        database: Database,
        repository: Repository,
        artifacts: ArtifactStore | None,
        work: Path,
        limits: Limits,
        outbox: Outbox,
        most: int = domain.MOST_DEPLOYMENTS,
    ) -> None:
        self._outbox = outbox
        self._most = most
        self._under_way = 0
        self._database = database
        self._repository = repository
        self._artifacts = artifacts
        self._work = work
        self._limits = limits

    async def deploy(self, header: DeployHeader, chunks: Chunks, actor: str, progress: Progress) -> StoredVersion:
        """Receive, validate and load a model; returns the new version.

        Raises:
            CountlineError: it is refused, and why; nothing of it is left.
        """
        domain.check_deployable(header.name, header.comment)
        target = _target(header.target)
        with self._place():
            return await self._deploy(header, target, chunks, actor, progress)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._under_way >= self._most:
            raise ResourceExhaustedError(
                f"{self._under_way} deployments are under way, which is the most at once",
                hint="try again when one of them has ended, or raise COUNTLINE_MODEL_MOST_DEPLOYMENTS",
            )
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _deploy(
        self, header: DeployHeader, target: ModelTarget, chunks: Chunks, actor: str, progress: Progress
    ) -> StoredVersion:
        self._work.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="deploy-", dir=self._work))
        try:
            upload = await self._receive(header, chunks, folder, progress)
            candidate = await self._examine(upload, progress)
            order = Order(upload, candidate, target, actor)
            validation = await self._validate(order, progress)
            return await self._install(order, validation, progress)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _receive(self, header: DeployHeader, chunks: Chunks, folder: Path, progress: Progress) -> Upload:
        await progress.begin("receive")
        self._check_sizes(header)
        total = header.size_bytes + header.golden.size_bytes
        model, clip = folder / f"{header.name}.onnx", folder / "clip"  # errors speak of the file by its name
        taken = await _write(chunks, model, int(header.size_bytes), lambda n: progress.moved("receive", n / total))
        _check_digest("the model", taken, header.digest)
        if header.golden.size_bytes:
            before = header.size_bytes
            report: Callable[[int], None] = lambda n: progress.moved("receive", (before + n) / total)  # noqa: E731
            taken = await _write(chunks, clip, int(header.golden.size_bytes), report)
            _check_digest("the golden clip", taken, header.golden.digest)
        await progress.done("receive", f"{total / 1e6:.1f} MB")
        return Upload(header, model, clip if header.golden.size_bytes else None)

    def _check_sizes(self, header: DeployHeader) -> None:
        if not 0 < header.size_bytes <= self._limits.max_bytes:
            raise ResourceExhaustedError(
                f"the model has {header.size_bytes / 1e6:.1f} MB; {self._limits.max_bytes / 1e6:.0f} MB is the most",
                hint="deploy a smaller one, or raise COUNTLINE_MODEL_MAX_BYTES",
            )
        if not 0 <= header.golden.size_bytes <= MAX_CLIP_BYTES:
            raise ResourceExhaustedError(f"a golden clip has at most {MAX_CLIP_BYTES >> 30} GiB", hint="cut it")

    async def _examine(self, upload: Upload, progress: Progress) -> ExaminedModel:
        await progress.begin("contract")
        header = upload.header
        labels = tuple(header.labels) or None
        candidate = await examine(upload.model, labels, self._limits)
        known = await self._database.read(lambda connection: store.get_model(connection, header.name))
        if known is not None:
            domain.check_takes_onnx(known)
            check_interchangeable(header.name, candidate.contract, known.contract)
            _check_is_new(known, candidate)
        contract = candidate.contract
        size = f"{contract.width}x{contract.height}, at most {contract.max_detections} detections"
        await progress.done("contract", f"{size}, {len(contract.labels)} classes")
        return candidate

    async def _validate(self, order: Order, progress: Progress) -> ModelValidation:
        """Serve the candidate under a name of its own, and see what it does."""
        await progress.begin("triton")
        async with self._repository.staged(order.candidate, order.target) as (serving, ref):
            await serving.verify(ref, order.candidate)
            await progress.done("triton", "answers as ONNX Runtime does")
            golden = await self._count(order, ref, progress)
            speed = await self._measure(order, serving, ref, progress)
        return ModelValidation(
            frames_per_s=speed.frames_per_s,
            latency_p50_ms=speed.latency_p50_ms,
            latency_p95_ms=speed.latency_p95_ms,
            golden=golden,
        )

    async def _count(self, order: Order, ref: ModelRef, progress: Progress) -> GoldenResult:
        found = await self._golden(order)
        if found is None:
            why = "no clip was given, and the labels do not fit the demo clips: its counts are unchecked"
            await progress.skipped("golden", why)
            return GoldenResult(state=models_pb2.GOLDEN_STATE_UNCHECKED, detail=why)
        clip, truth, name = found
        await progress.begin("golden")
        address = self._repository.triton_address
        lines = await count_golden(address, ref, clip, truth, lambda share: progress.moved("golden", share))
        if problem := golden_problem(lines, truth):
            raise InvalidInputError(
                f"it counts {name} wrong: {problem}", hint="look at its score threshold and classes; or train on"
            )
        right = ", ".join(f"{line.line_id} in {line.counted_in} out {line.counted_out}" for line in lines)
        await progress.done("golden", f"{name}: {right}")
        return GoldenResult(
            state=models_pb2.GOLDEN_STATE_PASSED,
            clip=name,
            lines=[
                GoldenLine(
                    line_id=line.line_id,
                    true_in=line.true_in,
                    true_out=line.true_out,
                    counted_in=line.counted_in,
                    counted_out=line.counted_out,
                )
                for line in lines
            ],
        )

    async def _golden(self, order: Order) -> tuple[Path, ClipTruth, str] | None:
        """The clip to count, what is true of it, and its name for people; None where none fits."""
        golden, clip = order.upload.header.golden, order.upload.clip
        if clip is not None:
            return clip, parse_truth(golden.truth), golden.clip or "the golden clip"
        labels = order.candidate.contract.labels
        found = await asyncio.to_thread(demo_golden, labels, self._work / "golden")
        return (*found, f"the demo clip {found[0].stem}") if found is not None else None

    async def _measure(self, order: Order, serving: ServingTriton, ref: ModelRef, progress: Progress) -> ServedSpeed:
        await progress.begin("speed")
        speed = await serving.measure(ref, order.candidate.contract)
        check_speed(speed, order.upload.header.max_latency_ms or self._limits.max_latency_ms)
        await progress.done(
            "speed", f"{speed.frames_per_s:.0f} frames/s one by one, {speed.latency_p50_ms:.1f} ms each"
        )
        return speed

    async def _install(self, order: Order, validation: ModelValidation, progress: Progress) -> StoredVersion:
        await progress.begin("store")
        await self._keep(order.candidate)
        await progress.done("store", order.candidate.digest[:12])
        async with self._repository.changing:
            before, version = await self._registered(order, validation)
            try:
                # Again: whoever deployed the same file and failed has had it deleted, where nobody seemed to need it.
                await self._keep(order.candidate)
                await progress.begin("load")
                await self._repository.add(before, version, order.candidate.file)
                await progress.done("load", str(version.ref))
                await progress.begin("warm_up")
                await self._repository.warm_up(version.ref, order.candidate.contract)
                await progress.done("warm_up")
            except BaseException:
                await to_its_end(self._take_back(before, version))
                raise
            return await to_its_end(self._finished(before, version))

    async def _keep(self, candidate: ExaminedModel) -> None:
        if self._artifacts is not None:
            await self._artifacts.put(candidate.digest, candidate.file)

    async def _registered(self, order: Order, validation: ModelValidation) -> tuple[StoredModel, StoredVersion]:
        """Write down a version that is about to be loaded; a client that leaves meanwhile has it forgotten again."""
        try:
            return await to_its_end(self._register(order, validation))
        except BaseException:
            await to_its_end(self._forget(order.upload.header.name, order.candidate.digest))
            raise

    async def _register(self, order: Order, validation: ModelValidation) -> tuple[StoredModel, StoredVersion]:
        """The model with the new version, and that version."""
        now, candidate = time.time(), order.candidate
        async with self._database.begin() as connection:
            model = await store.get_model(connection, order.upload.header.name, lock=True)
            if model is None:
                model = _new_model(order, now)
                await store.insert_model(connection, model)
            check_interchangeable(model.name, candidate.contract, model.contract)
            await store.delete_unfinished(connection, model.name)  # whoever installs holds the lock: it is nobody's
            version = StoredVersion(
                name=model.name,
                version=domain.next_number(await store.given_numbers(connection, model.name)),
                state=Stored.REGISTERED,
                digest=candidate.digest,
                size_bytes=candidate.size_bytes,
                score_threshold=candidate.contract.score_threshold,
                fused=candidate.fused,
                comment=order.upload.header.comment,
                validation=validation,
                created_by=order.actor,
                created_at=now,
            )
            await store.insert_version(connection, version)
            with_it = await store.get_model(connection, model.name)
        assert with_it is not None, "it was written a moment ago"
        return with_it, version

    async def _finished(self, before: StoredModel, version: StoredVersion) -> StoredVersion:
        """Write down that a version is served, or take it back; a client that leaves in between changes nothing."""
        try:
            return await self._finish(version)
        except BaseException:
            await to_its_end(self._take_back(before, version))
            raise

    async def _finish(self, version: StoredVersion) -> StoredVersion:
        async with self._database.begin() as connection:
            await store.set_state(connection, version.name, version.version, Stored.VALIDATED)
            model = await store.get_model(connection, version.name)
            assert model is not None, "whoever finishes holds the lock"
            # In this transaction: a client that leaves now must not take the news along.
            told = domain.model_message(model, domain.Serving({}), {})
            await self._outbox.add(connection, "model", "deployed", version.created_by, told)
        _log.info("model.deployed", model=str(version.ref), digest=version.digest, actor=version.created_by)
        return replace(version, state=Stored.VALIDATED)

    async def _take_back(self, before: StoredModel, version: StoredVersion) -> None:
        """Undo a load that failed: what Triton serves, then the files, then what is written down.

        A database that is away keeps the version as registered; the next deployment of the name, or start, forgets it.
        """
        _log.warning("model.taken_back", model=str(version.ref))
        others = tuple(each for each in before.versions if each.version != version.version)
        await self._repository.take_back(replace(before, versions=others) if others else None, version)
        await self._forget(version.name, version.digest, version.version)

    async def _forget(self, name: str, digest: str, number: int = 0) -> None:
        """Forget what is unfinished of a model, and a version of it, then the file that no version needs any more."""
        try:
            digests = await self._forgotten(name, number)
            if self._artifacts is not None and digest not in digests:
                await self._artifacts.delete(digest)
        except Exception as error:  # noqa: BLE001  (why it comes to this is what the caller must hear)
            _log.error("model.not_forgotten", model=name, error=str(error))

    async def _forgotten(self, name: str, number: int) -> set[str]:
        """Delete these rows, and that of the model where it has no others; returns the digests in use."""
        async with self._database.begin() as connection:
            await store.delete_unfinished(connection, name)  # whoever installs holds the lock: they are nobody's
            await store.delete_version(connection, name, number)
            model = await store.get_model(connection, name, lock=True)
            if model is not None and not model.versions:
                await store.delete_model(connection, name)
            return await store.digests_in_use(connection)


def _target(text: str) -> ModelTarget:
    try:
        return ModelTarget(text or ModelTarget.CPU)
    except ValueError as error:
        raise InvalidInputError(f"{text!r} is no target", hint=f"give one of: {', '.join(ModelTarget)}") from error


def _new_model(order: Order, now: float) -> StoredModel:
    return StoredModel(
        name=order.upload.header.name,
        contract=order.candidate.contract,
        tuning=Tuning(),
        target=order.target,
        live_version=0,
        previous_version=0,
        created_at=now,
        updated_at=now,
    )


def _check_is_new(model: StoredModel, candidate: ExaminedModel) -> None:
    for version in model.versions:
        if version.digest == candidate.digest and version.state is not Stored.REGISTERED:
            raise AlreadyExistsError(
                f"this very file is {version.ref} already", hint=f"use that one: countline models promote {version.ref}"
            )


def _check_digest(what: str, taken: str, told: str) -> None:
    if taken != told.lower():
        raise InvalidInputError(
            f"{what} arrived with the digest {taken[:12]}…, and {told[:12] or 'none'}… was announced",
            hint="send it again; if it happens again, see what changes it on the way",
        )


async def _write(chunks: Chunks, file: Path, size: int, moved: Callable[[int], None]) -> str:
    """Write exactly `size` bytes into a file; returns their SHA-256."""
    digest, taken = hashlib.sha256(), 0
    with await asyncio.to_thread(file.open, "wb") as target:
        while taken < size:
            chunk = await _next(chunks, taken, size)
            taken += len(chunk)
            if taken > size:
                raise InvalidInputError(f"more than the {size} bytes that were announced came", hint="send them again")
            await asyncio.to_thread(_append, target, digest, chunk)
            moved(taken)
    return digest.hexdigest()


def _append(target: IO[bytes], digest: Any, chunk: bytes) -> None:
    digest.update(chunk)
    target.write(chunk)


async def _next(chunks: Chunks, taken: int, size: int) -> bytes:
    try:
        async with asyncio.timeout(CHUNK_TIMEOUT_S):
            return await anext(chunks)
    except StopAsyncIteration as error:
        raise InvalidInputError(f"the upload ended after {taken} of {size} bytes", hint="send it again") from error
    except TimeoutError as error:
        raise DeadlineExceededError(
            f"nothing came for {CHUNK_TIMEOUT_S:g} s after {taken} of {size} bytes", hint="send it again"
        ) from error


async def reported(
    work: Callable[[Progress], Awaitable[StoredVersion]],
) -> AsyncGenerator[DeployModelResponse | StoredVersion, None]:
    """Run a deployment: its reports as they come, then the version. Whoever stops listening stops the deployment."""
    queue: asyncio.Queue[DeployModelResponse] = asyncio.Queue(STEPS_WAITING)
    task = asyncio.ensure_future(work(Progress(queue)))
    try:
        while not task.done() or not queue.empty():
            if (report := await _next_report(queue, task)) is not None:
                yield report
        yield task.result()
    finally:
        await to_its_end(_stopped(task))


async def _next_report(
    queue: "asyncio.Queue[DeployModelResponse]", task: asyncio.Task[StoredVersion]
) -> DeployModelResponse | None:
    """The next report of a deployment; None where it ended without one. Nothing waits for one afterwards."""
    waiting = asyncio.ensure_future(queue.get())
    try:
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})


async def _stopped(task: asyncio.Future[StoredVersion]) -> None:
    """Cancel a deployment that nobody waits for any more, once, and wait until it has taken back what it did."""
    is_left = task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None and is_left:
        _log.warning("model.not_deployed", error=str(error))
