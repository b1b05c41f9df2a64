"""Which detection belongs to which track."""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from countline_pipelines.tracking.motion import Floats

Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]

_IMPOSSIBLE = 1e4
"""A cost that no number of possible pairs adds up to."""


def overlaps(boxes: Floats, others: Floats) -> Floats:
    """Return intersection over union of (N, 4) and (M, 4) boxes x1, y1, x2, y2; (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    span = np.maximum(high - low, 0.0)
    common = span[..., 0] * span[..., 1]
    union = _areas(boxes)[:, None] + _areas(others)[None, :] - common
    return cast("Floats", common / np.maximum(union, 1e-12))


def _areas(boxes: Floats) -> Floats:
    return cast("Floats", (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def cheapest_pairs(cost: Floats, possible: Bools) -> tuple[Rows, Rows]:
    """Return rows and columns of the matching with most pairs, and of those the one with the least cost."""
    if not possible.any():
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    rows, columns = linear_sum_assignment(np.where(possible, cost, _IMPOSSIBLE))
    real = possible[rows, columns]
    return rows[real], columns[real]
