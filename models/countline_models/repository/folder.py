"""Triton's model repository on a file system.

    <root>/<name>/config.pbtxt         which versions are served, and how
                 /labels.txt           class names, one a line
                 /<version>/model.onnx
    <root>/countline-staging-<hex>/    a model under validation, laid out in the same way with version 1
    <root>/.new-<hex>, <root>/<name>/.new-<hex>, .old-<hex>    unfinished changes

Each change is atomic (`countline_common.triton.storage`), so a Triton that loads meanwhile sees the old state or
the new one. Version folders change nothing by themselves: config.pbtxt says what is served, and it is replaced last.
Only one process writes at a time.
"""

import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from countline_common.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from countline_common.triton.models import NAME_PATTERN
from countline_common.triton.storage import (
    drop_folder,
    leftovers,
    make_folder,
    replace_file,
    repository_errors,
    write,
)
from countline_models.contract_model import ContractModel
from countline_models.digests import file_digest
from countline_models.repository.config import config_text, labels_text
from countline_models.repository.names import (
    CONFIG_FILE,
    LABELS_FILE,
    MODEL_FILE,
    STAGING_PREFIX,
    check_name,
    check_version,
)
from countline_models.repository.reader import FoundModel, ModelReader
from countline_models.repository.settings import UNTUNED, ModelBackend, ModelTarget, Tuning

NUMBER_HINT: Final = "use the next number; a served version is never changed in place"


