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
from countline_models.graph import real_inputs, shape_of

INPUT_NAME: Final = "frames"
OUTPUT_NAME: Final = "detections"
LABELS_KEY: Final = "countline.labels"
SCORE_THRESHOLD_KEY: Final = "countline.score_threshold"
DEFAULT_SCORE_THRESHOLD: Final = 0.3
FUSE_CURE: Final = "make it one: countline models fuse MODEL.onnx --head HEAD -o OUT.onnx"

Frames = NDArray[np.uint8]
Detections = NDArray[np.float32]


class ContractError(InvalidInputError):
    """A model breaks the detection contract."""

    def __init__(self, source: str, problem: str, cure: str = FUSE_CURE) -> None:
        super().__init__(f"{source} breaks the detection contract: {problem}", cure=cure)


def read_model(source: Path | bytes, name: str | None = None) -> onnx.ModelProto:
    """Read an ONNX file and have it checked by ONNX itself.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is no ONNX model, or a broken one.
    """
    shown = name or (source.name if isinstance(source, Path) else "the model")
    if isinstance(source, Path) and not source.is_file():
        raise NotFoundError(f"there is no file {source}", cure="check the path of the model")
    try:
        model = onnx.load_model_from_string(source.read_bytes() if isinstance(source, Path) else source)
        onnx.checker.check_model(model)
    except Exception as error:
        raise InvalidInputError(
            f"{shown} is not an ONNX model: {_first_line(error)}", cure="export the network to ONNX again"
        ) from error
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def looks_like_contract(model: onnx.ModelProto) -> bool:
    """Whether a model means to obey the contract, by the names of its input and output."""
    names = [value.name for value in real_inputs(model)], [value.name for value in model.graph.output]
    return names == ([INPUT_NAME], [OUTPUT_NAME])


def check_contract(source: Path | bytes, name: str | None = None, *, run: bool = True) -> ContractModel:
    """Hold a model to the contract.

    Args:
        source: an ONNX file or its bytes.
        name: what to call it in errors; the file's name without one.
        run: also run it, with one frame and with three, and look at what comes out.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is no ONNX model.
        ContractError: it breaks the contract; the message says where.
    """
    model = read_model(source, name)
    shown = name or (source.name if isinstance(source, Path) else "the model")
    height, width = _check_input(model, shown)
    contract = ContractModel(
        height, width, _check_output(model, shown), _labels(model, shown), _score_threshold(model, shown)
    )
    if run:
        _check_run(model.SerializeToString(), contract, shown)
    return contract


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
        case shape:
            raise ContractError(shown, f"{INPUT_NAME!r} must be [batch, height, width, 3], and is {_dims(shape)}")


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


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _labels(model: onnx.ModelProto, shown: str) -> tuple[str, ...]:
    try:
        labels: Any = json.loads(_metadata(model).get(LABELS_KEY, "[]"))
    except json.JSONDecodeError:
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ContractError(shown, f"its metadata {LABELS_KEY} is no JSON list of names")
    return tuple(labels)


def _score_threshold(model: onnx.ModelProto, shown: str) -> float:
    text = _metadata(model).get(SCORE_THRESHOLD_KEY, str(DEFAULT_SCORE_THRESHOLD))
    try:
        return float(text)
    except ValueError as error:
        raise ContractError(shown, f"its metadata {SCORE_THRESHOLD_KEY} is no number: {text!r}") from error


def set_metadata(model: onnx.ModelProto, labels: tuple[str, ...], score_threshold: float) -> None:
    """Write class names and score threshold into a model's metadata."""
    ours = {LABELS_KEY: json.dumps(list(labels)), SCORE_THRESHOLD_KEY: f"{score_threshold:g}"}
    kept = {key: value for key, value in _metadata(model).items() if key not in ours}
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
    # Noise that is the same for everybody: an even picture would leave most of a graph untouched.
    frames = np.random.default_rng(0).integers(0, 256, (3, contract.height, contract.width, 3), np.uint8)
    try:
        session = open_session(model)
        alone, together = run_contract(session, frames[:1]), run_contract(session, frames)
    except Exception as error:
        raise ContractError(shown, f"ONNX Runtime cannot run it: {_first_line(error)}") from error
    for batch, detections in ((1, alone), (3, together)):
        if detections.shape != (batch, contract.max_detections, 6):
            raise ContractError(shown, f"a batch of {batch} gives {list(detections.shape)}")
        if not np.isfinite(detections).all():
            raise ContractError(shown, "it answers numbers that are not finite")
    if not np.allclose(alone[0], together[0], atol=1e-3):
        raise ContractError(shown, "a frame gets other detections in a batch than alone")
