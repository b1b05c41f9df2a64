"""Networks that answer finished detections: YOLOv10, YOLO26, and exports with suppression inside the graph.

Source of the layout: Wang et al., "YOLOv10: Real-Time End-to-End Object Detection", arXiv 2405.14458, and the exporter
of github.com/ultralytics/ultralytics (`end2end` networks, and `nms=True`). The network answers

    output [batch, n, 6]:  x1, y1, x2, y2, score, class        n is usually 300

Boxes are corners in pixels of the input. The output of RT-DETR has the same shape, but with centre and size (see
`rtdetr`). A run shows the difference: corners are in order. A run, or `--boxes`, also shows shares of the picture. The
picture is RGB, 0..1. The shape does not contain the number of classes, so class names must be known, from `--labels` or
from the file's metadata.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from countline_common.errors import InvalidInputError
from countline_models.heads.base import Candidates, DecodePlan, Preprocessing, Resized
from countline_models.heads.grids import likely, need, to_pixels, unit_of_values
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import BoxUnit, Network

WIDTH: Final = 6
IN_ORDER: Final = 0.9
"""Boxes are corners if at least this share of them has its corners in order."""


def finished_rows(network: Network) -> NDArray[Any] | None:
    """Rows (n, 6) that a network with one output [batch, n, 6] answers; None if scores or classes cannot be such."""
    shapes = list(network.outputs.items())
    if len(shapes) != 1 or len(shapes[0][1]) != 3 or shapes[0][1][2] != WIDTH:
        return None
    seen = network.sample(shapes[0][0]).astype(np.float64)
    scores, classes = seen[:, 4], seen[:, 5]
    likely = bool(np.all((scores >= 0.0) & (scores <= 1.0)))
    return seen if likely and bool(np.all((classes >= 0.0) & (classes == np.floor(classes)))) else None


def are_corners(boxes: NDArray[Any]) -> bool:
    """Whether the first corner of boxes (n, 4) lies before the second; centre and size do so only by chance.

    A few boxes may be reversed: networks that predict unbounded distances reverse weak boxes.
    """
    return bool(np.mean(np.all(boxes[:, :2] <= boxes[:, 2:], axis=1)) >= IN_ORDER)


def by_class(build: GraphBuilder, classes: str, scores: str, count: int) -> str:
    """Scores [batch, count, n] from one class and one score per box, both [batch, 1, n]; 0 for other classes."""
    every = build.constant(np.arange(count, dtype=np.int64).reshape(1, count, 1))
    same = build.op("Equal", build.cast(classes, TensorProto.INT64), every)
    return build.op("Mul", build.cast(same, TensorProto.FLOAT), scores)


def known_labels(network: Network, classes_seen: NDArray[Any]) -> int:
    """The number of classes of a network whose outputs do not contain it.

    Raises:
        InvalidInputError: no labels are known, or a run shows a class beyond them.
    """
    count = len(network.labels)
    if not count:
        raise InvalidInputError(
            f"the number of classes is not in the graph, and no names are known: {network.signature}",
            hint="give the class names: --labels FILE, one per line, in the model's order",
        )
    largest = int(classes_seen.max(initial=0))
    if largest >= count:
        raise InvalidInputError(
            f"{count} labels are given and the model answers class {largest}, counted from 0",
            hint="give a label for every class, in the model's order",
        )
    return count


class End2EndHead:
    """Rows of finished detections."""

    name = "end2end"
    aliases: tuple[str, ...] = ("yolov10", "yolo10", "yolo26")
    about = "YOLOv10 and exports with NMS inside: RGB 0..1 in, [batch, n, 6] out (arXiv 2405.14458)"
    preprocessing = Preprocessing(scale=1 / 255)
    resized: Resized = "letterboxed"

    def recognises(self, network: Network) -> bool:
        """Rows of six values: corners in order, a probability, a whole number."""
        rows = finished_rows(network)
        return rows is not None and are_corners(rows[:, :4])

    def plan(self, network: Network) -> DecodePlan:
        shapes = list(network.outputs.items())
        fits = len(shapes) == 1 and len(shapes[0][1]) == 3 and shapes[0][1][2] == WIDTH
        need(fits, network, "finished detections are one output [batch, n, 6]")
        output, shape = shapes[0]
        seen = network.sample(output)
        if network.options.boxes is None and not are_corners(seen[:, :4]):
            raise InvalidInputError(
                "in a run, the first corner of many boxes lies behind the second: these are not corners",
                hint="use --head rtdetr for centre and size in shares of the picture; else use --boxes pixels",
            )
        classes = known_labels(network, seen[:, 5])
        unit = network.options.boxes or unit_of_values(network, output)
        how = "stated" if network.options.boxes else "observed" if unit else "default, a run shows nothing"
        unit = unit or "pixels"

        def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
            return _decode(build, outputs[0], classes, unit, network)

        return DecodePlan(classes, f"[batch, {shape[1]}, 6]: finished detections, boxes in {unit} ({how})", decode)


def _decode(build: GraphBuilder, output: str, classes: int, unit: BoxUnit, network: Network) -> Candidates:
    boxes = to_pixels(build, build.slice(output, 0, 4, 2), unit, network.size_hw)
    columns = build.transpose(output, 0, 2, 1)
    scores = by_class(
        build, build.slice(columns, 5, 6, 1), likely(build, build.slice(columns, 4, 5, 1), network), classes
    )
    return Candidates(boxes, scores)
