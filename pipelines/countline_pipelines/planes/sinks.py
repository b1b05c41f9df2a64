"""Sinks that both planes put before the one that a plane was given."""

from collections.abc import Sequence

from countline_counting.events import Crossing, Event
from countline_counting.identity import Identity
from countline_pipelines import metrics
from countline_pipelines.planes.interface import CountedFrame, FrameSink, RunStarted


class MeasuredSink:
    """A `FrameSink` that counts one camera's runs, frames and crossings for Prometheus, and passes them on.

    Args:
        sink: the next sink.
        measures: the camera's metrics.
    """

    def __init__(self, sink: FrameSink, measures: metrics.CameraMetrics) -> None:
        self._sink = sink
        self._measures = measures

    def run_started(self, run: RunStarted) -> None:
        """Count the run."""
        self._measures.runs.inc()
        self._sink.run_started(run)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """Count the frame and its crossings."""
        self._measures.frames.inc()
        self._count_crossings(counted.result.events)
        self._sink.frame_counted(identity, counted)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """Count the crossings."""
        self._count_crossings(events)
        self._sink.events_decided(identity, t, events)

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """Count the crossings that were decided at the end."""
        self._count_crossings(events or ())
        self._sink.run_ended(identity, events)

    def _count_crossings(self, events: Sequence[Event]) -> None:
        crossings = sum(isinstance(event, Crossing) for event in events)
        if crossings:
            self._measures.crossings.inc(crossings)


class NullSink:
    """A `FrameSink` that drops everything."""

    def run_started(self, run: RunStarted) -> None:
        """Drop it."""

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """Drop it."""

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """Drop them."""

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """Drop it."""
