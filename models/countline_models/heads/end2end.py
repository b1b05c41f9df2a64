"""Networks that answer finished detections: YOLOv10, YOLO26, and exports with the suppression inside the graph.

Source of the layout: Wang et al., "YOLOv10: Real-Time End-to-End Object Detection", arXiv 2405.14458, and the exporter
of github.com/ultralytics/ultralytics (`end2end` networks, and `nms=True`). The network answers

    output [batch, n, 6]:  x1, y1, x2, y2, score, class        n = 300 as a rule

Boxes are corners, in pixels of the input. Those of RT-DETR have the same shape and are centre and size (see `rtdetr`),
which a run shows: corners are in order. Shares of the picture are told by `--boxes`, or seen in that run. The picture
is RGB, 0..1. The number of classes is not in the shape, so class names must be known: from `--labels`, or
from the file's own metadata.
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
"""Share of boxes whose corners are in order, from which on they are taken for corners."""


def finished_rows(network: Network) -> NDArray[Any] | None:
    """What a network of one output [batch, n, 6] answered in a run, (n, 6); None where scores or classes are none."""
    shapes = list(network.outputs.items())
    if len(shapes) != 1 or len(shapes[0][1]) != 3 or shapes[0][1][2] != WIDTH:
        return None
    seen = network.sample(shapes[0][0]).astype(np.float64)
    scores, classes = seen[:, 4], seen[:, 5]
    likely = bool(np.all((scores >= 0.0) & (scores <= 1.0)))
    return seen if likely and bool(np.all((classes >= 0.0) & (classes == np.floor(classes)))) else None


def are_corners(boxes: NDArray[Any]) -> bool:
    """Whether boxes (n, 4) have their first corner before their second, as centre and size have only by chance.

    Not all need to: networks that predict distances without bounding them turn weak boxes inside out.
    """
    return bool(np.mean(np.all(boxes[:, :2] <= boxes[:, 2:], axis=1)) >= IN_ORDER)


def by_class(build: GraphBuilder, classes: str, scores: str, count: int) -> str:
    """Scores [batch, count, n] from one class and one score a box, both [batch, 1, n]; 0 for all other classes."""
    every = build.constant(np.arange(count, dtype=np.int64).reshape(1, count, 1))
    same = build.op("Equal", build.cast(classes, TensorProto.INT64), every)
    return build.op("Mul", build.cast(same, TensorProto.FLOAT), scores)


def known_labels(network: Network, classes_seen: NDArray[Any]) -> int:
    """The number of classes of a network whose outputs do not say it.

    Raises:
        InvalidInputError: no labels are known, or a run shows a class beyond them.
    """
    count = len(network.labels)
    if not count:
        raise InvalidInputError(
            f"the number of classes is not in the graph, and no names are known: {network.signature}",
            hint="name the classes: --labels FILE, one a line, in the model's order",
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
        """Rows of six: corners in order, a probability, a whole number."""
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
                "in a run, the first corner of many boxes is behind the second: these are no corners",
                hint="where they are centre and size, in shares of the picture: --head rtdetr; else say --boxes pixels",
            )
        classes = known_labels(network, seen[:, 5])
        unit = network.options.boxes or unit_of_values(network, output)
        how = "told" if network.options.boxes else "seen in a run" if unit else "nothing seen in a run, so as usual"
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
