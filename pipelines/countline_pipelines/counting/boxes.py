"""Boxes in pixels: duplicates, and the part of an object that the picture's border cuts off."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_pipelines.counting.geometry import Floats
from countline_pipelines.tracking.association import overlaps

BORDER_SHARE: Final = 0.006
"""A box whose edge is within this share of the picture's width or height of the border is cut off by it."""


def without_duplicates(xyxy_px: Floats, rank: Floats, overlap: float) -> NDArray[np.bool_]:
    """Return which of (N, 4) boxes to keep: of two that overlap more than `overlap`, the one with the lower rank."""
    keep = np.ones(len(xyxy_px), dtype=np.bool_)
    if len(xyxy_px) < 2:
        return keep
    rows, columns = np.nonzero(overlaps(xyxy_px, xyxy_px) >= overlap)
    pairs = {(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if (rank[i], i) < (rank[j], j)}
    for better, worse in sorted(pairs, key=lambda pair: (rank[pair[0]], pair)):
        if keep[better]:
            keep[worse] = False
    return keep


def uncut(xyxy_px: Floats, size_wh_px: Floats, picture_wh: tuple[int, int]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (N, 4) boxes as they would be if the picture went on, and (N,) whether they lie wholly in the picture.

    A box that the border cuts off on one side, and that is smaller than the object is known to be (`size_wh_px`, 0
    where that is not known), is completed on that side: whoever walks out of the picture goes on, instead of sliding
    along its border.
    """
    picture = np.array(picture_wh, dtype=np.float64)
    margin = BORDER_SHARE * picture
    low, high = xyxy_px[:, :2], xyxy_px[:, 2:]
    cut_low, cut_high = low <= margin, high >= picture - margin
    whole = ~(cut_low | cut_high).any(axis=1)
    if whole.all():
        return xyxy_px, whole
    short = (high - low < size_wh_px) & (cut_low != cut_high)
    completed = np.concatenate(
        [
            np.where(short & cut_low, high - size_wh_px, low),
            np.where(short & cut_high, low + size_wh_px, high),
        ],
        axis=1,
    )
    return completed, whole
