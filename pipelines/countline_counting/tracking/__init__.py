"""Multi-object tracking for fixed cameras: detections in, tracks out."""

from countline_counting.tracking.settings import TrackerSettings
from countline_counting.tracking.tracker import Tracker

__all__ = ["Tracker", "TrackerSettings"]
