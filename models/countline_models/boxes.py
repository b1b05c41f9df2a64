"""Overlap of boxes x1, y1, x2, y2; all in the same unit."""

import numpy as np
from numpy.typing import NDArray


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of every box of a (N, 4) with every box of b (M, 4); returns (N, M)."""
    shared = _shared(a, b)
    return np.asarray(shared / np.maximum(_area(a)[:, None] + _area(b)[None] - shared, 1e-6))


def share_on(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of each box of a (N, 4) that lies on each box of b (M, 4); returns (N, M)."""
    return np.asarray(_shared(a, b) / np.maximum(_area(a)[:, None], 1e-6))


def _shared(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2))


def _area(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
