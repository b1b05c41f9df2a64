"""Tracker, healing and counting of one camera and run."""

from dataclasses import dataclass

from countline_pipelines.counting.events import Event, Identity
from countline_pipelines.counting.spec import CountingSpec
from countline_pipelines.tracking import TrackerSettings
from countline_pipelines.types import DetectionFrame, TrackedFrame


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What one frame led to."""

    tracked: TrackedFrame
    events: tuple[Event, ...]


class CameraCounter:
    """Counts one camera from one start of its tracker to its end; a new run (restart, other picture size) is a new counter."""

    def __init__(
        self,
        identity: Identity,
        spec: CountingSpec,
        tracking: TrackerSettings = TrackerSettings(),
        tracked: bool = False,
    ) -> None:
        raise NotImplementedError

    def update(self, frame: DetectionFrame) -> FrameResult:
        raise NotImplementedError

    def update_tracked(self, frame: TrackedFrame) -> FrameResult:
        raise NotImplementedError

    def flush(self) -> tuple[Event, ...]:
        raise NotImplementedError

    def reconfigure(self, spec: CountingSpec) -> None:
        raise NotImplementedError
