"""The detection contract, and how a model is held to it.

    input   frames      UINT8 [batch, height, width, 3]   RGB, letterboxed at the top left, the rest 114
    output  detections  FP32  [batch, max_detections, 6]  x1, y1, x2, y2 in pixels of that input, score, class;
                                                          unused rows have score 0

The batch is open. Class names and the score below which a detection is not worth believing travel in the ONNX file's
own metadata (`countline.labels`, a JSON list, and `countline.score_threshold`) until the model is put into a
repository, where they stand in labels.txt and config.pbtxt.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto

from countline_common.errors import InvalidInputError, NotFoundError
from countline_models.contract_model import ContractModel as ContractModel  # noqa: PLC0414  (the place where it is looked for)
from countline_models.labels import labels_for
from countline_models.noise import noise_frames
from countline_models.onnx.graph import (
    MAX_IR_VERSION,
    MAX_OPSET,
    MIN_OPSET,
    external_files,
    opset_of,
    real_inputs,
    shape_of,
)

INPUT_NAME: Final = "frames"
OUTPUT_NAME: Final = "detections"
LABELS_KEY: Final = "countline.labels"
SCORE_THRESHOLD_KEY: Final = "countline.score_threshold"
FUSED_KEY: Final = "countline.fused"
"""Metadata: how the network was read when it was fused, for people."""
DEFAULT_SCORE_THRESHOLD: Final = 0.3
SCORE_TOLERANCE: Final = 1e-3
SAME: Final = 1e-3
"""Detections that differ by less are the same: what is left of rounding in another order."""
FARTHEST: Final = 10.0
"""No box lies farther outside the input than so many of its sizes. Noise makes strange boxes, not such as these."""
EXPORT_HINT: Final = "export the network to ONNX again"
METADATA_HINT: Final = "write it anew, as `countline models fuse MODEL.onnx --labels FILE -o OUT.onnx` does"
FUSE_HINT: Final = "make it one: countline models fuse MODEL.onnx --head HEAD -o OUT.onnx"

Frames = NDArray[np.uint8]
Detections = NDArray[np.float32]


class ContractError(InvalidInputError):
    """A model breaks the detection contract."""

    def __init__(self, source: str, problem: str, hint: str = FUSE_HINT) -> None:
        super().__init__(f"{source} breaks the detection contract: {problem}", hint=hint)


def read_model(source: Path | bytes, name: str | None = None) -> onnx.ModelProto:
    """Read an ONNX file and have it checked by ONNX itself.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is no ONNX model, or a broken one.
    """
    model, shown = _parse(source, name)
    _check_graph(model, shown)
    return model


def _parse(source: Path | bytes, name: str | None) -> tuple[onnx.ModelProto, str]:
    """The model as it is written, and what to call it."""
    shown = name or (source.name if isinstance(source, Path) else "the model")
    if isinstance(source, Path) and not source.is_file():
        raise NotFoundError(f"there is no file {source}", hint="check the path of the model")
    data = source.read_bytes() if isinstance(source, Path) else source
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise _no_model(shown, error) from error
    if not model.HasField("graph"):
        raise InvalidInputError(
            f"{shown} is not an ONNX model: {'it holds no graph' if data else 'it is empty'}", hint=EXPORT_HINT
        )
    return model, shown


def _check_graph(model: onnx.ModelProto, shown: str) -> None:
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise _no_model(shown, error) from error


def _no_model(shown: str, error: Exception) -> InvalidInputError:
    return InvalidInputError(f"{shown} is not an ONNX model: {_first_line(error)}", hint=EXPORT_HINT)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def looks_like_contract(model: onnx.ModelProto) -> bool:
    """Whether a model means to obey the contract, by the names of its input and output."""
    names = [value.name for value in real_inputs(model)], [value.name for value in model.graph.output]
    return names == ([INPUT_NAME], [OUTPUT_NAME])


def check_contract(
    source: Path | bytes, name: str | None = None, *, labels: tuple[str, ...] | None = None, run: bool = True
) -> ContractModel:
    """Hold a model to the contract.

    Args:
        source: an ONNX file or its bytes.
        name: what to call it in errors; the file's name without one.
        labels: class names in place of those that the file carries.
        run: also run it, with one frame and with three, and look at what comes out.

    Returns:
        The model, with the labels given where there are any.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is no ONNX model, or the labels do not fit it.
        ContractError: it breaks the contract; the message says where.
    """
    model, shown = _parse(source, name)
    _check_format(model, shown)  # first: the checker of ONNX has other words for it
    _check_graph(model, shown)
    height, width = _check_input(model, shown)
    max_detections, carried = _check_output(model, shown), _labels(model, shown)
    names = carried if labels is None else labels_for(len(carried), labels) if carried else labels
    contract = ContractModel(height, width, max_detections, names, _score_threshold(model, shown))
    if run:
        _check_run(model.SerializeToString(), contract, shown)
    return contract


def _check_format(model: onnx.ModelProto, shown: str) -> None:
    """Hold its version, and where its weights are, to what the supported containers of Triton can read."""
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
    if places := external_files(model):
        raise ContractError(
            shown,
            f"it keeps weights in {', '.join(places)}, and a contract model is one file",
            "save it as one file: onnx.save(onnx.load(FILE), OUT, save_as_external_data=False)",
        )


def _check_input(model: onnx.ModelProto, shown: str) -> tuple[int, int]:
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
            raise ContractError(shown, found, _hint_of_sizes(batch, inputs[0]))
        case shape:
            raise ContractError(shown, f"{INPUT_NAME!r} must be [batch, height, width, 3], and is {_dims(shape)}")


def _hint_of_sizes(batch: int | None, frames: onnx.ValueInfoProto) -> str:
    """For frames of the right axes, one of which is fixed or open and must not be."""
    if batch is not None:
        return f"export the network with a dynamic batch axis, and {FUSE_HINT}"
    open_sizes = [dim.dim_param or "?" for dim in frames.type.tensor_type.shape.dim[1:3] if not dim.dim_value]
    return (
        f"fix {' and '.join(open_sizes)}: python -m onnxruntime.tools.make_dynamic_shape_fixed MODEL.onnx OUT.onnx "
        "--dim_param NAME --dim_value PIXELS; or fuse the network again with --size WxH"
    )


def _check_output(model: onnx.ModelProto, shown: str) -> int:
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


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """What the file says of itself."""
    return {entry.key: entry.value for entry in model.metadata_props}


def _labels(model: onnx.ModelProto, shown: str) -> tuple[str, ...]:
    try:
        labels: Any = json.loads(metadata_of(model).get(LABELS_KEY, "[]"))
    except json.JSONDecodeError:
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ContractError(shown, f"its metadata {LABELS_KEY} is no JSON list of names", METADATA_HINT)
    return tuple(labels)


def _score_threshold(model: onnx.ModelProto, shown: str) -> float:
    text = metadata_of(model).get(SCORE_THRESHOLD_KEY, str(DEFAULT_SCORE_THRESHOLD))
    try:
        threshold = float(text)
    except ValueError as error:
        problem = f"its metadata {SCORE_THRESHOLD_KEY} is no number: {text!r}"
        raise ContractError(shown, problem, METADATA_HINT) from error
    if not 0.0 <= threshold < 1.0:
        problem = f"its metadata {SCORE_THRESHOLD_KEY} is {text}, and must lie between 0 and 1"
        raise ContractError(shown, problem, METADATA_HINT)
    return threshold


def set_metadata(model: onnx.ModelProto, labels: tuple[str, ...], score_threshold: float) -> None:
    """Write class names and score threshold into a model's metadata."""
    ours = {LABELS_KEY: json.dumps(list(labels)), SCORE_THRESHOLD_KEY: f"{score_threshold:g}"}
    kept = {key: value for key, value in metadata_of(model).items() if key not in ours}
    onnx.helper.set_model_props(model, {**kept, **ours})


