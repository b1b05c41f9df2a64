"""YOLOX: one anchor-free prediction per cell of three grids (strides 8, 16, 32; P6 variants add 64).

Source of the decoding: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430, and the authors' own ONNX
demonstration. Exported without the decoding (`--decode_in_inference` off), the network answers

    output [batch, N, 5 + classes]:  dx, dy, log w, log h, objectness, class probabilities (sigmoid applied)

with the cells of the finest grid first, row by row. With (i, j) the column and row of a cell and s its stride:

    centre = (d + (i, j)) * s      size = exp(log) * s      score = objectness * class probability

The picture is BGR, 0..255, letterboxed at the top left on 114.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import InvalidInputError
from countline_models.graph import GraphBuilder
from countline_models.heads.base import Candidates, Preprocessing, Signature

STRIDES: Final = (8, 16, 32)
STRIDES_P6: Final = (8, 16, 32, 64)


def grid(size_hw: tuple[int, int], strides: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cells of every grid, finest first, row by row: column and row (N, 2), and stride (N, 1).

    >>> cells, strides = grid((16, 16), (8, 16))
    >>> cells.tolist(), strides.ravel().tolist()
    ([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], [8.0, 8.0, 8.0, 8.0, 16.0])
    """
    height, width = size_hw
    cells: list[NDArray[np.float32]] = []
    steps: list[NDArray[np.float32]] = []
    for stride in strides:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float32))
        steps.append(np.full((len(cells[-1]), 1), stride, np.float32))
    return np.concatenate(cells), np.concatenate(steps)


def strides_for(cells: int | None, size_hw: tuple[int, int]) -> tuple[int, ...] | None:
    """The strides whose grids have that many cells at that size; the usual three where the number is open."""
    for strides in (STRIDES, STRIDES_P6):
        fits = all(side % strides[-1] == 0 for side in size_hw)
        if fits and cells in (None, sum((size_hw[0] // each) * (size_hw[1] // each) for each in strides)):
            return strides
    return None


class YoloxHead:
    """YOLOX in every size."""

    name = "yolox"
    about = "YOLOX: BGR 0..255 in, [batch, cells, 5 + classes] out, undecoded (arXiv 2107.08430)"
    preprocessing = Preprocessing(bgr=True)

    def recognises(self, signature: Signature) -> bool:
        """One output with a row per cell of the grids at the size that the input names."""
        size_hw = signature.size_hw
        if size_hw is None or len(signature.outputs) != 1:
            return False
        match signature.outputs[0][1]:
            case (_, int(cells), int(width)):
                return width > 5 and strides_for(cells, size_hw) is not None
        return False

    def check(self, signature: Signature, size_hw: tuple[int, int]) -> None:
        """See `Head.check`."""
        if len(signature.outputs) != 1 or len(signature.outputs[0][1]) != 3:
            raise InvalidInputError(
                f"a YOLOX network has one output [batch, cells, 5 + classes]; this one: {signature}"
            )
        if any(side % STRIDES[-1] for side in size_hw):
            raise InvalidInputError(
                f"YOLOX needs a height and width that are multiples of {STRIDES[-1]}, not {size_hw[1]}x{size_hw[0]}",
                cure="give another --size",
            )
        cells, width = signature.outputs[0][1][1:]
        exported_hw = signature.size_hw or size_hw
        if width is None or width <= 5:
            raise InvalidInputError(f"the last axis of a YOLOX output is 5 + classes; this network: {signature}")
        if strides_for(cells, exported_hw) is None:
            raise InvalidInputError(
                f"{cells} rows do not fit the grids of YOLOX at {exported_hw[1]}x{exported_hw[0]}",
                cure="choose the --head that the network really has",
            )

    def decode(
        self, build: GraphBuilder, outputs: Sequence[str], signature: Signature, size_hw: tuple[int, int]
    ) -> Candidates:
        """See `Head.decode`."""
        cells, width = signature.outputs[0][1][1:]
        strides = strides_for(cells, signature.size_hw or size_hw)
        assert width is not None  # `check` has seen to it
        assert strides is not None
        offsets, steps = grid(size_hw, strides)
        # Channels first: NMS wants the scores so, and the network had them so before its last transposition.
        raw = build.transpose(outputs[0], 0, 2, 1)
        centre = build.op("Add", build.slice(raw, 0, 2, 1), build.constant(offsets.T[None]))
        centre = build.op("Mul", centre, build.constant(steps.T[None]))
        size = build.op("Mul", build.op("Exp", build.slice(raw, 2, 4, 1)), build.constant(steps.T[None]))
        half = build.op("Mul", size, build.float(0.5))
        corners = build.op("Concat", build.op("Sub", centre, half), build.op("Add", centre, half), axis=1)
        scores = build.op("Mul", build.slice(raw, 5, width, 1), build.slice(raw, 4, 5, 1))
        return Candidates(boxes=build.transpose(corners, 0, 2, 1), scores=scores, classes=width - 5)
