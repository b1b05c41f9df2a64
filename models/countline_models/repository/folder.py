"""Triton's model repository on a file system, changed in whole steps.

    <root>/<name>/config.pbtxt         which versions are served, and how
                 /labels.txt           class names, one a line
                 /<version>/model.onnx
    <root>/countline-staging-<hex>/    a candidate under validation, laid out likewise with version 1
    <root>/.new-<hex>, <root>/<name>/.new-<hex>, .old-<hex>    half done, or on its way out

Everything is written beside its place, synchronised, and renamed into it. So a Triton that loads meanwhile sees the old
or the new; a process killed in the middle leaves what `unstage_all` sweeps up. Version folders change nothing by
themselves: what is served stands in config.pbtxt, which is replaced last. One process writes at a time.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from countline_common.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from countline_common.triton.model_config import DEFAULT_SCORE_THRESHOLD, model_info
from countline_common.triton.models import NAME_HINT, NAME_PATTERN, ModelRefusedError
from countline_models.contract_model import ContractModel
from countline_models.deploy.examination import Candidate, file_digest
from countline_models.repository.config import (
    UNTUNED,
    Backend,
    Target,
    Tuning,
    as_overrides,
    backend_of,
    config_text,
    parse_config,
    target_of,
    tuning_of,
)

STAGING_PREFIX: Final = "countline-staging-"
FRESH_PREFIX: Final = ".new-"
DOOMED_PREFIX: Final = ".old-"
MODEL_FILE: Final = "model.onnx"
MODEL_FILES: Final = (MODEL_FILE, "model.plan")
"""What a version may be: ours, or a plan that somebody built (`countline_models.deploy.tensorrt`)."""
CONFIG_FILE: Final = "config.pbtxt"
LABELS_FILE: Final = "labels.txt"
NUMBER_HINT: Final = "take the next number; what is served is never changed in place"
VERSION_PATTERN: Final = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version that lies in the folder."""

    version: int
    digest: str
    """SHA-256 of the file, 64 hexadecimal digits."""
    size_bytes: int
    score_threshold: float = DEFAULT_SCORE_THRESHOLD


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that lies in the folder."""

    name: str
    contract: ContractModel
    versions: tuple[FoundVersion, ...]
    """Ascending."""
    served: tuple[int, ...]
    """Those of its versions that its configuration names; all where it names none."""
    tuning: Tuning = UNTUNED
    target: Target = Target.CPU
    backend: Backend = Backend.ONNXRUNTIME

    @property
    def thresholds(self) -> dict[int, float]:
        """The score thresholds of its versions."""
        return {each.version: each.score_threshold for each in self.versions}


def check_name(name: str) -> None:
    """Hold a name to what Triton, a file system and our staging can live with.

    Raises:
        InvalidInputError: it cannot be the name of a model.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInputError(f"{name!r} cannot be the name of a model", hint=NAME_HINT)
    if name.startswith(STAGING_PREFIX):
        raise InvalidInputError(
            f"{name!r} cannot be the name of a model: {STAGING_PREFIX}… is for candidates", hint="choose another --name"
        )


