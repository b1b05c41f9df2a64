"""The detections of one frame, and the tracked objects of one frame: the input of a counter.

Boxes are in pixels of the source picture, not normalised: a distance in normalised coordinates would be longer one
way than the other. Times are capture times in seconds. Arrays belong to the frame and are never written to again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DetectionFrame:
    """Detections of one frame, as inference returned them."""

    camera_id: str
    index: int
    """Number of the decoded frame in this run, from 0."""
    t: float
    """Capture time in seconds: Unix time for live cameras, start of the recording plus presentation time for files."""
    size_wh: tuple[int, int]
    """Size of the source picture in pixels."""
    detections: NDArray[np.float32]
    """(N, 6): x1, y1, x2, y2 in source pixels, score 0..1, class."""


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """The objects of one frame, each with the id of its track."""

    camera_id: str
    index: int
    t: float
    size_wh: tuple[int, int]
    ids: NDArray[np.int64]
    """(N,), unique within the frame and within (camera, epoch, run)."""
    xyxy_px: NDArray[np.float64]
    """(N, 4) boxes in source pixels."""
    scores: NDArray[np.float64]
    """(N,) 0..1."""
    classes: NDArray[np.int64]
    """(N,)"""
