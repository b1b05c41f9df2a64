"""YOLOX: one anchor-free prediction per cell of three grids (strides 8, 16, 32; P6 variants add 64).

Source of the decoding: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430, and the authors' own ONNX
demonstration. Exported without the decoding (`--decode_in_inference` off), the network answers

    output [batch, N, 5 + classes]:  dx, dy, log w, log h, objectness, class probabilities (sigmoid applied)

with the cells of the finest grid first, row by row. With (i, j) the column and row of a cell and s its stride:

    centre = (d + (i, j)) * s      size = exp(log) * s      score = objectness * class probability

Exported with it, the first four are centre and size in pixels. A run shows which: decoded centres lie near their cells.
The picture is BGR, 0..255, letterboxed at the top left on 114.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from countline_common.errors import InvalidInputError
from countline_models.heads.base import Candidates, DecodePlan, Preprocessing, Resized
from countline_models.heads.grids import (
    STRIDES,
    STRIDES_P6,
    Rows,
    cells_of,
    corners,
    grid,
    likely,
    rows_of,
    unit_of_rows,
)
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import Network

NMS_IOU: Final = 0.45


def strides_for(cells: int, size_hw: tuple[int, int]) -> tuple[int, ...] | None:
    """The strides whose grids have that many cells at that size; None if there are none."""
    for strides in (STRIDES, STRIDES_P6):
        if all(side % strides[-1] == 0 for side in size_hw) and cells == cells_of(size_hw, strides):
            return strides
    return None


class YoloxHead:
    """YOLOX in every size."""

    name = "yolox"
    aliases: tuple[str, ...] = ()
    about = "YOLOX: BGR 0..255 in, [batch, cells, 5 + classes] out, decoded or not (arXiv 2107.08430)"
    preprocessing = Preprocessing(bgr=True)
    resized: Resized = "letterboxed"

    def recognises(self, network: Network) -> bool:
        """One row per cell of the grids, whose values from the fifth on are probabilities."""
        rows = rows_of(network)
        if rows is None or rows.channels_first or rows.width <= 5:
            return False
        if strides_for(rows.count, network.exported_hw) is None or len(network.labels) not in {0, rows.width - 5}:
            return False
        scores = network.sample(rows.output)[:, 4:]
        return bool(scores.min() >= 0.0 and scores.max() <= 1.0)

    def plan(self, network: Network) -> DecodePlan:
        rows = self._rows(network)
        strides = strides_for(rows.count, network.exported_hw)
        if strides is None:
            height, width = network.exported_hw
            raise InvalidInputError(
                f"{rows.count} rows do not fit the grids of YOLOX at {width}x{height}",
                hint="choose another --head",
            )
        decoded = unit_of_rows(network, rows) == "pixels"

        def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
            return _decode(build, outputs[0], rows.width, () if decoded else strides, network)

        state = "decoded" if decoded else "not decoded"
        return DecodePlan(rows.width - 5, f"{rows.layout}: 5 + {rows.width - 5} classes, {state}", decode, NMS_IOU)

    def _rows(self, network: Network) -> Rows:
        shapes = list(network.outputs.values())
        if len(shapes) != 1 or len(shapes[0]) != 3:
            raise InvalidInputError(
                f"a YOLOX network has one output [batch, cells, 5 + classes]; this one: {network.signature}",
                hint="choose another --head",
            )
        if any(side % STRIDES[-1] for side in network.size_hw):
            height, width = network.size_hw
            raise InvalidInputError(
                f"YOLOX needs a height and width that are multiples of {STRIDES[-1]}, not {width}x{height}",
                hint="give another --size",
            )
        _, count, width = shapes[0]
        if width <= 5:
            raise InvalidInputError(
                f"the last axis of a YOLOX output is 5 + classes; this network: {network.signature}",
                hint="choose another --head",
            )
        strides = strides_for(count, network.exported_hw) or ()
        return Rows(next(iter(network.outputs)), count, width, channels_first=False, strides=strides, per_cell=1)


def _decode(build: GraphBuilder, output: str, width: int, strides: Sequence[int], network: Network) -> Candidates:
    """Candidates from the rows; `strides` is empty if they are decoded already."""
    # Channels first, as NMS needs the scores, and as the network had them before its last transposition.
    raw = build.transpose(output, 0, 2, 1)
    centre, size = build.slice(raw, 0, 2, 1), build.slice(raw, 2, 4, 1)
    if strides:
        offsets, steps = (part.T[None] for part in grid(network.size_hw, strides))
        centre = build.op("Mul", build.op("Add", centre, build.constant(offsets)), build.constant(steps))
        size = build.op("Mul", build.op("Exp", size), build.constant(np.ascontiguousarray(steps)))
    scores = likely(build, build.slice(raw, 4, width, 1), network)
    scores = build.op("Mul", build.slice(scores, 1, width - 4, 1), build.slice(scores, 0, 1, 1))
    return Candidates(boxes=build.transpose(corners(build, centre, size, 1), 0, 2, 1), scores=scores)