class ModelFolder:
    """Triton's repository on a file system; synchronous.

    Args:
        root: made where it does not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def stage(self, candidate: Candidate, target: Target = Target.CPU) -> str:
        """Put a candidate beside the models, as version 1 of a name of its own; returns that name."""
        name = f"{STAGING_PREFIX}{secrets.token_hex(6)}"

        def fill(folder: Path) -> None:
            (folder / "1").mkdir()
            _write(folder / "1" / MODEL_FILE, candidate.file)
            _write(folder / LABELS_FILE, _label_lines(candidate.contract.labels))
            _write(folder / CONFIG_FILE, config_text(name, candidate.contract, [1], target=target))

        with _writing(self.root):
            _make(self.root / name, fill)
        return name

    def unstage(self, name: str) -> None:
        """Take a staged candidate away; nothing happens where there is none.

        Raises:
            InvalidInputError: the name is not one that `stage` gives.
        """
        if not name.startswith(STAGING_PREFIX) or not NAME_PATTERN.fullmatch(name):
            raise InvalidInputError(f"{name!r} is no staged candidate")
        _drop(self.root / name)

    def unstage_all(self) -> list[str]:
        """Take away what earlier, interrupted work left behind; returns the names of staged candidates."""
        staged = sorted(path.name for path in self._models() if path.name.startswith(STAGING_PREFIX))
        for name in staged:
            self.unstage(name)
        for litter in [*self._hidden(self.root), *(each for model in self._models() for each in self._hidden(model))]:
            shutil.rmtree(litter) if litter.is_dir() else litter.unlink(missing_ok=True)
        return staged

    def write_version(self, name: str, version: int, file: Path, *, replace: bool = False) -> None:
        """Put the file of a version into the folder; it is served once `serve` names it.

        Args:
            name: of the model.
            version: its number.
            file: the model.
            replace: also where the version is served and its file is another one, such as a damaged one.

        Raises:
            InvalidInputError: the name or number cannot be used.
            AlreadyExistsError: that version is served, and is another file.
        """
        check_name(name)
        if version < 1:
            raise InvalidInputError(f"{version} is no version", hint="versions are numbers from 1")
        place = self.root / name / str(version)
        with _writing(self.root):
            if place.is_dir():
                if self.digest(name, version) == file_digest(file):
                    return
                if version in self._served(name) and not replace:
                    raise AlreadyExistsError(f"{name}@{version} is served, and is another model", hint=NUMBER_HINT)
                _drop(place)  # of a deployment that was broken off
            self._pin(name)
            _make(place, lambda folder: _write(folder / MODEL_FILE, file))

    def _pin(self, name: str) -> None:
        """Name the versions that are served where a configuration leaves it to Triton, which takes the newest.

        Otherwise a Triton that restarts now would serve a version that was never tried.
        """
        from google.protobuf import text_format

        file = self.root / name / CONFIG_FILE
        if not file.is_file():
            return
        config = self.config(name)
        if not config.version_policy.HasField("specific"):
            config.version_policy.specific.versions[:] = self.versions(name)
            _replace(file, text_format.MessageToString(config))

    def serve(
        self,
        name: str,
        versions: Sequence[int],
        contract: ContractModel,
        tuning: Tuning = UNTUNED,
        target: Target = Target.CPU,
        backend: Backend = Backend.ONNXRUNTIME,
        thresholds: Mapping[int, float] | None = None,
    ) -> None:
        """Write labels.txt and config.pbtxt, so that the next load serves these versions; with none, loading fails.

        Raises:
            InvalidInputError: the name cannot be used.
            NotFoundError: the folder has not all of these versions.
        """
        check_name(name)
        missing = sorted(set(versions) - set(self.versions(name)))
        if missing:
            raise NotFoundError(f"{self.root} has no file of {name}@{missing[0]}", hint="deploy that version again")
        folder = self.root / name
        with _writing(self.root):
            folder.mkdir(parents=True, exist_ok=True)
            _replace(folder / LABELS_FILE, _label_lines(contract.labels))
            text = config_text(name, contract, versions, tuning, target, backend, thresholds)
            _replace(folder / CONFIG_FILE, text)

    def remove(self, name: str, version: int = 0) -> None:
        """Delete a version, or with 0 the whole model; nothing happens where there is none.

        Raises:
            InvalidInputError: the name cannot be used.
        """
        check_name(name)
        with _writing(self.root):
            _drop(self.root / name / str(version) if version else self.root / name)

    def names(self) -> list[str]:
        """Names of the folders that have a configuration, in alphabetical order; staged candidates are left out."""
        names = sorted(path.name for path in self._models() if (path / CONFIG_FILE).is_file())
        return [name for name in names if not name.startswith(STAGING_PREFIX)]

    def find(self, name: str) -> FoundModel:
        """The model that lies there under a name.

        Raises:
            NotFoundError: there is none.
            InvalidInputError: its configuration cannot be read, or breaks the detection contract.
        """
        config = self.config(name)
        labels = self._labels(name)
        try:
            info = model_info(as_overrides(config), 0, labels)
        except ModelRefusedError as error:
            raise InvalidInputError(f"{self.root / name}: {error}", hint=error.hint) from error
        contract = ContractModel(info.height, info.width, info.max_detections, labels, info.score_threshold)
        files = self._files(name)
        told = as_overrides(config)
        versions = [
            FoundVersion(each, file_digest(file), file.stat().st_size, model_info(told, each, labels).score_threshold)
            for each, file in files.items()
        ]
        how = tuning_of(config), target_of(config), backend_of(config)
        return FoundModel(name, contract, tuple(versions), self._served(name), *how)

    def digest(self, name: str, version: int) -> str | None:
        """SHA-256 of a version's file, 64 hexadecimal digits; None where there is none."""
        file = self._files(name).get(version)
        return None if file is None else file_digest(file)

    def config(self, name: str) -> Any:
        """A model's configuration, as Triton's `ModelConfig` message.

        Raises:
            NotFoundError: there is none.
            InvalidInputError: it cannot be read.
        """
        file = self.root / name / CONFIG_FILE
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no model {name!r} in {self.root}", hint="deploy it first") from error
        return parse_config(text, str(file))

    def _served(self, name: str) -> tuple[int, ...]:
        """Versions that the configuration names and the folder has; all of it where it names none."""
        there = self.versions(name)
        if not (self.root / name / CONFIG_FILE).is_file():
            return ()
        policy = self.config(name).version_policy
        return tuple(v for v in there if v in policy.specific.versions) if policy.HasField("specific") else there

    def versions(self, name: str) -> tuple[int, ...]:
        """Numbers of the versions whose files are there, ascending."""
        return tuple(self._files(name))

    def _files(self, name: str) -> dict[int, Path]:
        """The model file of each version, ascending."""
        files = [file for pattern in MODEL_FILES for file in (self.root / name).glob(f"*/{pattern}")]
        numbered = {int(file.parent.name): file for file in files if VERSION_PATTERN.fullmatch(file.parent.name)}
        return dict(sorted(numbered.items()))

    def _labels(self, name: str) -> tuple[str, ...]:
        file = self.root / name / LABELS_FILE
        return tuple(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else ()

    def _models(self) -> list[Path]:
        there = self.root.iterdir() if self.root.is_dir() else iter(())
        return [path for path in there if path.is_dir() and NAME_PATTERN.fullmatch(path.name)]

    def _hidden(self, folder: Path) -> Iterator[Path]:
        there = folder.iterdir() if folder.is_dir() else iter(())
        return (path for path in there if path.name.startswith((FRESH_PREFIX, DOOMED_PREFIX)))


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Say what a disk's refusal means."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ResourceExhaustedError(
                f"there is no room left for models in {root}",
                hint="free some space, or delete versions that are retired",
            ) from error
        raise UnavailableError(
            f"the model repository {root} cannot be changed: {error}", hint="see who may write there, and its disk"
        ) from error


