"""CenterNet: a map of scores for each cell to hold an object's centre; peaks are objects, without suppression.

Source of the decoding: Zhou et al., "Objects as Points", arXiv 1904.07850, and github.com/xingyizhou/CenterNet. A
cell is a peak if it is the greatest of its 3x3 neighbourhood in its class. With (i, j) its column and row, and s the
stride (usually 4; it follows from the shapes), the network answers in cells

    heat   [batch, classes, H/s, W/s]    sigmoid of it is the score
    size   [batch, 2, H/s, W/s]          width, height
    offset [batch, 2, H/s, W/s]          of the centre within its cell: centre = ((i, j) + offset) * s

Names distinguish size and offset (hm, wh, reg in the authors' code); without such names they come in that order. The
demo detector has a second form: heat, and the distances in pixels from the middle of the cell to the sides of the box,
left, top, right, bottom, [batch, 4, H/s, W/s]. It is never guessed: it needs `--head centernet`. Its duplicates overlap
almost completely, and those above IoU 0.75 are suppressed.

The graph, or `--scores`, shows whether heat has passed a sigmoid. The picture is BGR, 0..1, normalised by the authors'
mean and deviation; theirs is fitted in the middle, ours at the top left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from countline_common.errors import InvalidInputError
from countline_models.heads.base import Candidates, DecodePlan, Preprocessing, Resized
from countline_models.heads.grids import corners, grid, need
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import Network

SAME_OBJECT_IOU: Final = 0.75
SIZE_NAMES: Final = ("wh", "size", "dim")
OFFSET_NAMES: Final = ("reg", "off")
WANTED: Final = "CenterNet has maps of one size: heat with two channels each of size and offset, or with four distances"


@dataclass(frozen=True, slots=True)
class _Maps:
    heat: str
    size: str
    """Empty in the form with distances."""
    offset: str
    distances: str
    named: bool
    """Whether names distinguish size and offset."""


def stride_of(network: Network) -> int | None:
    """Pixels per cell if all outputs are maps of one size that divides the input's size; else None."""
    shapes = list(network.outputs.values())
    if any(len(shape) != 4 or shape[2:] != shapes[0][2:] for shape in shapes):
        return None
    (height, width), (rows, columns) = network.exported_hw, shapes[0][2:]
    stride = height // rows if rows else 0
    return stride if stride and (rows * stride, columns * stride) == (height, width) else None


def _maps_of(network: Network) -> _Maps | None:
    by_width = {name: shape[1] for name, shape in network.outputs.items()}
    if len(by_width) == 2 and 4 in by_width.values():
        distances = [name for name, width in by_width.items() if width == 4][-1]
        heat = next(name for name in by_width if name != distances)
        return _Maps(heat, "", "", distances, named=True)
    if len(by_width) != 3:
        return None
    pairs = [name for name, width in by_width.items() if width == 2]
    named = [_first_named(pairs, SIZE_NAMES), _first_named(pairs, OFFSET_NAMES)]
    if all(named) and named[0] != named[1]:
        heat = next(name for name in by_width if name not in named)
        return _Maps(heat, named[0], named[1], "", named=True)
    if len(pairs) < 2:
        return None
    heat = next((name for name in by_width if name not in pairs), next(iter(by_width)))
    size, offset = (name for name in by_width if name != heat)
    return _Maps(heat, size, offset, "", named=False)


def _first_named(names: Sequence[str], parts: Sequence[str]) -> str:
    return next((name for name in names if any(part in name.lower() for part in parts)), "")


class CenterNetHead:
    """Peaks of heat maps."""

    name = "centernet"
    aliases: tuple[str, ...] = ("objects-as-points",)
    about = "CenterNet: BGR normalised in; heat, size and offset maps out (arXiv 1904.07850)"
    preprocessing = Preprocessing(bgr=True, scale=1 / 255, mean=(0.408, 0.447, 0.470), std=(0.289, 0.274, 0.278))
    resized: Resized = "letterboxed"

    def recognises(self, network: Network) -> bool:
        """Three maps of one size, two of them with two channels, and names that distinguish these two."""
        if stride_of(network) is None or (maps := _maps_of(network)) is None:
            return False
        return bool(maps.size) and maps.named

    def plan(self, network: Network) -> DecodePlan:
        stride = stride_of(network)
        maps = _maps_of(network) if stride else None
        need(maps is not None, network, WANTED)
        assert maps is not None
        assert stride is not None
        if any(side % stride for side in network.size_hw):
            height, width = network.size_hw
            raise InvalidInputError(
                f"this network needs a height and width that are multiples of {stride}, not {width}x{height}",
                hint="give another --size",
            )
        kind = network.options.scores or (
            "probabilities" if network.activation_of(maps.heat) == "Sigmoid" else "logits"
        )

        def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
            by_name = dict(zip(network.outputs, outputs, strict=True))
            boxes = _boxes(build, by_name, maps, stride, network.size_hw)
            return Candidates(boxes, _peaks(build, by_name[maps.heat], kind == "logits"))

        _, classes, rows, columns = network.outputs[maps.heat]
        rest = f"distances {maps.distances}" if maps.distances else f"size {maps.size}, offset {maps.offset}"
        found = f"heat {maps.heat} of {classes} classes ({kind}), {rest}, {rows}x{columns} cells of stride {stride}"
        return DecodePlan(classes, found, decode, SAME_OBJECT_IOU if maps.distances else None)


def _peaks(build: GraphBuilder, heat: str, logits: bool) -> str:
    """Scores [batch, classes, cells]; 0 if a neighbour has a higher score."""
    likely = build.op("Sigmoid", heat) if logits else heat
    tops = build.op("MaxPool", likely, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
    lower = build.op("Less", likely, tops)
    return build.reshape(build.op("Where", lower, build.float(0.0), likely), 0, 0, -1)


def _boxes(build: GraphBuilder, by_name: dict[str, str], maps: _Maps, stride: int, size_hw: tuple[int, int]) -> str:
    """Corners [batch, cells, 4] in pixels."""
    cells = np.ascontiguousarray(grid(size_hw, (stride,))[0].T[None])
    step = build.float(float(stride))
    if maps.distances:
        sides = build.reshape(by_name[maps.distances], 0, 0, -1)
        middle = build.constant((cells + 0.5) * np.float32(stride))
        first = build.op("Sub", middle, build.slice(sides, 0, 2, 1))
        last = build.op("Add", middle, build.slice(sides, 2, 4, 1))
        return build.transpose(build.op("Concat", first, last, axis=1), 0, 2, 1)
    offset, size = (build.reshape(by_name[name], 0, 0, -1) for name in (maps.offset, maps.size))
    centre = build.op("Mul", build.op("Add", offset, build.constant(cells)), step)
    return build.transpose(corners(build, centre, build.op("Mul", size, step), 1), 0, 2, 1)
