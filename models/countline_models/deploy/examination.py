"""Everything that can be said of a model without Triton, found out in a process of its own.

A network is a program of strangers: it may hang, take all memory, or crash ONNX Runtime. So neither ONNX nor ONNX
Runtime is loaded here; a child looks (`countline_models.deploy.probe`), and its end is understood.
"""

import asyncio
import hashlib
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
from countline_models.contract_model import ContractModel
from countline_models.deploy.child import child
from countline_models.deploy.probe import MEMORY_HINT

if TYPE_CHECKING:
    from countline_models.contract import Detections

PROBE: Final = (sys.executable, "-m", "countline_models.deploy.probe")
START_UP_S: Final = 60.0
"""What starting a process and importing ONNX Runtime may take; it is no fault of the model's."""
TAIL_CHARS: Final = 400
LONGEST_LABEL: Final = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may cost."""

    max_bytes: int = 1 << 30
    """Of the file."""
    check_timeout_s: float = 120.0
    """For six frames on one core, and for reading the file."""
    max_latency_ms: float = 0.0
    """Of one frame through Triton; 0 for no limit."""
    max_memory_bytes: int = 8 << 30
    """That the check may take."""


USUAL_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that was found good."""

    file: Path
    digest: str
    """SHA-256 of the file, 64 hexadecimal digits."""
    size_bytes: int
    contract: ContractModel
    fused: str
    """How the network was read when it was fused, as the file says; empty where it says nothing."""


async def examine(file: Path, labels: tuple[str, ...] | None, limits: Limits) -> Candidate:
    """Hold a model to the contract: format, names, types, shapes, labels, and what it answers when it is run.

    Args:
        file: the ONNX file.
        labels: class names in place of those that the file carries.
        limits: what it may cost.

    Raises:
        NotFoundError: there is no such file.
        ResourceExhaustedError: it is larger than allowed.
        InvalidInputError: it is refused; says what was wrong, where, and what to do.
    """
    size_bytes = _size(file, limits)
    digest = await asyncio.to_thread(file_digest, file)
    found = await _probe(file, labels, limits)
    told: dict[str, Any] = found["contract"]
    contract = ContractModel(**{**told, "labels": tuple(told["labels"])})
    check_labels(file.name, contract.labels)
    return Candidate(file, digest, size_bytes, contract, str(found["fused"]))


def _size(file: Path, limits: Limits) -> int:
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}", hint="check the path of the model")
    size_bytes = file.stat().st_size
    if size_bytes == 0:
        raise InvalidInputError(f"{file.name} is empty", hint="export the network to ONNX again")
    if size_bytes > limits.max_bytes:
        raise ResourceExhaustedError(
            f"{file.name} has {size_bytes / 2**20:.1f} MiB, and {limits.max_bytes / 2**20:.1f} MiB are allowed",
            hint="export it in half precision, or have the limit raised",
        )
    return size_bytes


def file_digest(file: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_labels(shown: str, labels: tuple[str, ...]) -> None:
    """Hold class names to what labels.txt, one a line, and people can tell apart.

    Raises:
        InvalidInputError: there are none, or one of them cannot be used.
    """
    hint = "give every class a name of its own, one a line: --labels FILE"
    if not labels:
        raise InvalidInputError(f"{shown} names no class, and cameras choose what they count by name", hint=hint)
    if bad := next((each for each in labels if not _is_name(each)), None):
        raise InvalidInputError(f"{shown}: {bad!r} cannot be the name of a class", hint=hint)
    if "" in labels:
        raise InvalidInputError(f"{shown}: class {labels.index('')} has an empty name", hint=hint)
    if twice := next((each for each in labels if labels.count(each) > 1), None):
        raise InvalidInputError(f"{shown} names the class {twice!r} twice", hint=hint)


def _is_name(label: str) -> bool:
    return label.isprintable() and label == label.strip() and len(label) <= LONGEST_LABEL


async def local_answers(file: Path, limits: Limits = USUAL_LIMITS) -> "Detections":
    """What ONNX Runtime answers here to `noise_frames`, all in one batch: (3, max_detections, 6).

    Raises:
        InvalidInputError: it does not answer.
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
    order = {
        "file": str(file),
        "labels": labels,
        "memory_bytes": limits.max_memory_bytes,
        "timeout_s": limits.check_timeout_s,
        "answers": None if answers is None else str(answers),
    }
    async with child(PROBE) as process:
        try:
            async with asyncio.timeout(limits.check_timeout_s + START_UP_S):
                stdout, stderr = await process.communicate(json.dumps(order).encode())
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"looking into {file.name} took longer than {limits.check_timeout_s + START_UP_S:g} s",
                hint="try again when this machine is less busy",
            ) from error
    if process.returncode != 0:
        raise _ended(file.name, process.returncode or 0, stderr.decode(errors="replace"), limits)
    found: dict[str, Any] = json.loads(stdout)
    if "error" in found:
        raise _as_error(found["error"])
    return found


def _as_error(told: dict[str, str]) -> CountlineError:
    kinds = {kind.code: kind for kind in (NotFoundError, InvalidInputError)}
    return kinds.get(told["code"], CountlineError)(told["message"], hint=told["hint"])


def _ended(shown: str, status: int, stderr: str, limits: Limits) -> InvalidInputError:
    """What it means that the child ended before it could tell anything."""
    if status == -signal.SIGALRM:
        return InvalidInputError(
            f"{shown} was not done with six frames within {limits.check_timeout_s:g} s",
            hint="export a smaller network, or look for a loop that does not end",
        )
    if status == -signal.SIGKILL:
        return InvalidInputError(
            f"{shown} was ended by the system while it ran, most likely because it took all memory", hint=MEMORY_HINT
        )
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    words = " ".join(stderr.split())[-TAIL_CHARS:]
    return InvalidInputError(
        f"{shown} crashes ONNX Runtime ({how}){f': {words}' if words else ''}",
        hint="export the network again with standard operators, with another opset if need be",
    )


def check_interchangeable(name: str, new: ContractModel, old: ContractModel) -> None:
    """Hold a new version to the one that its name stands for: cameras go from one to the other without being asked.

    Raises:
        InvalidInputError: they differ in what cameras rely on; says in what.
    """
    differences = _differences(new, old)
    if differences:
        raise InvalidInputError(
            f"this model cannot be a version of {name!r}: {'; '.join(differences)}",
            hint="deploy it under another --name, and give that to the cameras",
        )


def _differences(new: ContractModel, old: ContractModel) -> list[str]:
    differences = []
    if (new.width, new.height) != (old.width, old.height):
        differences.append(f"its input is {new.width}x{new.height}, not {old.width}x{old.height}")
    if new.max_detections != old.max_detections:
        differences.append(f"it answers {new.max_detections} detections, not {old.max_detections}")
    if new.labels != old.labels:
        differences.append(f"its labels are {_shown(new.labels)}, not {_shown(old.labels)}")
    return differences


def _shown(labels: tuple[str, ...]) -> str:
    return (", ".join(labels[:8]) or "none") + (f", ... ({len(labels)})" if len(labels) > 8 else "")
