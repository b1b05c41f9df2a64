"""Facts about boxes and objects that the counter emits to a listener, if it has one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats, Point
from countline_counting.reasons import Reason


@dataclass(frozen=True, slots=True)
class ObjectBegan:
    """A new object has a row in the table of objects."""

    row: int
    number: int
    """The track number that events use."""


@dataclass(frozen=True, slots=True)
class BoxesLeftOut:
    """N boxes of one frame that counting does not use, for one reason."""

    t: float
    xyxy_px: Floats
    """(N, 4)"""
    xy_px: Floats
    """(N, 2) anchors."""
    ids: NDArray[np.int64] | None
    """(N,) ids of the tracker; None for boxes that were not tracked."""
    reason: Reason


@dataclass(frozen=True, slots=True)
class TrackUnconfirmed:
    """A track that counting takes for false detections."""

    path: tuple[tuple[float, Point], ...]
    """Capture time and anchor in pixels of each sight."""


ObjectFact = ObjectBegan | BoxesLeftOut | TrackUnconfirmed
ObjectListener = Callable[[ObjectFact], None]
