"""From an ONNX file, whatever it is, to a model repository that Triton can serve: what `countline count` asks for."""

import re
from dataclasses import dataclass
from pathlib import Path

import onnx

from countline_common.errors import InvalidInputError
from countline_models.contract import ContractModel, looks_like_contract
from countline_models.heads import head_named, recognise
from countline_models.onnx.fuse import FuseOptions, fuse_network
from countline_models.onnx.network import Network, read_network
from countline_models.repository.writer import place_model


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model that lies in a repository."""

    name: str
    head: str
    """The head that was fused; empty for a model that obeyed the contract already."""
    contract: ContractModel


def fuse_file(
    file: Path, head_name: str | None, labels: tuple[str, ...] | None, options: FuseOptions | None = None
) -> tuple[onnx.ModelProto, str]:
    """Read a network and make a contract model of it.

    Args:
        file: the ONNX file.
        head_name: what decodes it; recognised from the graph without it.
        labels: class names; without them those that the file carries, or COCO's for 80 classes.
        options: sizes, thresholds, classes, and what is known about the network.

    Returns:
        The contract model, and the name of the head.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is no ONNX model, or its head is not known or does not fit; the message names the file.
    """
    options = options or FuseOptions()
    given = head_named(head_name) if head_name else None
    read = read_network(file)
    try:
        source = Network(read, options.told(labels))
        head = given or recognise(source)
        return fuse_network(source, head, options), head.name
    except InvalidInputError as error:
        raise InvalidInputError(f"{file.name}: {error}", hint=error.hint) from error


def prepare(file: Path, out: Path, head_name: str | None, labels: tuple[str, ...] | None) -> PreparedModel:
    """Put a model into a repository of its own, fused where it is not a contract model yet.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it cannot be made a contract model.
    """
    name = model_name(file)
    if head_name is None and looks_like_contract(read_network(file)):
        return PreparedModel(name, "", place_model(file, name, out, labels=labels, replace=True))
    fused, head = fuse_file(file, head_name, labels)
    return PreparedModel(name, head, place_model(fused.SerializeToString(), name, out, replace=True))


def model_name(file: Path) -> str:
    """A name for a model after its file: what Triton allows, the rest as dashes.

    >>> model_name(Path("/models/My net (v2).onnx"))
    'My-net-v2'
    """
    return re.sub(r"[^A-Za-z0-9_.]+", "-", file.stem).strip("-._")[:60] or "model"
