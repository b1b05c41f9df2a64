"""Models for a command that runs a Triton of its own: found by name, or made of an ONNX file."""

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countline_common.cli.child_commands import call
from countline_common.errors import CountlineError, NotFoundError
from countline_common.files.text_files import LFS_POINTER, is_lfs_pointer, lfs_pointer_error, reading
from countline_common.settings import DataFolder
from countline_common.triton import ModelRef
from countline_common.triton.provider import PrivateTriton, triton_provider

PREPARE_TIMEOUT_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class PrivateModel:
    """A model in a folder that a private Triton can serve."""

    repository: Path
    name: str

    def check_files(self) -> None:
        """Check that the model's files are not pointers of Git LFS, which Triton cannot explain.

        Raises:
            InvalidInputError: a file is one.
        """
        for file in sorted((self.repository / self.name).glob("*/model.*")):
            with reading(file), file.open("rb") as begin:
                if is_lfs_pointer(begin.read(len(LFS_POINTER))):
                    raise lfs_pointer_error(file)


def find_model(name: str) -> PrivateModel:
    """A model by name: in this machine's repository, else among the shipped ones.

    Args:
        name: `NAME` or `NAME@VERSION`; the model's configuration says which versions are served.

    Raises:
        InvalidInputError: the name has neither form.
        NotFoundError: there is no model of this name.
    """
    name = ModelRef.parse(name).name
    for repository in _repositories():
        if (repository / name / "config.pbtxt").is_file():
            return PrivateModel(repository, name)
    known = ", ".join(known_models()) or "(none is installed)"
    raise NotFoundError(f"there is no model {name!r}", hint=f"give an ONNX file, or one of: {known}")


def known_models() -> list[str]:
    """Names of the models that `find_model` finds, in alphabetical order."""
    return sorted({path.parent.name for repository in _repositories() for path in repository.glob("*/config.pbtxt")})


def _repositories() -> list[Path]:
    own = DataFolder.resolve().models
    try:
        return [own, triton_provider().shipped_models()]
    except CountlineError:  # without the room that ships models, only this machine's own are there
        return [own]


def prepare_model(file: Path, head: str | None, labels: Path | None, out: Path) -> PrivateModel:
    """Make a contract model of an ONNX file.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file cannot become a contract model; the message is that of `countline models prepare`.
    """
    if not file.is_file():
        raise NotFoundError(f"there is no model file {file}", hint="check the path")
    command = ["models", "prepare", str(file), "--out", str(out), "--json"]
    command += ["--head", head] if head else []
    command += ["--labels", str(labels)] if labels else []
    output = call(*command, timeout_s=PREPARE_TIMEOUT_S, trouble=f"{file} cannot be made a model for counting")
    return PrivateModel(out, str(json.loads(output)["name"]))


def private_triton(repository: Path) -> AbstractContextManager[PrivateTriton]:
    """A Triton that serves a folder of models on free ports, as long as the block lasts.

    Raises:
        TritonProviderMissingError: no embedded Triton is installed.
    """
    return triton_provider().private_triton(repository)
