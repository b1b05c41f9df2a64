"""Where what a branch counts goes: to the sink, through a change of version, or nowhere; that may change under way."""

from collections.abc import Sequence

from countline_counting import Event, Identity
from countline_pipelines.planes.interface import CountedFrame, FrameSink, RunStarted
from countline_pipelines.planes.sinks import NullSink


class Outlet:
    """Passes everything on to `sink`, which may be another one from the next call on; `ear` hears it before.

    Args:
        sink: whom to tell.
    """

    def __init__(self, sink: FrameSink) -> None:
        self.sink = sink
        self.ear: FrameSink = NullSink()

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
