"""A contract model in eight bits, by ONNX Runtime's static quantisation.

Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html. The graph is simplified first.
Activations become unsigned and weights signed, which x86 processors multiply fastest. CPU, TensorRT and OpenVINO read
the QDQ format. Only the core of the graph is quantised (`parts`), so decoding and NMS are neither calibrated nor
changed. The same model, frames and options give the same bytes.
"""

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from countline_common.errors import InvalidInputError
from countline_models.contract import INPUT_NAME, check_contract
from countline_models.onnx.graph import opset_of, sort_nodes
from countline_models.onnx.session import first_line
from countline_models.quantize.frames import Frames
from countline_models.quantize.parts import CONVOLUTIONS, GraphParts, cut_out, find_parts, name_nodes, put_back

PER_CHANNEL_OPSET: Final = 13
"""The first in which DequantizeLinear has an axis."""
PERCENTILE: Final = 99.99
"""Share of activations, in percent, that the range covers; the others are clipped."""
QUANTIZED_KEY: Final = "countline.quantized"
_PRE_PROCESSED: Final = ("onnx.quant.pre_process", "onnxruntime.quant")
"""Metadata of a simplified model; without it ONNX Runtime advises to simplify the model."""

Format = Literal["qdq", "qoperator"]
Calibration = Literal["percentile", "minmax"]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the quantisation."""

    format: Format = "qdq"
    per_channel: bool = True
    """A scale for each channel of the weights; a single scale erases small weights of depthwise convolutions."""
    calibration: Calibration = "percentile"
    exclude: tuple[str, ...] = ()
    """Patterns of names or kinds of nodes that stay in floating point."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """A model in eight bits."""

    model: bytes
    parts: GraphParts
    convolutions: int
    """Convolutions of the model."""
    convolutions_eight_bit: int


def quantize(source: bytes, frames: Frames, options: Options, on_frame: Callable[[], None] = lambda: None) -> Quantized:
    """Quantise a contract model.

    Args:
        source: the ONNX file's bytes.
        frames: frames to calibrate on, (n, height, width, 3), as the model gets them.
        options: options of the quantisation.
        on_frame: called after each frame.

    Raises:
        InvalidInputError: nothing in the model can be quantised, or ONNX Runtime fails; the message says why.
        ContractError: the result breaks the contract.
    """
    original = onnx.load_model_from_string(source)
    with tempfile.TemporaryDirectory(prefix="countline-quantize-") as folder, _refusals():
        model = _simplified(original, Path(folder))
        parts = find_parts(model, options.exclude)
        core = _quantized(cut_out(model, parts), parts, _Reader(frames, on_frame), options, Path(folder))
    result = put_back(model, core, parts)
    sort_nodes(result)
    kept = {entry.key: entry.value for entry in original.metadata_props}
    inner, convolutions = _convolutions(model, parts)
    onnx.helper.set_model_props(result, {**kept, QUANTIZED_KEY: _described(options, len(frames), inner, convolutions)})
    data: bytes = result.SerializeToString(deterministic=True)
    check_contract(data, "the quantised model")
    return Quantized(data, parts, convolutions, inner)


def _convolutions(model: onnx.ModelProto, parts: GraphParts) -> tuple[int, int]:
    names = [node.name for node in model.graph.node if node.op_type in CONVOLUTIONS]
    return len(set(names) & set(parts.eight_bit)), len(names)


def _described(options: Options, frames: int, inner: int, convolutions: int) -> str:
    weights = "per channel" if options.per_channel else "per tensor"
    return f"int8 {options.format}, {weights}, {options.calibration} of {frames} frames, {inner}/{convolutions} Conv"


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn errors of the libraries into errors with a hint, and discard what they print."""
    try:
        with redirect_stdout(io.StringIO()):
            yield
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError(
            f"ONNX Runtime cannot quantise it: {first_line(error)}",
            hint="export the network with opset 13 or later, or exclude the named node: --exclude NAME",
        ) from error


def _simplified(original: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The model with folded constants, inferred shapes and named nodes, in an opset that supports quantising."""
    model = onnx.ModelProto.FromString(original.SerializeToString())
    if opset_of(model) < PER_CHANNEL_OPSET:
        model = onnx.version_converter.convert_version(model, PER_CHANNEL_OPSET)
    plain, simple = folder / "plain.onnx", folder / "simple.onnx"
    onnx.save(model, plain)
    # Symbolic shapes are needed for transformers only, and need sympy.
    quant_pre_process(str(plain), str(simple), skip_symbolic_shape=True)
    found: onnx.ModelProto = onnx.load(simple)
    name_nodes(found)
    return found


def _quantized(
    core: onnx.ModelProto, parts: GraphParts, reader: "_Reader", options: Options, folder: Path
) -> onnx.ModelProto:
    onnx.helper.set_model_props(core, dict([_PRE_PROCESSED]))
    source, target = folder / "core.onnx", folder / "quantized.onnx"
    onnx.save(core, source)
    chosen = set(parts.eight_bit)
    quantize_static(
        str(source),
        str(target),
        reader,
        quant_format=QuantFormat.QDQ if options.format == "qdq" else QuantFormat.QOperator,
        # Named explicitly: by default ONNX Runtime uses all types in an order that differs in every process.
        op_types_to_quantize=sorted({node.op_type for node in core.graph.node if node.name in chosen}),
        per_channel=options.per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=list(parts.eight_bit),
        calibrate_method=CalibrationMethod.Percentile
        if options.calibration == "percentile"
        else CalibrationMethod.MinMax,
        # Frame by frame: all activations of all frames at once would need gigabytes.
        extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
    )
    quantized: onnx.ModelProto = onnx.load(target)
    return quantized


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Gives the calibration frames one by one, in order."""

    def __init__(self, frames: Frames, on_frame: Callable[[], None]) -> None:
        self._frames = frames
        self._on_frame = on_frame
        self._next = self._end = 0

    def __len__(self) -> int:
        return len(self._frames)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Set the range of the next frames."""
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Any] | None:
        """The next frame as the model's input; None after the last of the range."""
        if self._next >= self._end:
            return None
        frame = self._frames[self._next : self._next + 1]
        self._next += 1
        self._on_frame()
        return {INPUT_NAME: frame}
