"""The way out of a branch: to the sink, through the router of a model change, or nowhere. It may change at any time."""

from collections.abc import Sequence

from countline_counting.events import Event
from countline_counting.identity import Identity
from countline_pipelines.planes.interface import CountedFrame, FrameSink, RunStarted
from countline_pipelines.planes.sinks import NullSink


class Outlet:
    """A `FrameSink` that passes everything to `observer` and then to `sink`; both may be replaced between two calls.

    Args:
        sink: the next sink.
    """

    def __init__(self, sink: FrameSink) -> None:
        self.sink = sink
        self.observer: FrameSink = NullSink()

    def run_started(self, run: RunStarted) -> None:
        """Pass it on."""
        self.observer.run_started(run)
        self.sink.run_started(run)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """Pass it on."""
        self.observer.frame_counted(identity, counted)
        self.sink.frame_counted(identity, counted)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """Pass them on."""
        self.observer.events_decided(identity, t, events)
        self.sink.events_decided(identity, t, events)

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """Pass it on."""
        self.observer.run_ended(identity, events)
        self.sink.run_ended(identity, events)
