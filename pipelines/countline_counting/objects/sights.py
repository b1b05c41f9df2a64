"""The sights that lines, zones and paths take: where objects were at one moment."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats


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
