"""Where objects were at one moment: boxes whose objects are known, and the sights of them that lines and zones take."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats


@dataclass(frozen=True, slots=True)
class Observations:
    """Boxes of N different objects at one moment."""

    rows: NDArray[np.intp]
    """As in `Sights`."""
    t: Floats
    running_s: Floats
    frame: NDArray[np.int64]
    xyxy_px: Floats
    scores: Floats
    classes: NDArray[np.int64]
    tracks: NDArray[np.int64]
    """(N,) ids of the tracker."""
    estimates: Floats
    """(N, 14) of the tracker (`tracking.smoothing`); (N, 0) for tracks of another tracker."""
    known_at: Floats
    """As in `Sights`."""
    picture_wh: tuple[int, int]

    def at(self, xyxy_px: Floats) -> Self:
        """Return the same with other boxes (N, 4)."""
        return replace(self, xyxy_px=xyxy_px)

    def of(self, chosen: NDArray[np.bool_]) -> Self:
        """Return the observations of some objects, marked in (N,)."""
        columns = {name: getattr(self, name)[chosen] for name in _COLUMNS}
        return type(self)(**columns, picture_wh=self.picture_wh)


_COLUMNS = tuple(field.name for field in fields(Observations) if field.name != "picture_wh")


@dataclass(frozen=True, slots=True)
class Sights:
    """Observations of N different objects at one moment."""

    rows: NDArray[np.intp]
    """(N,) row of each object in the table of objects."""
    t: Floats
    """(N,) capture times."""
    frame: NDArray[np.int64]
    """(N,) frame indices."""
    xy_px: Floats
    """(N, 2) anchors."""
    hidden: Floats
    """(N, 2) vector from the anchor to where it would be without the picture's border, as a share of the size that the
    border hides; 0 where the border hides nothing."""
    height_px: Floats
    """(N,) heights by which distances are measured."""
    before_t: Floats
    """(N,) capture time of each object's previous sight."""
    before_xy_px: Floats
    """(N, 2) anchor at the previous sight; NaN for an object seen for the first time."""
    width_px: Floats
    """(N,) widths that belong to `height_px`."""
    known_at: Floats
    """(N,) capture time of the frame with which it was known whose sights these are. It is later than `t` if a fragment
    waited until its object was known."""
