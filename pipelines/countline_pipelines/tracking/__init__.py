"""Multi-object tracking for fixed cameras: detections in, tracks out."""

from countline_pipelines.tracking.settings import TrackerSettings
from countline_pipelines.tracking.tracker import Tracker

__all__ = ["Tracker", "TrackerSettings"]
