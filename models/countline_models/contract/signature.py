"""Checks of what a model file declares: format, input and output. Nothing is run."""

import onnx
from onnx import TensorProto

from countline_common.triton.model_config import INPUT_NAME as INPUT_NAME  # noqa: PLC0414
from countline_common.triton.model_config import OUTPUT_NAME as OUTPUT_NAME  # noqa: PLC0414
from countline_models.contract.errors import FUSE_HINT, ContractError
from countline_models.onnx.graph import (
    MAX_IR_VERSION,
    MAX_OPSET,
    MIN_OPSET,
    external_files,
    opset_of,
    real_inputs,
    shape_of,
)


def check_format(model: onnx.ModelProto, shown: str) -> None:
    """Check opset, IR version and place of the weights: the supported containers of Triton must read the file.

    Args:
        model: the model.
        shown: name of the model in errors.

    Raises:
        ContractError: they cannot read it.
    """
    opset = opset_of(model)
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise ContractError(
            shown,
            f"it uses ONNX opset {opset}, and {MIN_OPSET} to {MAX_OPSET} are supported",
            f"export the network again, for example with opset 17, and {FUSE_HINT}",
        )
    if model.ir_version > MAX_IR_VERSION:
        raise ContractError(
            shown,
            f"its format is ONNX IR version {model.ir_version}, and up to {MAX_IR_VERSION} is supported",
            f"set it before it is saved: model.ir_version = {MAX_IR_VERSION}",
        )
    if files := external_files(model):
        raise ContractError(
            shown,
            f"it keeps weights in {', '.join(files)}, and a contract model is one file",
            "save it as one file: onnx.save(onnx.load(FILE), OUT, save_as_external_data=False)",
        )


def check_input(model: onnx.ModelProto, shown: str) -> tuple[int, int]:
    """Height and width of `frames`, in pixels.

    Raises:
        ContractError: there is another input, or it has another type or shape.
    """
    inputs = real_inputs(model)
    if [value.name for value in inputs] != [INPUT_NAME]:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ContractError(shown, f"it must have one input {INPUT_NAME!r}, and has: {names}")
    kind = inputs[0].type.tensor_type.elem_type
    if kind != TensorProto.UINT8:
        raise ContractError(shown, f"{INPUT_NAME!r} must be uint8, and is {_type_name(kind)}")
    match shape_of(inputs[0]):
        case [None, int(height), int(width), 3]:
            return height, width
        case [batch, height, width, 3]:
            found = f"{INPUT_NAME!r} must be [batch, height, width, 3], and is {_dims([batch, height, width, 3])}"
            raise ContractError(shown, found, _size_hint(batch, inputs[0]))
        case shape:
            raise ContractError(shown, f"{INPUT_NAME!r} must be [batch, height, width, 3], and is {_dims(shape)}")


def _size_hint(batch: int | None, frames: onnx.ValueInfoProto) -> str:
    """The hint for an input whose axes are right, but whose batch is fixed or whose height or width is open."""
    if batch is not None:
        return f"export the network with a dynamic batch axis, and {FUSE_HINT}"
    open_sizes = [dim.dim_param or "?" for dim in frames.type.tensor_type.shape.dim[1:3] if not dim.dim_value]
    return (
        f"fix {' and '.join(open_sizes)}: python -m onnxruntime.tools.make_dynamic_shape_fixed MODEL.onnx OUT.onnx "
        "--dim_param NAME --dim_value PIXELS; or fuse the network again with --size WxH"
    )


def check_output(model: onnx.ModelProto, shown: str) -> int:
    """Number of rows of `detections`.

    Raises:
        ContractError: there is another output, or it has another type or shape.
    """
    outputs = list(model.graph.output)
    if [value.name for value in outputs] != [OUTPUT_NAME]:
        names = ", ".join(value.name for value in outputs) or "none"
        raise ContractError(shown, f"it must have one output {OUTPUT_NAME!r}, and has: {names}")
    kind = outputs[0].type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        raise ContractError(shown, f"{OUTPUT_NAME!r} must be float32, and is {_type_name(kind)}")
    match shape_of(outputs[0]):
        case [None, int(max_detections), 6]:
            return max_detections
        case shape:
            raise ContractError(shown, f"{OUTPUT_NAME!r} must be [batch, max_detections, 6], and is {_dims(shape)}")


def _type_name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()


def _dims(shape: list[int | None]) -> str:
    return "[" + ", ".join("open" if size is None else str(size) for size in shape) + "]"
