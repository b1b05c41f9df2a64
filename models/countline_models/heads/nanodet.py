"""NanoDet and NanoDet-Plus: per cell, class probabilities and a distribution over each of four distances (GFL).

Source of the decoding: Li et al., "Generalized Focal Loss", arXiv 2006.04388, and github.com/RangiLyu/nanodet. With
m + 1 bins (usually 8), the distance to a side is the mean of the bins 0..m under their softmax, times the stride:

    Plus       [batch, N, classes + 4 * (m + 1)], all levels joined, strides 8, 16, 32, 64, cells at (i, j) * s
    first one  the same, or per level cls [batch, n, classes] and dis [batch, n, 4 * (m + 1)], strides 8, 16, 32,
               cells at ((i, j) + 1/2) * s

    box = cell - (left, top), cell + (right, bottom)         score = class probability (sigmoid applied)

The number of levels shows the generation; a network exported per level with four levels is a Plus. The picture is BGR,
normalised by the authors' mean and deviation of bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from countline_common.errors import InvalidInputError
from countline_models.heads.base import Candidates, DecodePlan, Preprocessing, Resized
from countline_models.heads.grids import STRIDES, STRIDES_P6, cells_of, grid, likely
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import Network

NMS_IOU: Final = 0.6
"""The authors' value."""
BINS: Final = 8
BINS_KNOWN: Final = (8, 11)
"""From reg_max: 7 in the m models, 10 in the g model."""


@dataclass(frozen=True, slots=True)
class _Levels:
    """Layout of the outputs: names of the tensors with classes and with distances, level by level."""

    classes: int
    bins: int
    strides: tuple[int, ...]
    scores: tuple[str, ...]
    distances: tuple[str, ...]
    """Empty if both are joined in one output."""


def _joined(network: Network) -> _Levels | None:
    if len(network.outputs) != 1:
        return None
    name, shape = next(iter(network.outputs.items()))
    if len(shape) != 3:
        return None
    strides = next((each for each in (STRIDES_P6, STRIDES) if shape[1] == cells_of(network.exported_hw, each)), ())
    bins = _bins_of(network, shape[2])
    return _Levels(shape[2] - 4 * bins, bins, strides, (name,), ()) if strides and bins else None


def _bins_of(network: Network, width: int) -> int:
    """Number of bins of a joined output of that width: from the labels, else the usual one; 0 if none fits."""
    if network.labels:
        rest = width - len(network.labels)
        return rest // 4 if rest > 4 and rest % 4 == 0 else 0
    return BINS if width > 4 * BINS else 0


def _per_level(network: Network) -> _Levels | None:
    """Pairs of outputs, found by their number of rows; the width of distances is a known number of bins."""
    if len(network.outputs) not in {6, 8} or any(len(shape) != 3 for shape in network.outputs.values()):
        return None
    strides = STRIDES if len(network.outputs) == 6 else STRIDES_P6
    widths = {shape[2] for shape in network.outputs.values()}
    sides = [width for width in widths if width in {4 * bins for bins in BINS_KNOWN}]
    if len(widths) != 2 or len(sides) != 1:
        return None
    scores, distances = [], []
    for stride in strides:
        level = [
            name for name, shape in network.outputs.items() if shape[1] == cells_of(network.exported_hw, (stride,))
        ]
        distances += [name for name in level if network.outputs[name][2] == sides[0]]
        scores += [name for name in level if network.outputs[name][2] != sides[0]]
    if len(scores) != len(strides) or len(distances) != len(strides):
        return None
    classes = next(iter(widths - set(sides)))
    return _Levels(classes, sides[0] // 4, strides, tuple(scores), tuple(distances))


class NanoDetHead:
    """Distributions over distances."""

    name = "nanodet"
    aliases: tuple[str, ...] = ("nanodet-plus",)
    about = "NanoDet: BGR normalised in, [batch, cells, classes + 4 * bins] out, or per level (arXiv 2006.04388)"
    preprocessing = Preprocessing(bgr=True, mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))
    resized: Resized = "letterboxed"

    def recognises(self, network: Network) -> bool:
        """Outputs per level fit by their shapes. A joined output fits if only its classes are probabilities."""
        if _per_level(network) is not None:
            return True
        levels = _joined(network)
        if levels is None:
            return False
        seen = network.sample(levels.scores[0])
        scores, bars = seen[:, : levels.classes], seen[:, levels.classes :]
        return bool(scores.min() >= 0.0 and scores.max() <= 1.0 and (bars.min() < 0.0 or bars.max() > 1.0))

    def plan(self, network: Network) -> DecodePlan:
        levels = _per_level(network) or _joined(network)
        if levels is None:
            height, width = network.exported_hw
            raise InvalidInputError(
                f"NanoDet has a row of classes + 4 * bins per cell of strides 8 to 32 or 64 at {width}x{height}, "
                f"joined or per level; this network: {network.signature}",
                hint="choose another --head; --labels show the number of bins",
            )

        def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
            return _decode(build, dict(zip(network.outputs, outputs, strict=True)), levels, network)

        form = "per level" if levels.distances else "joined"
        generation = "NanoDet-Plus" if levels.strides == STRIDES_P6 else "NanoDet"
        found = f"{generation}, {form}, {levels.classes} classes, {levels.bins} bins, strides {levels.strides}"
        return DecodePlan(levels.classes, found, decode, NMS_IOU)


def _decode(build: GraphBuilder, by_name: dict[str, str], levels: _Levels, network: Network) -> Candidates:
    if levels.distances:
        scores = build.op("Concat", *(by_name[name] for name in levels.scores), axis=1)
        bars = build.op("Concat", *(by_name[name] for name in levels.distances), axis=1)
    else:
        both = by_name[levels.scores[0]]
        scores = build.slice(both, 0, levels.classes, 2)
        bars = build.slice(both, levels.classes, levels.classes + 4 * levels.bins, 2)
    # Softmax over the last axis, which has the same meaning in all opsets.
    shares = build.op("Softmax", build.reshape(bars, 0, -1, 4, levels.bins), axis=-1)
    steps = build.constant(np.arange(levels.bins, dtype=np.float32).reshape(levels.bins, 1))
    cells, strides = grid(network.size_hw, levels.strides)
    sides = build.reshape(build.op("MatMul", shares, steps), 0, -1, 4)
    sides = build.op("Mul", sides, build.constant(strides[None]))
    middle = (cells + (0.0 if levels.strides == STRIDES_P6 else 0.5)) * strides
    points = build.constant(middle[None].astype(np.float32))
    first = build.op("Sub", points, build.slice(sides, 0, 2, 2))
    last = build.op("Add", points, build.slice(sides, 2, 4, 2))
    return Candidates(build.op("Concat", first, last, axis=2), likely(build, build.transpose(scores, 0, 2, 1), network))