def open_session(model: bytes, threads: int = 1) -> ort.InferenceSession:
    """Open a model in ONNX Runtime on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_contract(session: ort.InferenceSession, frames: Frames) -> Detections:
    """Run a contract model on frames (n, height, width, 3); returns (n, max_detections, 6)."""
    detections: Detections = session.run([OUTPUT_NAME], {INPUT_NAME: frames})[0]
    return detections


def _check_run(model: bytes, contract: ContractModel, shown: str) -> None:
    frames = noise_frames(contract.height, contract.width)
    try:
        session = open_session(model)
        together, alone = run_contract(session, frames), [run_contract(session, frame[None]) for frame in frames[::2]]
        again = run_contract(session, frames[:1])
    except Exception as error:
        hint = f"export the network with standard operators and a dynamic batch axis, and {FUSE_HINT}"
        raise ContractError(shown, f"ONNX Runtime cannot run it: {_first_line(error)}", hint) from error
    for batch, detections in ((1, alone[0]), (3, together)):
        if detections.shape != (batch, contract.max_detections, 6):
            raise ContractError(shown, f"a batch of {batch} gives {list(detections.shape)}")
    if not np.array_equal(alone[0], again, equal_nan=True):
        raise ContractError(
            shown,
            "it answers the same frame differently a second time",
            f"export the network in evaluation mode, without random operators, and {FUSE_HINT}",
        )
    _check_answers(together, contract, shown)
    if not np.allclose(np.concatenate(alone), together[::2], atol=SAME):
        raise ContractError(
            shown,
            "a frame gets other detections in a batch than alone",
            f"export the network in evaluation mode and with a dynamic batch axis, and {FUSE_HINT}",
        )


def _check_answers(detections: Detections, contract: ContractModel, shown: str) -> None:
    """Hold what came out (n, max_detections, 6) to what boxes, scores and classes can be."""
    if not np.isfinite(detections).all():
        raise ContractError(
            shown, "it answers numbers that are not finite", f"look for a division by zero, or float16, and {FUSE_HINT}"
        )
    scores = detections[..., 4]
    if scores.min(initial=0.0) < -SCORE_TOLERANCE or scores.max(initial=0.0) > 1.0 + SCORE_TOLERANCE:
        found = f"its scores reach from {scores.min():.4g} to {scores.max():.4g}, and must lie within 0 and 1"
        raise ContractError(shown, found, f"{FUSE_HINT} --scores logits")
    used = detections[scores > 0.0]
    size = np.array([contract.width, contract.height] * 2)
    if np.any((used[:, :4] < -FARTHEST * size) | (used[:, :4] > (1.0 + FARTHEST) * size)):
        found = (
            f"its boxes reach {np.abs(used[:, :4]).max():.4g} pixels, in frames of {contract.width}x{contract.height}"
        )
        raise ContractError(shown, found, f"answer corners in pixels of the input, or {FUSE_HINT} --boxes pixels")
    _check_classes(used[:, 5], contract.labels, shown)


def _check_classes(classes: NDArray[np.float32], labels: tuple[str, ...], shown: str) -> None:
    if np.any(classes != np.round(classes)) or classes.min(initial=0.0) < 0.0:
        strange = next(value for value in classes.tolist() if value != round(value) or value < 0)
        raise ContractError(shown, f"it answers the class {strange:g}, and classes are whole numbers from 0")
    if labels and classes.max(initial=0.0) >= len(labels):
        raise ContractError(
            shown,
            f"it answers class {int(classes.max())}, and there are {len(labels)} labels: {', '.join(labels[:10])}",
            "give a label for every class, in the model's order: --labels FILE",
        )
