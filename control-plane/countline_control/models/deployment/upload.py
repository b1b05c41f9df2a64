"""Receives the files of a deployment: the model, then the golden clip."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from countline_common.errors import DeadlineExceededError, InvalidInputError, ResourceExhaustedError
from countline_common.tasks import to_its_end
from countline_control.models.deployment.domain import DeployRequest
from countline_control.models.deployment.progress import Progress
from countline_models.deploy import Limits

CHUNK_TIMEOUT_S: Final = 60.0
MAX_CLIP_BYTES: Final = 4 << 30

Chunks = AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Upload:
    """The files that were received."""

    request: DeployRequest
    model: Path
    clip: Path | None


async def receive(request: DeployRequest, chunks: Chunks, folder: Path, limits: Limits, progress: Progress) -> Upload:
    """Write the files of an upload into a folder, and check their sizes and digests.

    Raises:
        CountlineError: a file is too large, is cut short, or is not the announced one.
    """
    await progress.begin("receive")
    _check_sizes(request, limits)
    total = request.size_bytes + request.golden.size_bytes
    model, clip = folder / f"{request.name}.onnx", folder / "clip"  # errors mention the model file by its name
    taken = await _write(chunks, model, int(request.size_bytes), lambda n: progress.moved("receive", n / total))
    _check_digest("the model", taken, request.digest)
    if request.golden.size_bytes:
        before = request.size_bytes
        report: Callable[[int], None] = lambda n: progress.moved("receive", (before + n) / total)  # noqa: E731
        taken = await _write(chunks, clip, int(request.golden.size_bytes), report)
        _check_digest("the golden clip", taken, request.golden.digest)
    if await anext(chunks, None) is not None:
        raise InvalidInputError(f"the upload is longer than the announced {total:.0f} bytes", hint="send it again")
    await progress.done("receive", f"{total / 1e6:.1f} MB")
    return Upload(request, model, clip if request.golden.size_bytes else None)


def _check_sizes(request: DeployRequest, limits: Limits) -> None:
    if not 0 < request.size_bytes <= limits.max_bytes:
        raise ResourceExhaustedError(
            f"the model has {request.size_bytes / 1e6:.1f} MB; {limits.max_bytes / 1e6:.0f} MB is the limit",
            hint="deploy a smaller one, or raise COUNTLINE_MODEL_MAX_BYTES",
        )
    if not 0 <= request.golden.size_bytes <= MAX_CLIP_BYTES:
        raise ResourceExhaustedError(f"a golden clip has at most {MAX_CLIP_BYTES >> 30} GiB", hint="cut the clip")


def _check_digest(what: str, received: str, announced: str) -> None:
    if received != announced.lower():
        raise InvalidInputError(
            f"{what} arrived with the digest {received[:12]}…, not with the announced {announced[:12] or 'none'}…",
            hint="send it again; if it happens again, look for what changes the file on its way",
        )


async def _write(chunks: Chunks, file: Path, size: int, moved: Callable[[int], None]) -> str:
    """Write exactly `size` bytes into a file; return their SHA-256."""
    digest, taken = hashlib.sha256(), 0
    with await to_its_end(asyncio.to_thread(file.open, "wb")) as target:
        while taken < size:
            chunk = await _next(chunks, taken, size)
            taken += len(chunk)
            if taken > size:
                raise InvalidInputError(f"the upload is longer than the announced {size} bytes", hint="send it again")
            await to_its_end(asyncio.to_thread(_append, target, digest, chunk))
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
            f"the upload paused for {CHUNK_TIMEOUT_S:g} s after {taken} of {size} bytes", hint="send it again"
        ) from error
