"""Multi-object tracking for fixed cameras: detections in, tracks out."""

from countline_pipelines.tracking.settings import TrackerSettings

__all__ = ["TrackerSettings"]
