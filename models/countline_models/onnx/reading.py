"""Reads a detector's ONNX file, with weights that it keeps in files beside it."""

from pathlib import Path
from typing import Final

import onnx
from onnx.external_data_helper import load_external_data_for_model

from countline_common.errors import InvalidInputError
from countline_common.files.text_files import LFS_POINTER, check_file, is_lfs_pointer, lfs_pointer_error, reading
from countline_models.onnx.graph import external_files, sort_nodes
from countline_models.onnx.session import first_line

MAX_BYTES: Final = 2**31 - 2**20
"""An ONNX file holds at most 2 GiB, and a contract model is one file."""


def read_network(file: Path) -> onnx.ModelProto:
    """Read an ONNX file, with the weights in files beside it.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file is not an ONNX model, is broken or too large, or weights are missing.
    """
    check_file(file, "check the path of the model")
    with reading(file), file.open("rb") as begin:
        if is_lfs_pointer(begin.read(len(LFS_POINTER))):
            raise lfs_pointer_error(file)
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception as error:
        raise _not_a_model(file, error) from error
    _load_weights(model, file)
    sort_nodes(model)
    if model.ByteSize() > MAX_BYTES:
        raise InvalidInputError(f"{file.name} is larger than 2 GiB", hint="export it in float16")
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise _not_a_model(file, error) from error
    return model


def network_files(file: Path) -> list[Path]:
    """Return an ONNX file and the files beside it that hold its weights; the file alone if it cannot be read."""
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception:  # noqa: BLE001  (`read_network` reports it)
        return [file]
    return [file, *(file.parent / name for name in external_files(model))]


def _not_a_model(file: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"{file.name} is not an ONNX model: {first_line(error)}", hint="export the network to ONNX again"
    )


def _load_weights(model: onnx.ModelProto, file: Path) -> None:
    names = external_files(model)
    try:
        load_external_data_for_model(model, str(file.parent))
    except Exception as error:
        raise InvalidInputError(
            f"{file.name} keeps weights in {', '.join(names)}, which cannot be read beside it: {first_line(error)}",
            hint=f"put {', '.join(names)} into the folder of {file.name}, or export it as one file",
        ) from error
