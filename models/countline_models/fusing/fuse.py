"""Makes a contract model of a detector as its authors export it, by adding nodes to the ONNX graph.

    frames uint8 NHWC RGB -> channel order, float, scale -> network -> head -> the best of each frame -> detections

The differences between families of networks are in `countline_models.heads`; the code here is the same for all.
Suppression, if the head needs it, is within one class. Boxes of different classes do not suppress each other: an object
that looks like two classes is reported twice.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from countline_common.errors import InvalidInputError
from countline_models.contract import FUSED_KEY, INPUT_NAME, OUTPUT_NAME, set_metadata
from countline_models.fusing.options import FuseOptions
from countline_models.fusing.packing import pack_best, pack_suppressed
from countline_models.fusing.verify import verify
from countline_models.heads import Candidates, DecodePlan, Head, Preprocessing
from countline_models.labels import chosen_classes, labels_for
from countline_models.onnx.batching import make_batch_dynamic
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.graph import MAX_IR_VERSION, drop_unused_constants
from countline_models.onnx.network import Network


def fuse_network(source: Network, head: Head, options: FuseOptions) -> onnx.ModelProto:
    """Make a contract model of a network.

    Args:
        source: a detector with one picture input, NCHW; its model is not changed.
        head: decodes its outputs.
        options: sizes, thresholds, classes, and facts about the network.

    Returns:
        A checked contract model; its metadata `countline.fused` say how the network was read.

    Raises:
        InvalidInputError: the network does not fit the head or the options, or uses an opset that is not supported.
    """
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


def describe(head: Head, plan: DecodePlan, preprocessing: Preprocessing, options: FuseOptions) -> str:
    """One line for people: how the network was read and what was added to it."""
    nms_iou = options.nms_iou or plan.nms_iou
    order = "BGR" if preprocessing.bgr else "RGB"
    after = "suppressed per class above IoU " + f"{nms_iou:g}" if nms_iou else "not suppressed"
    return f"{head.name} {plan.found}; {order}, scale {preprocessing.scale:.6g}; {after}"


def _prepend(model: onnx.ModelProto, source: Network, wanted: Preprocessing, plan: DecodePlan) -> None:
    build = GraphBuilder(model, "before")
    # Transposed as bytes, which is a quarter of the memory of floats.
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
    """(value * scale - mean) / std as one multiplication and one addition; each is left out if it changes nothing."""
    std = np.array(wanted.std, np.float64)
    mean = np.array(wanted.mean, np.float64) * (wanted.scale if wanted.mean_first else 1.0)
    factor = (wanted.scale / std).reshape(1, 3, 1, 1).astype(np.float32)
    shift = (-mean / std).reshape(1, 3, 1, 1).astype(np.float32)
    if np.any(factor != 1.0):
        picture = build.op("Mul", picture, build.constant(factor))
    return build.op("Add", picture, build.constant(shift)) if np.any(shift != 0.0) else picture


def _give_sizes(build: GraphBuilder, source: Network, plan: DecodePlan) -> None:
    """Feed the padded input's size to the input that asks for the picture's size, so that boxes are in its pixels."""
    others = {value.name: value for value in source.other_inputs}
    if set(others) != ({plan.sizes_input} if plan.sizes_input else set()):
        raise InvalidInputError(
            f"the network has inputs of an unknown kind: {', '.join(others)} ({source.signature})",
            hint="export it with one input, or choose the --head that knows them",
        )
    for name, value in others.items():
        height, width = source.size_hw
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = build.op("Concat", build.size(INPUT_NAME, 0), build.ints(2), axis=0)
        build.op("Expand", build.constant(np.array([[width, height]], kind)), shape, output=name)


def _append(model: onnx.ModelProto, plan: DecodePlan, kept: tuple[int, ...], options: FuseOptions) -> None:
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
