"""Reads a model repository."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.files.text_files import read_text
from countline_common.triton.model_config import DEFAULT_SCORE_THRESHOLD, model_info
from countline_common.triton.models import NAME_PATTERN, ModelRefusedError
from countline_models.contract_model import ContractModel
from countline_models.digests import file_digest
from countline_models.repository.names import CONFIG_FILE, LABELS_FILE, MODEL_FILES, STAGING_PREFIX, VERSION_PATTERN
from countline_models.repository.parsing import as_overrides, backend_of, parse_config, target_of, tuning_of
from countline_models.repository.settings import UNTUNED, ModelBackend, ModelTarget, Tuning


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version in a repository."""

    version: int
    digest: str
    """SHA-256 of the file, 64 hexadecimal digits."""
    size_bytes: int
    score_threshold: float = DEFAULT_SCORE_THRESHOLD


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model in a repository."""

    name: str
    contract: ContractModel
    versions: tuple[FoundVersion, ...]
    """Ascending."""
    served: tuple[int, ...]
    """The versions that the configuration names; all versions if it names none."""
    tuning: Tuning = UNTUNED
    target: ModelTarget = ModelTarget.CPU
    backend: ModelBackend = ModelBackend.ONNXRUNTIME

    @property
    def thresholds(self) -> dict[int, float]:
        """Score thresholds by version."""
        return {each.version: each.score_threshold for each in self.versions}


class ModelReader:
    """The models of a repository; synchronous.

    Args:
        root: folder of the repository.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Names of the models that have a configuration, in alphabetical order; without staged models."""
        names = sorted(path.name for path in self._folders() if (path / CONFIG_FILE).is_file())
        return [name for name in names if not name.startswith(STAGING_PREFIX)]

    def find(self, name: str) -> FoundModel:
        """The model of a name.

        Raises:
            NotFoundError: there is none.
            InvalidInputError: its configuration cannot be read, or breaks the detection contract.
        """
        config = self.config(name)
        labels = self._labels(name)
        fields = as_overrides(config)
        try:
            info = model_info(fields, 0, labels)
        except ModelRefusedError as error:
            raise InvalidInputError(f"{self.root / name}: {error}", hint=error.hint) from error
        contract = ContractModel(info.height, info.width, info.max_detections, labels, info.score_threshold)
        versions = [
            FoundVersion(each, file_digest(file), file.stat().st_size, model_info(fields, each, labels).score_threshold)
            for each, file in self._files(name).items()
        ]
        settings = tuning_of(config), target_of(config), backend_of(config)
        return FoundModel(name, contract, tuple(versions), self.served(name), *settings)

    def digest(self, name: str, version: int) -> str | None:
        """SHA-256 of a version's file, 64 hexadecimal digits; None if there is no file."""
        file = self._files(name).get(version)
        return None if file is None else file_digest(file)

    def config(self, name: str) -> Any:
        """A model's configuration, as Triton's `ModelConfig` message.

        Raises:
            NotFoundError: there is none.
            InvalidInputError: it cannot be read.
        """
        file = self.root / name / CONFIG_FILE
        if not file.is_file():
            raise NotFoundError(f"there is no model {name!r} in {self.root}", hint="deploy it first")
        return parse_config(read_text(file), str(file))

    def named(self, name: str) -> tuple[int, ...] | None:
        """The versions that the configuration names; None if there is no configuration, or if it names none."""
        if not (self.root / name / CONFIG_FILE).is_file():
            return None
        policy = self.config(name).version_policy
        return tuple(policy.specific.versions) if policy.HasField("specific") else None

    def served(self, name: str) -> tuple[int, ...]:
        """The named versions that have a file; all versions if the configuration names none."""
        if not (self.root / name / CONFIG_FILE).is_file():
            return ()
        versions, named = self.versions(name), self.named(name)
        return versions if named is None else tuple(version for version in versions if version in named)

    def versions(self, name: str) -> tuple[int, ...]:
        """Numbers of the versions that have a file, ascending."""
        return tuple(self._files(name))

    def _files(self, name: str) -> dict[int, Path]:
        """The model file of each version, ascending."""
        files = [file for pattern in MODEL_FILES for file in (self.root / name).glob(f"*/{pattern}")]
        numbered = {int(file.parent.name): file for file in files if VERSION_PATTERN.fullmatch(file.parent.name)}
        return dict(sorted(numbered.items()))

    def _labels(self, name: str) -> tuple[str, ...]:
        file = self.root / name / LABELS_FILE
        return tuple(read_text(file).splitlines()) if file.is_file() else ()

    def _folders(self) -> list[Path]:
        paths = self.root.iterdir() if self.root.is_dir() else iter(())
        return [path for path in paths if path.is_dir() and NAME_PATTERN.fullmatch(path.name)]
