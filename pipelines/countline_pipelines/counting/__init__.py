"""The pure core: tracked objects and geometry in, crossings and visits out. No IO, no clock, no logging."""

from countline_pipelines.counting.camera import CameraCounter, FrameResult
from countline_pipelines.counting.events import Crossing, Direction, Event, Identity, OccupancySample, Visit, event_id
from countline_pipelines.counting.spec import CountingSpec, GeometryError, Line, Zone

__all__ = [
    "CameraCounter",
    "CountingSpec",
    "Crossing",
    "Direction",
    "Event",
    "FrameResult",
    "GeometryError",
    "Identity",
    "Line",
    "OccupancySample",
    "Visit",
    "Zone",
    "event_id",
]
