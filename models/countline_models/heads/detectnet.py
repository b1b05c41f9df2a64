"""DetectNet_v2, as in NVIDIA's PeopleNet, TrafficCamNet and DashCamNet: coverage and boxes on one grid, per class.

Source of the decoding: the box parser of DeepStream's nvinfer and the TAO Toolkit's documentation of DetectNet_v2. With
(i, j) column and row of a cell, s the stride (usually 16; it follows from the shapes):

    coverage [batch, classes, H/s, W/s]        score (sigmoid applied)
    bbox     [batch, 4 * classes, H/s, W/s]    distances to left, top, right, bottom, in units of 35 pixels, per class

    centre = (i, j) * s + 0.5      box = centre - (left, top) * 35, centre + (right, bottom) * 35

An object covers many cells. DeepStream joins them by clustering (DBSCAN) or by suppression; Countline suppresses them,
like `cluster-mode=2`. The picture is RGB, 0..1; the authors stretch it to the input (usually 960x544).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from countline_common.errors import InvalidInputError
from countline_models.heads.base import Candidates, DecodePlan, Preprocessing, Resized
from countline_models.heads.centernet import stride_of
from countline_models.heads.grids import grid, likely, need
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import Network

NMS_IOU: Final = 0.5
"""Replaces the clustering: boxes from cells of one object overlap much more than this."""
SCALE_PX: Final = 35.0
OFFSET_PX: Final = 0.5
STRIDE: Final = 16


def _coverage_and_boxes(network: Network) -> tuple[str, str] | None:
    """Names of both outputs: one has four times the channels of the other."""
    if len(network.outputs) != 2 or stride_of(network) is None:
        return None
    few, many = sorted(network.outputs, key=lambda name: network.outputs[name][1])
    return (few, many) if network.outputs[many][1] == 4 * network.outputs[few][1] else None


class DetectNetHead:
    """Coverage and boxes on one grid."""

    name = "detectnet"
    aliases: tuple[str, ...] = ("detectnet_v2", "peoplenet", "trafficcamnet", "dashcamnet")
    about = "DetectNet_v2, PeopleNet: RGB 0..1 in, coverage and bbox grids out (DeepStream's nvinfer)"
    preprocessing = Preprocessing(scale=1 / 255)
    resized: Resized = "stretched"

    def recognises(self, network: Network) -> bool:
        """Two grids of stride 16, or with names from the TAO Toolkit."""
        pair = _coverage_and_boxes(network)
        return pair is not None and (stride_of(network) == STRIDE or "cov" in pair[0].lower())

    def plan(self, network: Network) -> DecodePlan:
        pair, stride = _coverage_and_boxes(network), stride_of(network)
        need(
            pair is not None,
            network,
            "DetectNet_v2 has two grids, coverage of its classes and four times as many boxes",
        )
        assert pair is not None
        assert stride is not None
        height, width = network.size_hw
        if height % stride or width % stride:
            raise InvalidInputError(
                f"this network needs a height and width that are multiples of {stride}, not {width}x{height}",
                hint="give another --size",
            )
        _, classes, rows, columns = network.outputs[pair[0]]

        def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
            by_name = dict(zip(network.outputs, outputs, strict=True))
            coverage = likely(build, by_name[pair[0]], network)
            boxes = _boxes(build, by_name[pair[1]], classes, stride, network.size_hw)
            return Candidates(boxes, _own_scores(build, coverage, classes))

        found = f"coverage {pair[0]} of {classes} classes, boxes {pair[1]}, {rows}x{columns} cells of stride {stride}"
        return DecodePlan(classes, found, decode, NMS_IOU)


def _boxes(build: GraphBuilder, output: str, classes: int, stride: int, size_hw: tuple[int, int]) -> str:
    """Corners [batch, classes * cells, 4] in pixels, class by class."""
    cells, _ = grid(size_hw, (stride,))
    sides = build.op("Mul", build.reshape(output, 0, classes, 4, -1), build.float(SCALE_PX))
    middle = build.constant((cells.T * np.float32(stride) + np.float32(OFFSET_PX))[None, None])
    first = build.op("Sub", middle, build.slice(sides, 0, 2, 2))
    last = build.op("Add", middle, build.slice(sides, 2, 4, 2))
    return build.reshape(build.transpose(build.op("Concat", first, last, axis=2), 0, 1, 3, 2), 0, -1, 4)


def _own_scores(build: GraphBuilder, coverage: str, classes: int) -> str:
    """Scores [batch, classes, classes * cells]: each class has its own boxes, and score 0 in the boxes of others."""
    flat = build.reshape(coverage, 0, 1, classes, -1)
    own = build.constant(np.eye(classes, dtype=np.float32).reshape(1, classes, classes, 1))
    return build.reshape(build.op("Mul", flat, own), 0, classes, -1)
