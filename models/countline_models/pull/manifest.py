"""The networks that `countline models pull` knows: their authors' addresses and the digests of their bytes.

The digest decides whether downloaded bytes are accepted. So each entry must name the source of its digest, such as the
Git LFS pointer in its authors' repository.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError

from countline_common.errors import FieldProblem, InvalidInputError, NotFoundError
from countline_common.files.text_files import read_text
from countline_models.labels import COCO_LABELS

COCO: Final = "coco"
"""Stands for the 80 class names of COCO instead of a list."""

Address = Annotated[HttpUrl, Field(description="http:// or https://")]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """The source of a digest."""

    repository: str
    path: str
    commit: Commit
    says: str


class KnownModel(_Strict):
    """A network that can be pulled."""

    name: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    architecture: str
    about: str = ""
    head: str
    """The head that decodes it, by its name in `countline models heads`."""
    licence: str
    licence_address: Address | None = None
    addresses: Annotated[tuple[Address, ...], Field(min_length=1)]
    """Addresses in order, the authors' own first; the next one is tried if one no longer offers the file."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(gt=0)]
    width: Annotated[int, Field(gt=0)]
    """Of the input, in pixels."""
    height: Annotated[int, Field(gt=0)]
    labels: tuple[str, ...] | str = COCO
    digest_from: Annotated[tuple[Source, ...], Field(min_length=1)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index."""
        return COCO_LABELS if isinstance(self.labels, str) else self.labels


class Manifest(_Strict):
    """Known networks."""

    models: tuple[KnownModel, ...]

    def named(self, name: str) -> KnownModel:
        """The network of that name.

        Raises:
            NotFoundError: the manifest does not have it.
        """
        for model in self.models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in self.models) or "none"
        raise NotFoundError(f"unknown network {name!r}", hint=f"choose one of: {known}; or give a --manifest")


def shipped_manifest() -> Manifest:
    """The manifest in this package."""
    name = "manifest.json"
    return parse_manifest(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"), name)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest from a file.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file is not a manifest; the error names each field.
    """
    return parse_manifest(read_text(path), str(path))


def parse_manifest(text: str, source: str) -> Manifest:
    """A manifest from its JSON."""
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        problems = tuple(
            FieldProblem(".".join(str(part) for part in problem["loc"]) or "it", problem["msg"])
            for problem in error.errors(include_url=False)
        )
        raise InvalidInputError(
            f"{source} is not a manifest of models",
            hint="use the form of `countline models pull --list --json`",
            fields=problems,
        ) from error
