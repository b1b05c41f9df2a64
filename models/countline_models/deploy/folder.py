"""Triton's model repository on a file system, changed in whole steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from countline_models.contract_model import ContractModel
from countline_models.deploy.config import Target, Tuning
from countline_models.deploy.examination import Candidate

UNTUNED = Tuning()


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version that lies in the folder."""

    version: int
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that lies in the folder."""

    name: str
    contract: ContractModel
    versions: tuple[FoundVersion, ...]
    served: tuple[int, ...]


class ModelFolder:
    """Triton's repository on a file system; synchronous."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def stage(self, candidate: Candidate, target: Target = Target.CPU) -> str:
        """Put a candidate beside the models under a name of its own; returns it."""
        raise NotImplementedError

    def unstage(self, name: str) -> None:
        """Take a staged candidate away; nothing happens where there is none."""
        raise NotImplementedError

    def unstage_all(self) -> list[str]:
        """Take away what earlier deployments left behind; returns their names."""
        raise NotImplementedError

    def write_version(self, name: str, version: int, file: Path) -> None:
        """Put the file of a version into the folder."""
        raise NotImplementedError

    def serve(
        self,
        name: str,
        versions: Sequence[int],
        contract: ContractModel,
        tuning: Tuning = UNTUNED,
        target: Target = Target.CPU,
    ) -> None:
        """Write config.pbtxt and labels.txt, so that the next load serves these versions."""
        raise NotImplementedError

    def remove(self, name: str, version: int = 0) -> None:
        """Delete a version, or with 0 the whole model; nothing happens where there is none."""
        raise NotImplementedError

    def found(self) -> list[FoundModel]:
        """The models that lie there, by name."""
        raise NotImplementedError

    def digest(self, name: str, version: int) -> str | None:
        """SHA-256 of a version's file; None where there is none."""
        raise NotImplementedError
