"""What follows the decoder in nvurisrcbin: the conversion to NV12 in NVMM, and the times of a loop."""

import time
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from gi.repository import Gst
from tests.doubles.deepstream import native
from tests.doubles.deepstream.elements.base import NVMM
from tests.doubles.deepstream.facts import tables


def make(name: str, **values: Any) -> Any:
    """An element of GStreamer with these properties."""
    made = Gst.ElementFactory.make(name, None)
    assert made is not None, name
    for key, value in values.items():
        made.set_property(key.replace("_", "-"), value)
    return made


class SourceTail:
    """Converter to NV12, step into NVMM, and a filter so that the pad promises NVMM.

    Args:
        every: pass one frame of so many; 0 or 1 for all.
        on_end: called at the end of the stream; returns whether it is held back.
    """

    def __init__(self, every: int, on_end: Callable[[], bool]) -> None:
        self._every = every
        self._on_end = on_end
        self._decoded = 0
        self._offset_ns = 0
        self._end_ns = 0
        self.heard_at = time.monotonic()
        """Monotonic time of the last frame."""
        self.elements = [
            make("videoconvert"),
            make("capsfilter", caps=Gst.Caps.from_string("video/x-raw, format=NV12")),
            make("nvvideoconvert"),
            make("capsfilter", caps=Gst.Caps.from_string(f"{NVMM}, format=NV12")),
        ]

    @property
    def sink(self) -> Any:
        """The pad that takes decoded pictures."""
        return self.elements[0].get_static_pad("sink")

    @property
    def source(self) -> Any:
        """The pad that gives frames in NVMM."""
        return self.elements[-1].get_static_pad("src")

    def add_to(self, bin_: Any) -> None:
        """Put the elements into a bin and link them."""
        for element in self.elements:
            bin_.add(element)
        for one, other in pairwise(self.elements):
            assert one.link(other)
        self.source.add_probe(Gst.PadProbeType.BUFFER, _probe(self, SourceTail._frame))
        # An EOS must be dropped before a pad sees it: afterwards the pad accepts no event.
        mask = Gst.PadProbeType.EVENT_DOWNSTREAM | Gst.PadProbeType.EVENT_FLUSH
        self.sink.add_probe(mask, _probe(self, SourceTail._event))
        for element in self.elements:
            element.sync_state_with_parent()

    def loop(self) -> None:
        """Let the times of the next frames follow those of the last."""
        self._offset_ns = max(1, self._end_ns)

    def announce_reset(self, source_id: int) -> None:
        """Send the event that the source was reset."""
        structure = Gst.Structure.new_empty("nv-mux-event")
        structure.set_value("source-id", source_id)
        self.source.push_event(native.custom_event(tables()["events"]["GST_NVEVENT_STREAM_RESET"], structure))

    def _frame(self, info: Any) -> Any:
        """Handle a decoded frame: record it, apply drop-frame-interval, continue the time of a loop."""
        self.heard_at = time.monotonic()
        index, self._decoded = self._decoded, self._decoded + 1
        if self._every > 1 and index % self._every:
            return Gst.PadProbeReturn.DROP
        buffer = info.get_buffer()
        if self._offset_ns and buffer.pts != Gst.CLOCK_TIME_NONE:
            buffer.pts += self._offset_ns
        if buffer.pts != Gst.CLOCK_TIME_NONE:
            duration = buffer.duration if buffer.duration != Gst.CLOCK_TIME_NONE else Gst.SECOND // 25
            self._end_ns = max(self._end_ns, buffer.pts + duration)
        return Gst.PadProbeReturn.OK

    def _event(self, info: Any) -> Any:
        event = info.get_event()
        is_flush = event.type in {Gst.EventType.FLUSH_START, Gst.EventType.FLUSH_STOP}
        is_held = self._on_end() if event.type == Gst.EventType.EOS else is_flush and self._offset_ns
        return Gst.PadProbeReturn.DROP if is_held else Gst.PadProbeReturn.OK


def _probe(tail: SourceTail, method: Any) -> Any:
    """A method as a probe that does not keep the tail alive."""
    reference = weakref.ref(tail)

    def probe(_pad: Any, info: Any) -> Any:
        found = reference()
        return Gst.PadProbeReturn.OK if found is None else method(found, info)

    return probe
