"""Makes a repository of any ONNX file, so that Triton can serve it: `countline count` asks for this."""

import re
from dataclasses import dataclass
from pathlib import Path

from countline_common.errors import AlreadyExistsError
from countline_common.files.output_files import refuse_input
from countline_models.contract import looks_like_contract
from countline_models.contract_model import ContractModel
from countline_models.fusing.files import fuse_file
from countline_models.onnx.reading import network_files, read_network
from countline_models.repository.adding import add_model
from countline_models.repository.names import MODEL_FILE


@dataclass(frozen=True, slots=True)
class RepositoryModel:
    """A model that `prepare` put into a repository."""

    name: str
    head: str
    """The head that was fused; empty if the file was a contract model."""
    contract: ContractModel


def prepare(file: Path, out: Path, head_name: str | None, labels: tuple[str, ...] | None) -> RepositoryModel:
    """Put a model into a repository of its own; a network that is not a contract model is fused first.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it cannot be made a contract model, or it is the file that the new model would replace.
        AlreadyExistsError: the folder has a model of this name. The user did not write the name, so it stays.
    """
    name = model_name(file)
    refuse_input("--out", out / name / "1" / MODEL_FILE, network_files(file))
    if (out / name).exists():
        raise AlreadyExistsError(
            f"{out / name} already exists",
            hint="name another folder with --out; `countline models add` adds a version to a model",
        )
    if head_name is None and looks_like_contract(read_network(file)):
        return RepositoryModel(name, "", add_model(file, name, out, labels=labels))
    fused, head = fuse_file(file, head_name, labels)
    return RepositoryModel(name, head, add_model(fused.SerializeToString(), name, out))


def model_name(file: Path) -> str:
    """The name of a model after its file: characters that Triton does not allow become dashes.

    >>> model_name(Path("/models/My net (v2).onnx"))
    'My-net-v2'
    """
    return re.sub(r"[^A-Za-z0-9_.]+", "-", file.stem).strip("-._")[:60] or "model"
