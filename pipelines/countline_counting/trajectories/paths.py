"""The path of an object as it is said and stored: a poly-line whose corners have times and sizes.

`trajectories` makes them, and says what their error is.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from countline_counting.geometry.segments import Floats

UNITS_PER_PX: Final = 10
"""Corners are kept in tenths of a pixel."""
LEAST_ERROR_PX: Final = 0.1
"""Along either axis an error may be this large, however small the box."""


@dataclass(frozen=True, slots=True)
class Path:
    """A poly-line in time, or one part of it. Between two corners everything goes in a straight line, evenly."""

    start: float
    """Capture time of the first corner, whole microseconds."""
    t_ms: tuple[int, ...]
    """Time of each corner since the start."""
    x: tuple[int, ...]
    """The anchor, in tenths of a pixel."""
    y: tuple[int, ...]
    width: tuple[int, ...]
    """The size of the box, in tenths of a pixel."""
    height: tuple[int, ...]
    unseen: tuple[tuple[int, int], ...]
    """Pairs of indices of corners between which the object was not seen."""
    joined: tuple[int, ...]
    """Corners at which it was found again under another id; what it did then was known `healing.SETTLE_S` later."""
    sights: int
    """How often it was seen from the first corner to the last."""
    error_heights: float
    """No sight is farther from the path at its time than this share of its height; or than the square root of 2 times
    `LEAST_ERROR_PX`, where that is more."""
    part: int
    """Number of this part of the track, from 0."""
    continues: bool
    """Whether another part follows, which begins at this one's last corner."""

    @property
    def end(self) -> float:
        """Capture time of the last corner."""
        return self.start + self.t_ms[-1] / 1000

    def corners(self) -> tuple[Floats, Floats]:
        """Return (K,) capture times and (K, 4) anchor x, y, width, height in pixels."""
        table = np.array([self.x, self.y, self.width, self.height], dtype=np.float64).T / UNITS_PER_PX
        return self.start + np.array(self.t_ms) / 1000, table

    def at(self, times: Floats) -> Floats:
        """Return (N, 4) anchor x, y, width, height in pixels at (N,) capture times within the path."""
        t, table = self.corners()
        return np.column_stack([np.interp(times - self.start, t - self.start, column) for column in table.T])


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The path of one object, or one part of it; said when it has ended."""

    id: str
    """The same for the same camera, epoch, run, track and part."""
    track: int
    class_id: int
    """Settled over the object's life, up to the end of this part."""
    score: float
    """Mean over its life."""
    stitched: bool
    picture_wh: tuple[int, int]
    path: Path
