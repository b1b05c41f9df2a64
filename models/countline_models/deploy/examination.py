"""Examines a model without Triton, in a process of its own.

A network is a program of unknown origin: it may hang, use all memory, or crash ONNX Runtime. So neither ONNX nor ONNX
Runtime is loaded here. A child process looks into the model (`countline_models.deploy.probe`), and the way it ends is
turned into an error.
"""

import asyncio
import json
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from countline_common.errors import (
    CountlineError,
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    ResourceExhaustedError,
)
from countline_common.files.text_files import check_file
from countline_models.contract_model import ContractModel
from countline_models.deploy.child import child
from countline_models.deploy.probe import MEMORY_HINT
from countline_models.digests import file_digest

if TYPE_CHECKING:
    from countline_models.contract import Detections

PROBE: Final = (sys.executable, "-m", "countline_models.deploy.probe")
START_UP_S: Final = 60.0
"""Allowed for starting the process and importing ONNX Runtime; the model is not charged for it."""
TAIL_CHARS: Final = 400
LONGEST_LABEL: Final = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """Resources that a model may use."""

    max_bytes: int = 1 << 30
    """Size of the file."""
    check_timeout_s: float = 120.0
    """For reading the file and running six frames on one core."""
    max_latency_ms: float = 0.0
    """For one frame through Triton; 0 means no limit."""
    max_memory_bytes: int = 8 << 30
    """Memory of the check."""


USUAL_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class ExaminedModel:
    """A model that passed the examination."""

    file: Path
    digest: str
    """SHA-256 of the file, 64 hexadecimal digits."""
    size_bytes: int
    contract: ContractModel
    fused: str
    """How the network was read when it was fused, from the file; empty if the file does not say."""


async def examine(file: Path, labels: tuple[str, ...] | None, limits: Limits) -> ExaminedModel:
    """Check a model against the contract: format, names, types, shapes, labels, and its answers in a run.

    Args:
        file: the ONNX file.
        labels: class names that replace those in the file.
        limits: resources that it may use.

    Raises:
        NotFoundError: there is no such file.
        ResourceExhaustedError: the file is larger than allowed.
        InvalidInputError: the model is refused; the error says what is wrong, where, and what to do.
    """
    size_bytes = _size(file, limits)
    digest = await asyncio.to_thread(file_digest, file)
    found = await _probe(file, labels, limits)
    fields: dict[str, Any] = found["contract"]
    contract = ContractModel(**{**fields, "labels": tuple(fields["labels"])})
    check_labels(file.name, contract.labels)
    return ExaminedModel(file, digest, size_bytes, contract, str(found["fused"]))


def _size(file: Path, limits: Limits) -> int:
    check_file(file, "check the path of the model")
    size_bytes = file.stat().st_size
    if size_bytes == 0:
        raise InvalidInputError(f"{file.name} is empty", hint="export the network to ONNX again")
    if size_bytes > limits.max_bytes:
        raise ResourceExhaustedError(
            f"{file.name} has {size_bytes / 2**20:.1f} MiB, and {limits.max_bytes / 2**20:.1f} MiB are allowed",
            hint="export it in half precision, or raise the limit",
        )
    return size_bytes


def check_labels(shown: str, labels: tuple[str, ...]) -> None:
    """Check that class names can be written one per line and that people can distinguish them.

    Args:
        shown: name of the model in errors.
        labels: the class names.

    Raises:
        InvalidInputError: there are none, or one of them cannot be used.
    """
    hint = "give every class a name of its own, one per line: --labels FILE"
    if not labels:
        raise InvalidInputError(f"{shown} names no class, and cameras select classes by name", hint=hint)
    if bad := next((each for each in labels if not _is_name(each)), None):
        raise InvalidInputError(f"{shown}: {bad!r} cannot be the name of a class", hint=hint)
    if "" in labels:
        raise InvalidInputError(f"{shown}: class {labels.index('')} has an empty name", hint=hint)
    if twice := next((each for each in labels if labels.count(each) > 1), None):
        raise InvalidInputError(f"{shown} names the class {twice!r} twice", hint=hint)


def _is_name(label: str) -> bool:
    return label.isprintable() and label == label.strip() and len(label) <= LONGEST_LABEL


async def local_answers(file: Path, limits: Limits = USUAL_LIMITS) -> "Detections":
    """The answers of ONNX Runtime on this machine to `noise_frames`, in one batch: (3, max_detections, 6).

    Raises:
        InvalidInputError: the model cannot be run.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="countline-answers-") as folder:
        answers = Path(folder) / "answers.npy"
        await _probe(file, None, limits, answers)
        detections: Detections = np.load(answers, allow_pickle=False)
    return detections


async def _probe(
    file: Path, labels: tuple[str, ...] | None, limits: Limits, answers: Path | None = None
) -> dict[str, Any]:
    request = {
        "file": str(file),
        "labels": labels,
        "memory_bytes": limits.max_memory_bytes,
        "timeout_s": limits.check_timeout_s,
        "answers": None if answers is None else str(answers),
    }
    async with child(PROBE) as process:
        try:
            async with asyncio.timeout(limits.check_timeout_s + START_UP_S):
                stdout, stderr = await process.communicate(json.dumps(request).encode())
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"examining {file.name} took longer than {limits.check_timeout_s + START_UP_S:g} s",
                hint="try again when this machine is less busy",
            ) from error
    if process.returncode != 0:
        raise _ended(file.name, process.returncode or 0, stderr.decode(errors="replace"), limits)
    found: dict[str, Any] = json.loads(stdout)
    if "error" in found:
        raise _as_error(found["error"])
    return found


def _as_error(fields: dict[str, str]) -> CountlineError:
    kinds = {kind.code: kind for kind in (NotFoundError, InvalidInputError)}
    return kinds.get(fields["code"], CountlineError)(fields["message"], hint=fields["hint"])


def _ended(shown: str, status: int, stderr: str, limits: Limits) -> InvalidInputError:
    """The error for a child that ended without an answer."""
    if status == -signal.SIGALRM:
        return InvalidInputError(
            f"{shown} did not finish six frames within {limits.check_timeout_s:g} s",
            hint="export a smaller network, or look for a loop that does not end",
        )
    if status == -signal.SIGKILL:
        return InvalidInputError(
            f"the system killed {shown} while it ran, most likely because it used all memory", hint=MEMORY_HINT
        )
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    words = " ".join(stderr.split())[-TAIL_CHARS:]
    return InvalidInputError(
        f"{shown} crashes ONNX Runtime ({how}){f': {words}' if words else ''}",
        hint="export the network again with standard operators, or with another opset",
    )
