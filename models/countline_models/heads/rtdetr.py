"""RT-DETR, D-FINE and DEIM: a few hundred queries, each of which finds one object, without suppression.

Source of the decoding: Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", arXiv 2304.08069 (RT-DETR), Peng
et al., arXiv 2410.13842 (D-FINE), Huang et al., arXiv 2412.04234 (DEIM), and the postprocessors of
github.com/lyuwenyu/RT-DETR, github.com/Peterande/D-FINE and github.com/ShihuaHuang95/DEIM. Four forms are exported:

    queries    logits [batch, n, classes], boxes [batch, n, 4]        score = sigmoid(logit)
    deployed   labels [batch, n], boxes [batch, n, 4], scores [batch, n], with a second input orig_target_sizes
               [batch, 2] of width and height in pixels: boxes are corners in pixels of a picture of that size
    joined     [batch, n, 4 + classes], probabilities                  (as Ultralytics exported it)
    picked     [batch, n, 6]: box, score, class                        (as Ultralytics exports it since)

Boxes are centre and size in shares of the input, except in the deployed form. The deployed form gets the size of the
padded input, so its boxes are in pixels of that. Its shapes do not contain the number of classes, so class names must
be known. The picture is RGB, 0..1. The authors stretch it to the input, whatever its shape.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from countline_models.heads.base import Candidates, DecodePlan, Preprocessing, Resized
from countline_models.heads.end2end import by_class, finished_rows, known_labels
from countline_models.heads.grids import corners, likely, need, rows_of, to_pixels
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.graph import shape_of
from countline_models.onnx.network import Network

WANTED: Final = "RT-DETR has logits and boxes, or labels, boxes and scores, or one output [batch, queries, 4 + classes]"
SUM_TOLERANCE: Final = 1e-3


def pair_of(network: Network) -> tuple[str, str] | None:
    """Names of two outputs, scores [batch, n, classes] and boxes [batch, n, 4]; None without such outputs.

    With four classes both have the same shape; then the name shows which one holds boxes.
    """
    if len(network.outputs) != 2 or any(len(shape) != 3 for shape in network.outputs.values()):
        return None
    (first, first_shape), (second, second_shape) = network.outputs.items()
    if first_shape[1] != second_shape[1]:
        return None
    boxes = [name for name, shape in network.outputs.items() if shape[2] == 4]
    if len(boxes) == 2:
        boxes = [name for name in boxes if "box" in name.lower() or "loc" in name.lower()]
    if len(boxes) != 1:
        return None
    return (second if boxes[0] == first else first), boxes[0]


def triple_of(network: Network) -> tuple[str, str, str] | None:
    """Names of the outputs labels [batch, n], boxes [batch, n, 4] and scores [batch, n], in that order."""
    shapes = network.outputs
    boxes = [name for name, shape in shapes.items() if len(shape) == 3 and shape[2] == 4]
    flat = [name for name, shape in shapes.items() if len(shape) == 2]
    if len(shapes) != 3 or len(boxes) != 1 or len(flat) != 2:
        return None
    labels = [name for name in flat if _is_integer(network.model, name) or "label" in name.lower()]
    if len(labels) != 1:
        return None
    return labels[0], boxes[0], next(name for name in flat if name != labels[0])


def _is_integer(model: onnx.ModelProto, output: str) -> bool:
    kind = next(value.type.tensor_type.elem_type for value in model.graph.output if value.name == output)
    return kind in {TensorProto.INT64, TensorProto.INT32}


def sums_to_one(network: Network, output: str) -> bool:
    """Whether a run shows probabilities of mutually exclusive classes on the last axis."""
    seen = network.sample(output).astype(np.float64)
    return bool(seen.min() >= 0.0 and np.allclose(seen.sum(axis=-1), 1.0, atol=SUM_TOLERANCE))


class RtDetrHead:
    """Queries, each with one box."""

    name = "rtdetr"
    aliases: tuple[str, ...] = ("rt-detr", "rtdetrv2", "dfine", "d-fine", "deim")
    about = "RT-DETR, D-FINE, DEIM: RGB 0..1 in; logits and boxes, or labels, boxes and scores out (arXiv 2304.08069)"
    preprocessing = Preprocessing(scale=1 / 255)
    resized: Resized = "stretched"

    def recognises(self, network: Network) -> bool:
        """One of the four forms. Scores that sum to one belong to SSD, rows near cells to YOLO."""
        if triple_of(network) is not None:
            return _sizes_input(network) != ""
        if (pair := pair_of(network)) is not None:
            return _shares(network.sample(pair[1])) and not sums_to_one(network, pair[0])
        if (picked := finished_rows(network)) is not None:
            return _shares(picked[:, :4])
        rows = rows_of(network)
        if rows is None or rows.strides or rows.channels_first or rows.width <= 4:
            return False
        return _shares(network.sample(rows.output))

    def plan(self, network: Network) -> DecodePlan:
        if (triple := triple_of(network)) is not None:
            return _plan_deployed(network, triple)
        if (pair := pair_of(network)) is not None:
            return _plan_queries(network, pair)
        if (picked := finished_rows(network)) is not None:
            return _plan_picked(network, picked)
        rows = rows_of(network)
        need(rows is not None and not rows.channels_first and rows.width > 4, network, WANTED)
        assert rows is not None
        width = rows.width

        def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
            scores = likely(build, build.transpose(build.slice(outputs[0], 4, width, 2), 0, 2, 1), network)
            return Candidates(_boxes(build, build.slice(outputs[0], 0, 4, 2), network), scores)

        return DecodePlan(width - 4, f"{rows.layout}: queries of 4 + {width - 4} classes, joined", decode)


def _shares(boxes: NDArray[Any]) -> bool:
    """Whether all values are in 0..1: centres and sizes, and in the joined form also classes."""
    return bool(boxes.min() >= 0.0 and boxes.max() <= 1.0)


def _sizes_input(network: Network) -> str:
    """Name of the second input, if it takes two numbers per picture; else empty."""
    others = network.other_inputs
    return others[0].name if len(others) == 1 and shape_of(others[0])[1:] == [2] else ""


def _boxes(build: GraphBuilder, shares: str, network: Network) -> str:
    """Corners in pixels from centre and size [batch, n, 4] in shares, or in pixels with `--boxes pixels`."""
    boxes = corners(build, build.slice(shares, 0, 2, 2), build.slice(shares, 2, 4, 2), 2)
    return to_pixels(build, boxes, network.options.boxes or "normalised", network.size_hw)


def _plan_queries(network: Network, pair: tuple[str, str]) -> DecodePlan:
    names = list(network.outputs)
    _, count, classes = network.outputs[pair[0]]
    kind = network.options.scores or ("probabilities" if network.activation_of(pair[0]) == "Sigmoid" else "logits")

    def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
        scores = build.transpose(outputs[names.index(pair[0])], 0, 2, 1)
        if kind == "logits":
            scores = build.op("Sigmoid", scores)
        return Candidates(_boxes(build, outputs[names.index(pair[1])], network), scores)

    return DecodePlan(classes, f"{count} queries of {classes} classes, scores are {kind}", decode)


def _plan_picked(network: Network, seen: NDArray[Any]) -> DecodePlan:
    classes = known_labels(network, seen[:, 5])

    def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
        columns = build.transpose(outputs[0], 0, 2, 1)
        scores = by_class(build, build.slice(columns, 5, 6, 1), build.slice(columns, 4, 5, 1), classes)
        return Candidates(_boxes(build, build.slice(outputs[0], 0, 4, 2), network), scores)

    return DecodePlan(classes, f"{len(seen)} picked queries of {classes} classes", decode)


def _plan_deployed(network: Network, triple: tuple[str, str, str]) -> DecodePlan:
    names = list(network.outputs)
    sizes_input = _sizes_input(network)
    classes = known_labels(network, network.sample(triple[0]))
    unit = network.options.boxes or "pixels"

    def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
        labels, boxes, scores = (outputs[names.index(name)] for name in triple)
        labels, scores = build.reshape(labels, 0, 1, -1), build.reshape(scores, 0, 1, -1)
        return Candidates(to_pixels(build, boxes, unit, network.size_hw), by_class(build, labels, scores, classes))

    asked = f", {sizes_input} gets the input's size" if sizes_input else ""
    found = f"labels, boxes and scores of {network.outputs[triple[0]][1]} queries{asked}, boxes in {unit}"
    return DecodePlan(classes, found, decode, sizes_input=sizes_input)
