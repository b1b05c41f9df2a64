"""Makes a contract model out of a detector as its authors export it, by surgery on the ONNX graph.

    frames uint8 NHWC RGB -> channel order, float, scale -> network -> head -> NMS per class -> packing -> detections

What differs between families of networks is in `countline_models.heads`; everything here is the same for all. The
packing keeps the `max_detections` best of each frame, best first. Detections of one class suppress each other, those of
different classes do not: an object that looks like two things is reported as both.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from countline_common.errors import InvalidInputError
from countline_models.contract import DEFAULT_SCORE_THRESHOLD, INPUT_NAME, OUTPUT_NAME, check_contract, set_metadata
from countline_models.graph import GraphBuilder, drop_unused_constants, make_batch_dynamic, opset_of, real_inputs
from countline_models.heads import Candidates, Head, Preprocessing, Signature
from countline_models.labels import labels_for

MIN_OPSET: Final = 11
"""NonMaxSuppression and TopK as used here exist from then on."""
MAX_OPSET: Final = 21
"""Newest that the ONNX Runtime of the supported Triton containers knows."""
MAX_IR_VERSION: Final = 10


@dataclass(frozen=True, slots=True)
class FuseOptions:
    """What may be chosen about a contract model."""

    size_hw: tuple[int, int] | None = None
    """Height and width of the input; as exported without it."""
    max_detections: int = 100
    nms_iou: float = 0.45
    """Boxes of one class that overlap more are one object."""
    score_floor: float = 0.05
    """Detections below it are dropped inside the graph. Low: trackers use weak detections to hold on to objects."""
    score_threshold: float = DEFAULT_SCORE_THRESHOLD
    """Written into the model: detections below it start no track."""

    def __post_init__(self) -> None:
        for name, value in (("nms_iou", self.nms_iou), ("score_floor", self.score_floor)):
            if not 0.0 < value < 1.0:
                raise InvalidInputError(f"{name} must lie between 0 and 1, not {value:g}")
        if not self.score_floor <= self.score_threshold < 1.0:
            raise InvalidInputError(
                f"the score threshold {self.score_threshold:g} must lie between the floor {self.score_floor:g} and 1"
            )
        if self.max_detections < 1:
            raise InvalidInputError("max_detections must be at least 1")


def fuse(
    network: onnx.ModelProto, head: Head, labels: tuple[str, ...] | None = None, options: FuseOptions | None = None
) -> onnx.ModelProto:
    """Make a contract model.

    Args:
        network: a detector with one picture input, NCHW float32; left as it is.
        head: what decodes it.
        labels: class names; without them COCO's for 80 classes.
        options: sizes and thresholds.

    Returns:
        A model that `check_contract` has run and found good.

    Raises:
        InvalidInputError: the network does not fit the head or the options, or uses an opset that is not supported.
    """
    options = options or FuseOptions()
    model = onnx.ModelProto()
    model.CopyFrom(network)
    _check_opset(model)
    signature = Signature.of(model)
    size_hw = _size(signature, options)
    head.check(signature, size_hw)
    make_batch_dynamic(model)
    _prepend_preprocessing(model, head.preprocessing, size_hw)
    classes = _append_decoding(model, head, signature, size_hw, options)
    drop_unused_constants(model)
    set_metadata(model, labels_for(classes, labels), options.score_threshold)
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    check_contract(model.SerializeToString(), "the fused model")
    return model


def _check_opset(model: onnx.ModelProto) -> None:
    opset = opset_of(model)
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise InvalidInputError(
            f"the model uses ONNX opset {opset}; {MIN_OPSET} to {MAX_OPSET} are supported",
            cure="export it again, for example with opset 17",
        )


def _size(signature: Signature, options: FuseOptions) -> tuple[int, int]:
    if len(signature.inputs) != 1 or len(signature.inputs[0][1]) != 4 or signature.inputs[0][1][1] not in {3, None}:
        raise InvalidInputError(f"the network must have one input [batch, 3, height, width]; this one: {signature}")
    size_hw = options.size_hw or signature.size_hw
    if size_hw is None:
        raise InvalidInputError("the network leaves the size of its input open", cure="say it: --size WxH")
    return size_hw


def _prepend_preprocessing(model: onnx.ModelProto, wanted: Preprocessing, size_hw: tuple[int, int]) -> None:
    network_input = real_inputs(model)[0]
    kind = network_input.type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        raise InvalidInputError(f"the network's input must be float32, not {TensorProto.DataType.Name(kind)}")
    build = GraphBuilder(model, "before")
    # Reordered while still bytes: a quarter of the memory to move.
    planes = build.transpose(INPUT_NAME, 0, 3, 1, 2)
    if wanted.bgr:
        planes = build.op("Gather", planes, build.ints(2, 1, 0), axis=1)
    picture = build.cast(planes, TensorProto.FLOAT)
    _normalise(build, picture, wanted, network_input.name)
    build.prepend()
    model.graph.input.remove(network_input)
    frames = helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", *size_hw, 3])
    model.graph.input.insert(0, frames)


def _normalise(build: GraphBuilder, picture: str, wanted: Preprocessing, output: str) -> None:
    """(value * scale - mean) / std as one multiplication and one addition; none where they would change nothing."""
    std = np.array(wanted.std, np.float32)
    factor = (np.float32(wanted.scale) / std).reshape(1, 3, 1, 1)
    shift = (-np.array(wanted.mean, np.float32) / std).reshape(1, 3, 1, 1)
    if np.any(factor != 1.0):
        picture = build.op("Mul", picture, build.constant(factor))
    if np.any(shift != 0.0):
        picture = build.op("Add", picture, build.constant(shift))
    build.op("Identity", picture, output=output)


def _append_decoding(
    model: onnx.ModelProto, head: Head, signature: Signature, size_hw: tuple[int, int], options: FuseOptions
) -> int:
    build = GraphBuilder(model, "after")
    outputs = [value.name for value in model.graph.output]
    candidates = head.decode(build, outputs, signature, size_hw)
    _pack(build, candidates, _select(build, candidates, options), options.max_detections)
    build.append()
    del model.graph.output[:]
    shape: list[str | int | None] = ["batch", options.max_detections, 6]
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, shape))
    return candidates.classes


def _select(build: GraphBuilder, candidates: Candidates, options: FuseOptions) -> str:
    """Non-maximum suppression per class: [M, 3] int64 rows of frame, class and candidate."""
    return build.op(
        "NonMaxSuppression",
        candidates.boxes,
        candidates.scores,
        build.ints(options.max_detections),
        build.constant(np.array([options.nms_iou], np.float32)),
        build.constant(np.array([options.score_floor], np.float32)),
    )


def _pack(build: GraphBuilder, candidates: Candidates, chosen: str, max_detections: int) -> None:
    """From M detections of all frames to the rows of the contract.

    The detections are sorted by frame and falling score in one go. A detection's row is its place in that order less
    the number of detections of earlier frames; those without a row are dropped. Doubles hold frame and score in one
    number without rounding, so that a frame's order does not depend on its batch.
    """
    scores = build.op("GatherND", candidates.scores, chosen)
    frame = build.reshape(build.slice(chosen, 0, 1, 1), -1)
    key = build.op(
        "Sub",
        build.cast(scores, TensorProto.DOUBLE),
        build.op("Mul", build.cast(frame, TensorProto.DOUBLE), build.constant(np.array(2.0, np.float64))),
    )
    total = build.size(chosen, 0)
    _, order = build.ops("TopK", key, total, outputs=[build.name("key"), build.name("order")], axis=0)
    chosen = build.op("Gather", chosen, order, axis=0)
    rows = _rows(build, chosen, build.op("Gather", scores, order, axis=0), candidates)
    batch = build.size(candidates.boxes, 0)
    places = _places(build, chosen, batch)
    has_row = build.op("Less", build.reshape(build.slice(places, 1, 2, 1), -1), build.ints(max_detections))
    shape = build.op("Concat", batch, build.ints(max_detections, 6), axis=0)
    build.op(
        "ScatterND",
        build.op("Expand", build.constant(np.zeros((1, 1, 1), np.float32)), shape),
        build.op("Compress", places, has_row, axis=0),
        build.op("Compress", rows, has_row, axis=0),
        output=OUTPUT_NAME,
    )


def _rows(build: GraphBuilder, chosen: str, scores: str, candidates: Candidates) -> str:
    """[M, 6]: box, score, class."""
    frame_and_box = build.op("Gather", chosen, build.ints(0, 2), axis=1)
    boxes = build.op("GatherND", candidates.boxes, frame_and_box)
    classes = build.cast(build.slice(chosen, 1, 2, 1), TensorProto.FLOAT)
    return build.op("Concat", boxes, build.reshape(scores, -1, 1), classes, axis=1)


def _places(build: GraphBuilder, chosen: str, batch: str) -> str:
    """[M, 2]: frame and row of each detection, given in order of frame and falling score."""
    frame = build.slice(chosen, 0, 1, 1)
    one = build.constant(np.array(1, np.int64))
    zero = build.constant(np.array(0, np.int64))
    frames = build.op("Range", zero, build.op("Squeeze", batch), one)
    earlier = build.op("Less", frame, build.reshape(frames, 1, -1))  # [M, batch]: detection m lies before frame b
    starts = build.reduce_sum(build.cast(earlier, TensorProto.INT64), 0)
    start = build.op("Gather", build.reshape(starts, -1), frame, axis=0)
    count = build.op("Squeeze", build.size(chosen, 0))
    position = build.reshape(build.op("Range", zero, count, one), -1, 1)
    return build.op("Concat", frame, build.op("Sub", position, start), axis=1)
