"""Shared by heads: cells of grids, boxes by centre and size, and the unit of boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import InvalidInputError
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import BoxUnit, Network

STRIDES: Final = (8, 16, 32)
STRIDES_P6: Final = (8, 16, 32, 64)
STRIDE_SETS: Final = (STRIDES, STRIDES_P6, (16, 32), (4, 8, 16, 32))
"""Strides of networks: the usual three, P6 variants, tiny variants, variants for small objects (P2)."""
LIKENESS: Final = 0.8
"""Least correlation between decoded centres and their cells; offsets that are not decoded have none."""
EDGE: Final = 2.0
"""Largest normalised coordinate: 1, or a little more for boxes that reach out of the picture. Pixels are far more."""


def grid(size_hw: tuple[int, int], strides: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cells of all grids, finest first, row by row: column and row (N, 2), and stride (N, 1).

    If a stride does not divide the size, the last cells reach out of the picture.

    >>> cells, strides = grid((16, 16), (8, 16))
    >>> cells.tolist(), strides.ravel().tolist()
    ([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], [8.0, 8.0, 8.0, 8.0, 16.0])
    """
    height, width = size_hw
    cells: list[NDArray[np.float32]] = []
    steps: list[NDArray[np.float32]] = []
    for stride in strides:
        rows, columns = np.mgrid[: -(-height // stride), : -(-width // stride)]
        cells.append(np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float32))
        steps.append(np.full((len(cells[-1]), 1), stride, np.float32))
    return np.concatenate(cells), np.concatenate(steps)


def cells_of(size_hw: tuple[int, int], strides: Sequence[int]) -> int:
    """Number of cells of all grids."""
    return sum(-(-size_hw[0] // stride) * -(-size_hw[1] // stride) for stride in strides)


@dataclass(frozen=True, slots=True)
class Rows:
    """One output [batch, N, width] or [batch, width, N] with a prediction per cell (or three per cell: anchors)."""

    output: str
    count: int
    width: int
    channels_first: bool
    strides: tuple[int, ...]
    """Empty if N is not a number of cells."""
    per_cell: int

    @property
    def layout(self) -> str:
        """The shape for people, such as [batch, 84, 8400]."""
        sides = (self.width, self.count) if self.channels_first else (self.count, self.width)
        return f"[batch, {sides[0]}, {sides[1]}]"


def rows_of(network: Network) -> Rows | None:
    """The rows of a network with one output of three axes; None for other forms.

    Rows are along the axis whose size is a number of cells; if neither is, along the longer axis.
    """
    if len(network.outputs) != 1:
        return None
    output, shape = next(iter(network.outputs.items()))
    if len(shape) != 3:
        return None
    _, first, second = shape
    fitting = [
        Rows(output, count, width, channels_first, strides, per_cell)
        for count, width, channels_first in ((first, second, False), (second, first, True))
        for strides, per_cell, cells in _countings(network.exported_hw)
        if cells == count
    ]
    if fitting:
        return max(fitting, key=lambda rows: rows.count)
    longer = max(first, second)
    return Rows(output, longer, min(first, second), channels_first=second > first, strides=(), per_cell=0)


def _countings(size_hw: tuple[int, int]) -> Iterator[tuple[tuple[int, ...], int, int]]:
    for strides in STRIDE_SETS:
        for per_cell in (1, 3):
            yield strides, per_cell, per_cell * cells_of(size_hw, strides)


def unit_of_rows(network: Network, rows: Rows) -> BoxUnit | None:
    """The unit of boxes in rows (centre, size, ...), from a run; None if the centres are not decoded.

    A decoded centre lies near its cell, so centres and cells are nearly proportional over all rows: by 1 in pixels, by
    1 / width in shares of the picture.
    """
    if not rows.strides:
        return None
    height, width = network.exported_hw
    seen = network.sample(rows.output).astype(np.float64)
    columns = seen[0] if rows.channels_first else seen[:, 0]
    cells = np.concatenate(
        [np.tile((grid((height, width), (stride,))[0][:, 0] + 0.5) * stride, rows.per_cell) for stride in rows.strides]
    )
    spread = cells.std() * columns.std()
    if not np.isfinite(spread) or spread == 0.0:
        return None
    shared = float(np.mean((cells - cells.mean()) * (columns - columns.mean())))
    if shared / spread < LIKENESS:
        return None
    slope = shared / float(cells.var())
    if 0.5 < slope < 2.0:
        return "pixels"
    return "normalised" if 0.5 < slope * width < 2.0 else None


def unit_of_values(network: Network, output: str) -> BoxUnit | None:
    """The unit of boxes [n, 4 or more], from the size of their coordinates in a run; None if all are 0."""
    seen = np.abs(network.sample(output)[:, :4].astype(np.float64))
    largest = float(seen.max(initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return None
    return "pixels" if largest > EDGE else "normalised"


def to_pixels(build: GraphBuilder, boxes: str, unit: BoxUnit, size_hw: tuple[int, int]) -> str:
    """Boxes [batch, N, 4] in pixels, from either unit."""
    if unit == "pixels":
        return boxes
    height, width = size_hw
    return build.op("Mul", boxes, build.constant(np.array([width, height, width, height], np.float32)))


def likely(build: GraphBuilder, scores: str, network: Network) -> str:
    """Scores as probabilities; scores that the caller calls logits get a sigmoid."""
    return build.op("Sigmoid", scores) if network.options.scores == "logits" else scores


def corners(build: GraphBuilder, centre: str, size: str, axis: int) -> str:
    """Corners of boxes from centre and size, each with two values on that axis."""
    half = build.op("Mul", size, build.float(0.5))
    return build.op("Concat", build.op("Sub", centre, half), build.op("Add", centre, half), axis=axis)


def need(condition: bool, network: Network, wanted: str) -> None:
    """Raise `InvalidInputError` unless a network has the outputs that a head needs."""
    if not condition:
        raise InvalidInputError(f"{wanted}; this network: {network.signature}", hint="choose another --head")
