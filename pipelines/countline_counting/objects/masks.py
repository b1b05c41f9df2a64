"""Include and ignore masks: which boxes are used, by the place of their anchors. Masks apply before tracking."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.polygons import inside
from countline_counting.geometry.segments import Floats, Points
from countline_counting.spec import Mask, MaskKind

Bools = NDArray[np.bool_]

_UNSURE: Final = 1e-9
"""For a point nearer to an edge than this share of the picture's area, exact arithmetic decides its side."""


class MaskFilter:
    """The masks of one camera.

    Args:
        masks: in normalised coordinates.
        size_wh: size of the picture in pixels.
    """

    def __init__(self, masks: Sequence[Mask], size_wh: tuple[int, int]) -> None:
        width, height = size_wh
        self._unsure = _UNSURE * width * height
        outlines = [(mask.kind, tuple((x * width, y * height) for x, y in mask.polygon)) for mask in masks]
        self._include = [outline for kind, outline in outlines if kind is MaskKind.INCLUDE]
        self._ignore = [outline for kind, outline in outlines if kind is MaskKind.IGNORE]

    def seen(self, xy_px: Floats) -> Bools:
        """Return (N,) which of (N, 2) anchors are seen: in an include mask, if there are any, and in no ignore mask."""
        seen = np.full(len(xy_px), not self._include)
        for outline in self._include:
            seen |= self._inside(outline, xy_px)
        for outline in self._ignore:
            seen &= ~self._inside(outline, xy_px)
        return seen

    def _inside(self, outline: Points, xy_px: Floats) -> Bools:
        """Apply the even-odd rule to many points, and `inside` to those for which rounding could matter."""
        x, y = xy_px[:, 0], xy_px[:, 1]
        odd, unsure = np.zeros(len(x), dtype=np.bool_), np.zeros(len(x), dtype=np.bool_)
        for (ax, ay), (bx, by) in zip(outline, (*outline[1:], outline[0]), strict=True):
            spans = (ay > y) != (by > y)
            cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
            odd ^= spans & ((cross > 0) == (ay > by))
            unsure |= spans & (np.abs(cross) <= self._unsure)
        for i in np.nonzero(unsure)[0].tolist():
            odd[i] = inside(outline, (float(x[i]), float(y[i])))
        return odd


def anchors(xyxy_px: Floats, anchor: tuple[float, float]) -> Floats:
    """Return the anchors (N, 2) of (N, 4) boxes."""
    return np.asarray(xyxy_px[:, :2] + (xyxy_px[:, 2:4] - xyxy_px[:, :2]) * np.array(anchor))
