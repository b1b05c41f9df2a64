"""Where what a branch counts goes: to the sink, through a change of version, or nowhere; that may change under way."""

from collections.abc import Sequence
from typing import Protocol

from countline_counting.events import Crossing, Event
from countline_counting.identity import Identity
from countline_pipelines import metrics
from countline_pipelines.planes.interface import CountedFrame, PlaneSink, RunStarted


class FrameSink(Protocol):
    """The part of `PlaneSink` that speaks of runs."""

    def run_started(self, run: RunStarted) -> None:
        """Before the run's first frame."""
        ...

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """After each frame."""
        ...

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """What a run decides after another has taken its frames over."""
        ...

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """After the run's last frame."""
        ...


class Outlet:
    """Passes everything on to `sink`, which may be another one from the next call on; `ear` hears it before.

    Args:
        sink: whom to tell.
    """

    def __init__(self, sink: FrameSink) -> None:
        self.sink = sink
        self.ear: FrameSink = Nowhere()

    def run_started(self, run: RunStarted) -> None:
        """See `FrameSink`."""
        self.ear.run_started(run)
        self.sink.run_started(run)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """See `FrameSink`."""
        self.ear.frame_counted(identity, counted)
        self.sink.frame_counted(identity, counted)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """See `FrameSink`."""
        self.ear.events_decided(identity, t, events)
        self.sink.events_decided(identity, t, events)

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """See `FrameSink`."""
        self.ear.run_ended(identity, events)
        self.sink.run_ended(identity, events)


class Measured:
    """Counts what is told of one camera, and passes it on."""

    def __init__(self, sink: PlaneSink, camera_id: str, measures: metrics.CameraMetrics) -> None:
        self._sink = sink
        self._camera_id = camera_id
        self._measures = measures

    def run_started(self, run: RunStarted) -> None:
        """See `FrameSink`."""
        metrics.RUNS.labels(self._camera_id).inc()
        self._sink.run_started(run)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """See `FrameSink`."""
        self._measures.frames.inc()
        self._count(counted.result.events)
        self._sink.frame_counted(identity, counted)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """See `FrameSink`."""
        self._count(events)
        self._sink.events_decided(identity, t, events)

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """See `FrameSink`."""
        self._count(events or ())
        self._sink.run_ended(identity, events)

    def _count(self, events: Sequence[Event]) -> None:
        crossings = sum(isinstance(event, Crossing) for event in events)
        if crossings:
            self._measures.crossings.inc(crossings)


class Nowhere:
    """For counts that are not the camera's."""

    def run_started(self, run: RunStarted) -> None:
        """See `FrameSink`."""

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """See `FrameSink`."""

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """See `FrameSink`."""

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """See `FrameSink`."""
