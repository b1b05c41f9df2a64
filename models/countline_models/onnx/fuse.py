"""Makes a contract model out of a detector as its authors export it, by surgery on the ONNX graph.

    frames uint8 NHWC RGB -> channel order, float, scale -> network -> head -> the best of each frame -> detections

What differs between families of networks is in `countline_models.heads`; everything here is the same for all.
Detections of one class suppress each other where the head needs it, those of different classes do not: an object that
looks like two things is reported as both.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from countline_common.errors import InvalidInputError
from countline_models.contract import (
    DEFAULT_SCORE_THRESHOLD,
    FUSED_KEY,
    INPUT_NAME,
    OUTPUT_NAME,
    SCORE_TOLERANCE,
    ContractError,
    check_contract,
    open_session,
    run_contract,
    set_metadata,
)
from countline_models.heads import Candidates, Head, Plan, Preprocessing
from countline_models.labels import chosen_classes, labels_for
from countline_models.onnx.batching import make_batch_dynamic
from countline_models.onnx.graph import MAX_IR_VERSION, GraphBuilder, drop_unused_constants
from countline_models.onnx.network import BoxUnit, Network, ScoreKind, Told
from countline_models.onnx.packing import pack_best, pack_suppressed

ChannelOrder = Literal["rgb", "bgr"]
ScaleOrder = Literal["scale-first", "mean-first"]


@dataclass(frozen=True, slots=True)
class FuseOptions:
    """What may be chosen about a contract model; None leaves it to the network or its head."""

    size_hw: tuple[int, int] | None = None
    """Height and width of the input; as exported without it."""
    max_detections: int = 100
    nms_iou: float | None = None
    """Boxes of one class that overlap more are one object; also for heads that need no suppression, if given."""
    score_floor: float = 0.05
    """Detections below it are dropped inside the graph. Low: trackers use weak detections to hold on to objects."""
    score_threshold: float = DEFAULT_SCORE_THRESHOLD
    """Written into the model: detections below it start no track."""
    classes: tuple[str, ...] | None = None
    """Names or indices of the classes to keep, in the order that they shall have."""
    boxes: BoxUnit | None = None
    scores: ScoreKind | None = None
    channel_order: ChannelOrder | None = None
    scale: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    scale_order: ScaleOrder | None = None
    """Whether the scale is applied before the mean is taken away, or after it."""

    def __post_init__(self) -> None:
        for name, value in (("nms_iou", self.nms_iou), ("score_floor", self.score_floor)):
            if value is not None and not 0.0 < value < 1.0:
                raise InvalidInputError(f"{name} must lie between 0 and 1, not {value:g}")
        if not self.score_floor <= self.score_threshold < 1.0:
            raise InvalidInputError(
                f"the score threshold {self.score_threshold:g} must lie between the floor {self.score_floor:g} and 1"
            )
        if self.max_detections < 1:
            raise InvalidInputError("max_detections must be at least 1")
        if self.std is not None and not all(value > 0.0 for value in self.std):
            raise InvalidInputError(f"std must be positive, not {self.std}")
        if self.scale is not None and not self.scale > 0.0:
            raise InvalidInputError(f"scale must be positive, not {self.scale:g}")

    def told(self, labels: tuple[str, ...] | None) -> Told:
        """What these options say about the network."""
        return Told(self.size_hw, labels, self.boxes, self.scores)

    def preprocessing(self, usual: Preprocessing) -> Preprocessing:
        """That of the head, with what was chosen instead."""
        chosen: dict[str, Any] = {
            "bgr": None if self.channel_order is None else self.channel_order == "bgr",
            "scale": self.scale,
            "mean": self.mean,
            "std": self.std,
            "mean_first": None if self.scale_order is None else self.scale_order == "mean-first",
        }
        return replace(usual, **{name: value for name, value in chosen.items() if value is not None})


def fuse(
    network: onnx.ModelProto, head: Head, labels: tuple[str, ...] | None = None, options: FuseOptions | None = None
) -> onnx.ModelProto:
    """Make a contract model.

    Args:
        network: a detector with one picture input, NCHW; left as it is.
        head: what decodes it.
        labels: class names; without them those that the file carries, or COCO's for 80 classes.
        options: sizes, thresholds, classes, and what is known about the network.

    Returns:
        A model that has been run and found good; its metadata `countline.fused` say how the network was read.

    Raises:
        InvalidInputError: the network does not fit the head or the options, or uses an opset that is not supported.
    """
    options = options or FuseOptions()
    return fuse_network(Network(network, options.told(labels)), head, options)


def fuse_network(source: Network, head: Head, options: FuseOptions) -> onnx.ModelProto:
    """As `fuse`, for a network of which something may be known already: what a run showed is not found out twice."""
    plan = head.plan(source)
    names = labels_for(plan.classes, source.labels or None)
    kept = chosen_classes(names, options.classes)
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    make_batch_dynamic(model, source)
    preprocessing = options.preprocessing(head.preprocessing)
    _prepend(model, source, preprocessing, plan)
    _append(model, plan, kept, options)
    drop_unused_constants(model)
    set_metadata(model, tuple(names[index] for index in kept), options.score_threshold)
    entry = model.metadata_props.add()
    entry.key, entry.value = FUSED_KEY, describe(head, plan, preprocessing, options)
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    verify(model.SerializeToString(), source)
    return model


def describe(head: Head, plan: Plan, preprocessing: Preprocessing, options: FuseOptions) -> str:
    """How a network was read and what was put around it, in one line."""
    nms_iou = options.nms_iou or plan.nms_iou
    order = "BGR" if preprocessing.bgr else "RGB"
    after = "suppressed per class above IoU " + f"{nms_iou:g}" if nms_iou else "not suppressed"
    return f"{head.name} {plan.found}; {order}, scale {preprocessing.scale:.6g}; {after}"


def _prepend(model: onnx.ModelProto, source: Network, wanted: Preprocessing, plan: Plan) -> None:
    build = GraphBuilder(model, "before")
    # Reordered while still bytes: a quarter of the memory to move.
    planes = build.transpose(INPUT_NAME, 0, 3, 1, 2)
    if wanted.bgr:
        planes = build.op("Gather", planes, build.ints(2, 1, 0), axis=1)
    picture = _normalise(build, build.cast(planes, TensorProto.FLOAT), wanted)
    build.op("Cast", picture, output=source.picture.name, to=source.picture.type.tensor_type.elem_type)
    _give_sizes(build, source, plan)
    build.prepend()
    for name in [source.picture.name, *(value.name for value in source.other_inputs)]:
        model.graph.input.remove(next(value for value in model.graph.input if value.name == name))
    frames = helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", *source.size_hw, 3])
    model.graph.input.insert(0, frames)


def _normalise(build: GraphBuilder, picture: str, wanted: Preprocessing) -> str:
    """(value * scale - mean) / std as one multiplication and one addition; none where they would change nothing."""
    std = np.array(wanted.std, np.float64)
    mean = np.array(wanted.mean, np.float64) * (wanted.scale if wanted.mean_first else 1.0)
    factor = (wanted.scale / std).reshape(1, 3, 1, 1).astype(np.float32)
    shift = (-mean / std).reshape(1, 3, 1, 1).astype(np.float32)
    if np.any(factor != 1.0):
        picture = build.op("Mul", picture, build.constant(factor))
    return build.op("Add", picture, build.constant(shift)) if np.any(shift != 0.0) else picture


def _give_sizes(build: GraphBuilder, source: Network, plan: Plan) -> None:
    """Feed the input that asks for the picture's size: the padded input's, so that boxes come back in its pixels."""
    others = {value.name: value for value in source.other_inputs}
    if set(others) != ({plan.sizes_input} if plan.sizes_input else set()):
        raise InvalidInputError(
            f"the network has inputs that nothing can be given to: {', '.join(others)} ({source.signature})",
            hint="export it with one input, or choose the --head that knows them",
        )
    for name, value in others.items():
        height, width = source.size_hw
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = build.op("Concat", build.size(INPUT_NAME, 0), build.ints(2), axis=0)
        build.op("Expand", build.constant(np.array([[width, height]], kind)), shape, output=name)


def _append(model: onnx.ModelProto, plan: Plan, kept: tuple[int, ...], options: FuseOptions) -> None:
    build = GraphBuilder(model, "after")
    outputs = [
        build.cast(value.name, TensorProto.FLOAT)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16
        else value.name
        for value in model.graph.output
    ]
    candidates = plan.decode(build, outputs)
    if kept != tuple(range(plan.classes)):
        candidates = Candidates(candidates.boxes, build.op("Gather", candidates.scores, build.ints(*kept), axis=1))
    nms_iou = options.nms_iou or plan.nms_iou
    if nms_iou:
        pack_suppressed(build, candidates, nms_iou, options.score_floor, options.max_detections)
    else:
        pack_best(build, candidates, options.score_floor, options.max_detections)
    build.append()
    del model.graph.output[:]
    shape: list[str | int | None] = ["batch", options.max_detections, 6]
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, shape))


def verify(data: bytes, source: Network) -> None:
    """Hold a fused model to the contract, and to answering the same twice.

    Raises:
        InvalidInputError: it does not; the message says what of the network is the cause where that can be told.
    """
    height, width = source.size_hw
    other_batches = "export it with a dynamic batch axis"
    problem, hint = "cannot be run", "export it again with standard operators only"
    if source.size_hw != source.exported_hw:
        problem, hint = f"cannot be run at {width}x{height}", "leave --size away, or export it at that size"
    try:
        session = open_session(data)
    except Exception as error:
        raise _unusable(problem, error, hint) from error
    _try_batch(session, source, 1, problem, hint)
    _try_batch(session, source, 3, "holds on to the batch size that it was exported with", other_batches)
    try:
        check_contract(data, "the fused model")
    except ContractError as error:
        hint = f"look at --head, --boxes and --scores; or {other_batches}"
        raise InvalidInputError(str(error), hint=hint) from error


def _try_batch(session: ort.InferenceSession, source: Network, batch: int, problem: str, hint: str) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (batch, *source.size_hw, 3), np.uint8)
    try:
        once, again = run_contract(session, frames), run_contract(session, frames)
    except Exception as error:
        raise _unusable(problem, error, hint) from error
    if once.shape[0] != batch:
        raise InvalidInputError(f"the network {problem}: {batch} frames give {once.shape[0]} answers", hint=hint)
    if once[..., 4].max(initial=0.0) > 1.0 + SCORE_TOLERANCE:
        raise InvalidInputError(
            f"the network's scores reach {once[..., 4].max():.4g}: they are no probabilities", hint="--scores logits"
        )
    if not np.array_equal(once, again, equal_nan=True):
        raise InvalidInputError(
            "the network answers the same frames differently a second time",
            hint="export it in evaluation mode, without random operators",
        )


def _unusable(problem: str, error: Exception, hint: str) -> InvalidInputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InvalidInputError(f"the network {problem}: {reason}", hint=hint)
