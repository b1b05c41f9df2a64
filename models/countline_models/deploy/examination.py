"""Everything that can be said of a model without Triton, found out in a process of its own."""

from dataclasses import dataclass
from pathlib import Path

from countline_models.contract_model import ContractModel


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may cost."""

    max_bytes: int = 1 << 30
    check_timeout_s: float = 120.0
    max_latency_ms: float = 0.0
    """Of one frame; 0 for no limit."""


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
    """Hold a model to the contract in a process of its own.

    Raises:
        CountlineError: it is refused; says why, and what to do.
    """
    raise NotImplementedError


def check_interchangeable(name: str, new: ContractModel, old: ContractModel) -> None:
    """Hold a new version to the one that its name stands for.

    Raises:
        InvalidInputError: they differ in what cameras rely on; says in what.
    """
    raise NotImplementedError
