"""Boxes in pixels: duplicates, and the part of an object that the picture's border cuts off."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.geometry.boxes import areas
from countline_counting.geometry.segments import Floats
from countline_counting.tracking.association import overlaps


def without_duplicates(
    xyxy_px: Floats, classes: NDArray[np.int64], rank: Callable[[], Sequence[float]]
) -> NDArray[np.bool_]:
    """Return (N,) which of (N, 4) boxes to keep: of two boxes on one object, the one with the lower rank.

    Args:
        xyxy_px: boxes.
        classes: (N,) their classes.
        rank: returns (N,) ranks. It is called only if two boxes lie on one object, which is rare.
    """
    keep = np.ones(len(xyxy_px), dtype=np.bool_)
    rows, columns, share = overlaps(xyxy_px, xyxy_px)
    same = classes[rows] == classes[columns]
    least = np.where(same, rules.SAME_OBJECT_OVERLAP, rules.SAME_OBJECT_OTHER_CLASS_OVERLAP)
    doubled = (rows < columns) & ((share >= least) | _nested(xyxy_px, rows, columns, share))
    if not doubled.any():
        return keep
    order = [(value, i) for i, value in enumerate(rank())]
    pairs = zip(rows[doubled].tolist(), columns[doubled].tolist(), strict=True)
    for better, worse in sorted(sorted((order[i], order[j])) for i, j in pairs):
        if keep[better[1]]:
            keep[worse[1]] = False
    return keep


def _nested(xyxy_px: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp], share: Floats) -> NDArray[np.bool_]:
    """Return (K,) in which pairs one box is the other one, cut short; `share` is their intersection over union."""
    nested = (share >= rules.NESTED_OVERLAP) & (rows < columns)
    if nested.any():
        area = areas(xyxy_px)
        first, second = area[rows[nested]], area[columns[nested]]
        common = share[nested] * (first + second) / (1 + share[nested])
        nested[nested] = common >= rules.NESTED_SHARE * np.minimum(first, second)
    return nested


def completed(xyxy_px: Floats, size_wh_px: Floats, low: NDArray[np.bool_], high: NDArray[np.bool_]) -> Floats:
    """Return (N, 4) boxes as they would be without the picture's border.

    A box that the border cuts off on one side is completed on that side if it is smaller than the known size of its
    object (`size_wh_px`, 0 if unknown). So an object that leaves the picture moves on and does not slide along the
    border.
    """
    first, last = xyxy_px[:, :2], xyxy_px[:, 2:]
    short = (last - first < size_wh_px) & (low != high)
    return np.concatenate(
        [np.where(short & low, last - size_wh_px, first), np.where(short & high, first + size_wh_px, last)], axis=1
    )
