"""The path of an object as counting emits it: a poly-line whose corners have times and sizes.

`trajectories` makes these paths and states their error.
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
class ObjectPath:
    """A poly-line in time, or one part of it. Place and size change evenly between two corners."""

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
    """Corners at which the object was found again under another id; what it did then was known `healing.SETTLE_S`
    later."""
    sights: int
    """Number of sights from the first corner to the last."""
    error_heights: float
    """Largest distance of a sight from the path at the same time, as a share of the object's height; at least
    `LEAST_ERROR_PX` times the square root of 2."""
    part: int
    """Number of this part of the track, from 0."""
    continues: bool
    """Whether another part follows, which begins at the last corner of this one."""

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
    """The path of one object, or one part of it; emitted when the path or the part has ended."""

    id: str
    """The same for the same camera, epoch, run, track and part."""
    track: int
    class_id: int
    """By the object's life up to the end of this part."""
    score: float
    """Mean over the object's life."""
    stitched: bool
    picture_wh: tuple[int, int]
    path: ObjectPath
