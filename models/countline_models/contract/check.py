"""Reads a model file and checks it against the contract."""

from pathlib import Path

import onnx

from countline_common.errors import InvalidInputError
from countline_common.files.text_files import check_file, is_lfs_pointer, lfs_pointer_error
from countline_models.contract.answers import check_answers
from countline_models.contract.errors import EXPORT_HINT
from countline_models.contract.metadata import labels_in, score_threshold_in
from countline_models.contract.signature import INPUT_NAME, OUTPUT_NAME, check_format, check_input, check_output
from countline_models.contract_model import ContractModel
from countline_models.labels import labels_for
from countline_models.onnx.graph import real_inputs
from countline_models.onnx.session import first_line


def check_contract(
    source: Path | bytes, name: str | None = None, *, labels: tuple[str, ...] | None = None, run: bool = True
) -> ContractModel:
    """Check a model against the contract.

    Args:
        source: an ONNX file or its bytes.
        name: name of the model in errors; by default the file's name.
        labels: class names that replace those in the file.
        run: also run the model, with one frame and with three, and check its answers.

    Returns:
        What the model declares, with `labels` if they are given.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file is not an ONNX model, or the labels do not fit it.
        ContractError: the model breaks the contract; the message says where.
    """
    model, shown = _parse(source, name)
    check_format(model, shown)  # before ONNX's checker, whose messages about versions are harder to understand
    _check_graph(model, shown)
    height, width = check_input(model, shown)
    max_detections, carried = check_output(model, shown), labels_in(model, shown)
    names = carried if labels is None else labels_for(len(carried), labels) if carried else labels
    contract = ContractModel(height, width, max_detections, names, score_threshold_in(model, shown))
    if run:
        check_answers(model.SerializeToString(), contract, shown)
    return contract


def read_model(source: Path | bytes) -> onnx.ModelProto:
    """Read an ONNX file and run ONNX's own checker on it.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file is not an ONNX model, or a broken one.
    """
    model, shown = _parse(source, None)
    _check_graph(model, shown)
    return model


def looks_like_contract(model: onnx.ModelProto) -> bool:
    """Whether the names of a model's input and output are those of the contract."""
    names = [value.name for value in real_inputs(model)], [value.name for value in model.graph.output]
    return names == ([INPUT_NAME], [OUTPUT_NAME])


def _parse(source: Path | bytes, name: str | None) -> tuple[onnx.ModelProto, str]:
    """The model as written in the file, and its name in errors."""
    shown = name or (source.name if isinstance(source, Path) else "the model")
    if isinstance(source, Path):
        check_file(source, "check the path of the model")
    data = source.read_bytes() if isinstance(source, Path) else source
    if is_lfs_pointer(data):
        raise lfs_pointer_error(shown)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise _not_a_model(shown, error) from error
    if not model.HasField("graph"):
        reason = "it has no graph" if data else "it is empty"
        raise InvalidInputError(f"{shown} is not an ONNX model: {reason}", hint=EXPORT_HINT)
    return model, shown


def _check_graph(model: onnx.ModelProto, shown: str) -> None:
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise _not_a_model(shown, error) from error


def _not_a_model(shown: str, error: Exception) -> InvalidInputError:
    return InvalidInputError(f"{shown} is not an ONNX model: {first_line(error)}", hint=EXPORT_HINT)
