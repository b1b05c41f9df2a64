"""Fuses a network that lies in a file."""

from pathlib import Path

import onnx

from countline_common.errors import InvalidInputError
from countline_models.fusing.fuse import fuse_network
from countline_models.fusing.options import FuseOptions
from countline_models.heads import head_named, recognise
from countline_models.onnx.network import Network
from countline_models.onnx.reading import read_network


def fuse_file(
    file: Path, head_name: str | None, labels: tuple[str, ...] | None, options: FuseOptions | None = None
) -> tuple[onnx.ModelProto, str]:
    """Read a network and make a contract model of it.

    Args:
        file: the ONNX file.
        head_name: head that decodes the network; None recognises it from the graph.
        labels: class names; by default those in the file, or COCO's for 80 classes.
        options: sizes, thresholds, classes, and facts about the network.

    Returns:
        The contract model, and the name of the head.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file is not an ONNX model, or no head fits it; the message names the file.
    """
    options = options or FuseOptions()
    given = head_named(head_name) if head_name else None
    read = read_network(file)
    try:
        source = Network(read, options.network_options(labels))
        head = given or recognise(source)
        return fuse_network(source, head, options), head.name
    except InvalidInputError as error:
        raise InvalidInputError(f"{file.name}: {error}", hint=error.hint) from error
