"""Makes the training targets of a picture; NumPy only.

As in CenterNet (Zhou et al. 2019) each object is a bump on its class's map. The box is learned at all cells near the
centre, not at one (Liu et al. 2020, TTFNet).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

STRIDE: Final = 4
SPREAD: Final = 0.06
"""Standard deviation of a bump, as a share of the side of a square with the box's area. The bump is round and not as
tall as the box: the centres of two people who walk side by side, away from the camera, lie above each other."""
LEAST_SPREAD: Final = 0.7
"""Its least value, in cells."""
BOX_FROM: Final = 0.35
"""The box is learned in cells where the bump is at least this high."""
LEARNED_VISIBLE: Final = 0.3
"""Objects that are less visible, or lower than `LEARNED_HEIGHT_PX`, are neither right nor wrong to find."""
LEARNED_HEIGHT_PX: Final = 11.0


@dataclass(frozen=True)
class Targets:
    """Maps for one picture of H x W pixels; h = H / 4, w = W / 4."""

    centres: NDArray[np.float32]
    """(classes, h, w), 1 at centres, falling off around them."""
    counted: NDArray[np.float32]
    """(classes, h, w): 0 in cells where no centre is learned."""
    boxes: NDArray[np.float32]
    """(4, h, w): box in pixels of the object that owns the cell."""
    weights: NDArray[np.float32]
    """(h, w): weight of the box of a cell, 0 without a box."""
    objects: int
    """Number of objects to find."""


def make_targets(objects: NDArray[np.float32], size_hw: tuple[int, int], classes: int) -> Targets:
    """Targets for objects (N, 6): x1, y1, x2, y2 in pixels, visible share, class."""
    height, width = size_hw[0] // STRIDE, size_hw[1] // STRIDE
    made = Targets(
        np.zeros((classes, height, width), dtype=np.float32),
        np.ones((classes, height, width), dtype=np.float32),
        np.zeros((4, height, width), dtype=np.float32),
        np.zeros((height, width), dtype=np.float32),
        _learned(objects).sum().item(),
    )
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    order = np.argsort(-(objects[:, 2] - objects[:, 0]) * (objects[:, 3] - objects[:, 1]), kind="stable")
    for row, learned in zip(objects[order], _learned(objects)[order], strict=True):
        _add(made, row, learned=bool(learned), columns=columns, rows=rows)
    return made


def _learned(objects: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray((objects[:, 4] >= LEARNED_VISIBLE) & (objects[:, 3] - objects[:, 1] >= LEARNED_HEIGHT_PX))


def _add(
    made: Targets, row: NDArray[np.float32], *, learned: bool, columns: NDArray[np.float32], rows: NDArray[np.float32]
) -> None:
    """Draw one object; a cell belongs to the object whose bump is highest there, and the smaller one wins a tie."""
    x1, y1, x2, y2 = row[:4].tolist()
    class_id = int(row[5])
    if x2 - x1 < 1 or y2 - y1 < 1:
        return
    column, line = (x1 + x2) / 2 / STRIDE - 0.5, (y1 + y2) / 2 / STRIDE - 0.5
    spread = max(SPREAD * ((x2 - x1) * (y2 - y1)) ** 0.5 / STRIDE, LEAST_SPREAD)
    bump = np.exp(-((rows[:, None] - line) ** 2 + (columns[None] - column) ** 2) / (2 * spread**2))
    bump /= bump.max()
    if not learned:
        inside = (
            (rows[:, None] * STRIDE >= y1 - 4)
            & (rows[:, None] * STRIDE <= y2)
            & (columns[None] * STRIDE >= x1 - 4)
            & (columns[None] * STRIDE <= x2)
        )
        # The object that hides it may have its centre here; that centre is still learned.
        made.counted[class_id][inside & (made.centres[class_id] < 0.05)] = 0.0
        return
    made.counted[class_id][bump > 0.05] = 1.0
    np.maximum(made.centres[class_id], bump, out=made.centres[class_id])
    near = (bump >= BOX_FROM) & (bump >= made.weights)
    made.boxes[:, near] = np.array([x1, y1, x2, y2], dtype=np.float32)[:, None]
    made.weights[near] = bump[near]
