"""Turns candidates into the rows of the contract: the best of each frame, best first, without duplicates.

There are two ways. Architectures that find an object many times need NonMaxSuppression per class. It answers one list
for the whole batch, which is sorted and scattered into rows. Architectures that find an object once need only the best
scores: a TopK of constant size, in which nothing depends on the data.
"""

import numpy as np
from onnx import TensorProto

from countline_models.contract import OUTPUT_NAME
from countline_models.heads import Candidates
from countline_models.onnx.builder import GraphBuilder


def pack_suppressed(
    build: GraphBuilder, candidates: Candidates, nms_iou: float, score_floor: float, max_detections: int
) -> None:
    """Write `detections`, with non-maximum suppression per class."""
    chosen = _select(build, candidates, nms_iou, score_floor, max_detections)
    _pack(build, candidates, chosen, max_detections)


def pack_best(build: GraphBuilder, candidates: Candidates, score_floor: float, max_detections: int) -> None:
    """Write `detections`, the best of all classes and boxes. For equal scores, the lower class and box come first."""
    boxes, batch = candidates.boxes, build.size(candidates.boxes, 0)
    count = build.size(boxes, 1)
    # Empty rows: TopK needs a constant size, and there may be fewer candidates than rows.
    unused = build.op(
        "Expand",
        build.constant(np.zeros((1, 1), np.float32)),
        build.op("Concat", batch, build.ints(max_detections), axis=0),
    )
    every = build.op("Concat", build.reshape(candidates.scores, 0, -1), unused, axis=1)
    scores, places = build.ops(
        "TopK", every, build.ints(max_detections), outputs=[build.name("scores"), build.name("places")], axis=1
    )
    columns = build.reshape(places, 0, -1, 1)
    which = build.op("Expand", build.op("Mod", columns, count), build.ints(1, 1, 4))
    classes = build.cast(build.op("Div", columns, count), TensorProto.FLOAT)
    column = build.reshape(scores, 0, -1, 1)
    rows = build.op("Concat", build.op("GatherElements", boxes, which, axis=1), column, classes, axis=2)
    good = build.op("Greater", column, build.float(score_floor))
    build.op("Where", good, rows, build.float(0.0), output=OUTPUT_NAME)


def _select(
    build: GraphBuilder, candidates: Candidates, nms_iou: float, score_floor: float, max_detections: int
) -> str:
    """Non-maximum suppression per class: [M, 3] int64 rows of frame, class and candidate."""
    return build.op(
        "NonMaxSuppression",
        candidates.boxes,
        candidates.scores,
        build.ints(max_detections),
        build.constant(np.array([nms_iou], np.float32)),
        build.constant(np.array([score_floor], np.float32)),
    )


def _pack(build: GraphBuilder, candidates: Candidates, chosen: str, max_detections: int) -> None:
    """Write the M detections of all frames into the rows of the contract.

    One sort orders the detections by frame and falling score. The row of a detection is its place in that order minus
    the number of detections of earlier frames. Detections beyond the last row are dropped. A double holds frame and
    score in one number without rounding, so that the order within a frame does not depend on its batch.
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
    """[M, 2]: frame and row of each detection; the detections are in order of frame and falling score."""
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