class ModelFolder(ModelReader):
    """A model repository that can be changed; synchronous.

    Args:
        root: its folder; made if it does not exist.
    """

    def stage(self, file: Path, contract: ContractModel, target: ModelTarget = ModelTarget.CPU) -> str:
        """Put a model under validation into the repository, as version 1 of a name of its own; returns that name."""
        name = f"{STAGING_PREFIX}{secrets.token_hex(6)}"

        def fill(folder: Path) -> None:
            (folder / "1").mkdir()
            write(folder / "1" / MODEL_FILE, file)
            write(folder / LABELS_FILE, labels_text(contract.labels))
            write(folder / CONFIG_FILE, config_text(name, contract, [1], target=target))

        with repository_errors(self.root):
            make_folder(self.root / name, fill)
        return name

    def unstage(self, name: str) -> None:
        """Delete a staged model; a missing one is no error.

        Raises:
            InvalidInputError: `stage` does not give such names.
        """
        if not name.startswith(STAGING_PREFIX) or not NAME_PATTERN.fullmatch(name):
            raise InvalidInputError(f"{name!r} is not a staged model")
        drop_folder(self.root / name)

    def unstage_all(self) -> list[str]:
        """Delete what interrupted work left behind; returns the names of staged models."""
        staged = sorted(path.name for path in self._folders() if path.name.startswith(STAGING_PREFIX))
        for name in staged:
            self.unstage(name)
        for path in [*leftovers(self.root), *(each for model in self._folders() for each in leftovers(model))]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return staged

    def write_version(self, name: str, version: int, file: Path, *, replace: bool = False) -> None:
        """Put the file of a version into the repository; it is served once `serve` names it.

        Args:
            name: name of the model.
            version: its number.
            file: the model.
            replace: also replace the file of a served version that differs, for example a damaged one.

        Raises:
            InvalidInputError: the name or number cannot be used.
            AlreadyExistsError: that version is served, and its file is another one.
        """
        check_name(name)
        check_version(version)
        place = self.root / name / str(version)
        with repository_errors(self.root):
            if place.is_dir():
                if self.digest(name, version) == file_digest(file):
                    return
                if version in self.served(name) and not replace:
                    raise AlreadyExistsError(f"{name}@{version} is served, and is another model", hint=NUMBER_HINT)
                drop_folder(place)  # left by an interrupted deployment
            self._pin(name)
            make_folder(place, lambda folder: write(folder / MODEL_FILE, file))

    def _pin(self, name: str) -> None:
        """Name the served versions in a configuration that leaves the choice to Triton, which takes the newest.

        Otherwise a Triton that restarts now would serve a version that was never validated.
        """
        from google.protobuf import text_format

        file = self.root / name / CONFIG_FILE
        if not file.is_file():
            return
        config = self.config(name)
        if not config.version_policy.HasField("specific"):
            config.version_policy.specific.versions[:] = self.versions(name)
            replace_file(file, text_format.MessageToString(config))

    def add(
        self, name: str, version: int, model: Path | bytes, contract: ContractModel, *, replace: bool = False
    ) -> None:
        """Put a version into the repository and serve it, without a service that validates it.

        If the configuration names the served versions, the new one joins them. If it names none, Triton takes the
        newest. How Triton runs the model stays as it was.

        Args:
            name: name of the model.
            version: its number.
            model: the ONNX file, or its bytes.
            contract: what the model declares.
            replace: replace the file of an existing version.

        Raises:
            InvalidInputError: the name or number cannot be used.
            AlreadyExistsError: that version exists, or the name is that of a model of another kind.
        """
        check_name(name)
        check_version(version)
        place = self.root / name / str(version)
        if version in self.versions(name) and not replace:
            raise AlreadyExistsError(
                f"{self.root} already has version {version} of {name!r}", hint="give another --name or --version"
            )
        before = self._own(name)
        with repository_errors(self.root):
            if place.is_dir():
                replace_file(place / MODEL_FILE, model, beside=place.parent)
            else:
                make_folder(place, lambda folder: write(folder / MODEL_FILE, model))
            named = self.named(name)
            versions = None if named is None else [*named, version]
            if before is None:
                self._write_config(name, contract, versions)
            else:
                others = {each: score for each, score in before.thresholds.items() if each != version}
                self._write_config(name, contract, versions, before.tuning, before.target, before.backend, others)

    def _own(self, name: str) -> FoundModel | None:
        """Return the contract model of a name; None if the name is free.

        Raises:
            AlreadyExistsError: the folder has a configuration of another kind, which a new one would replace.
        """
        if not (self.root / name / CONFIG_FILE).is_file():
            return None
        try:
            return self.find(name)
        except InvalidInputError as error:
            raise AlreadyExistsError(
                f"{self.root / name} is a model of another kind: {error.message}",
                hint="give another --name, or another folder; nothing was changed",
            ) from error

    def serve(
        self,
        name: str,
        versions: Sequence[int],
        contract: ContractModel,
        tuning: Tuning = UNTUNED,
        target: ModelTarget = ModelTarget.CPU,
        backend: ModelBackend = ModelBackend.ONNXRUNTIME,
        thresholds: Mapping[int, float] | None = None,
    ) -> None:
        """Write labels.txt and config.pbtxt, so that the next load serves these versions; without any, loading fails.

        Raises:
            InvalidInputError: the name cannot be used.
            NotFoundError: the repository lacks one of these versions.
        """
        check_name(name)
        missing = sorted(set(versions) - set(self.versions(name)))
        if missing:
            raise NotFoundError(f"{self.root} has no file of {name}@{missing[0]}", hint="deploy that version again")
        with repository_errors(self.root):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            self._write_config(name, contract, versions, tuning, target, backend, thresholds)

    def _write_config(
        self,
        name: str,
        contract: ContractModel,
        versions: Sequence[int] | None,
        tuning: Tuning = UNTUNED,
        target: ModelTarget = ModelTarget.CPU,
        backend: ModelBackend = ModelBackend.ONNXRUNTIME,
        thresholds: Mapping[int, float] | None = None,
    ) -> None:
        replace_file(self.root / name / LABELS_FILE, labels_text(contract.labels))
        text = config_text(name, contract, versions, tuning, target, backend, thresholds)
        replace_file(self.root / name / CONFIG_FILE, text)

    def remove(self, name: str, version: int = 0) -> None:
        """Delete a version, or with 0 the whole model; a missing one is no error.

        Raises:
            InvalidInputError: the name cannot be used.
        """
        check_name(name)
        with repository_errors(self.root):
            drop_folder(self.root / name / str(version) if version else self.root / name)