def _label_lines(labels: Sequence[str]) -> str:
    return "".join(f"{label}\n" for label in labels)


def _make(place: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder that is there as a whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.parent / f"{FRESH_PREFIX}{secrets.token_hex(6)}"
    fresh.mkdir()
    try:
        fill(fresh)
        for folder in [*(path for path in fresh.iterdir() if path.is_dir()), fresh]:
            _sync(folder)
        fresh.rename(place)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _sync(place.parent)


def _replace(file: Path, text: str) -> None:
    """Replace a file at once."""
    fresh = file.with_name(f"{FRESH_PREFIX}{secrets.token_hex(6)}")
    try:
        _write(fresh, text)
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync(file.parent)


def _drop(place: Path) -> None:
    """Delete a folder: gone at once, whatever deleting what it holds takes."""
    doomed = place.parent / f"{DOOMED_PREFIX}{secrets.token_hex(6)}"
    try:
        place.rename(doomed)
    except FileNotFoundError:
        return
    _sync(place.parent)
    shutil.rmtree(doomed)


def _write(file: Path, content: str | Path) -> None:
    """Write text, or a copy of another file, down to the disk."""
    with file.open("xb") as out:
        if isinstance(content, str):
            out.write(content.encode())
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())


def _sync(folder: Path) -> None:
    """Have what was renamed in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
