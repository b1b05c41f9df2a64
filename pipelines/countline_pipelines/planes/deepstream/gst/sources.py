"""One camera's source inside a pipeline: a bin, linked to its own pad of the muxer.

    [ nvurisrcbin ─ nvvideoconvert ─ capsfilter ] ─ valve ─ sink_N of nvstreammux

The converter turns and scales pictures as a player does: by the stream's tag of orientation and by the aspect ratio of
its pixels. Tag and caps come before the pictures that they describe. Pictures that are upright and square pass through.
The valve is a probe on the muxer's pad (`SourceValve`). A source is made, stopped and removed in the main loop's
thread.
"""

from fractions import Fraction
from typing import Any, Final

from countline_common.display import Orientation
from countline_common.logs import get_logger
from countline_pipelines.planes.deepstream.cameras.metadata import follow_camera_clock
from countline_pipelines.planes.deepstream.cameras.valve import SourceValve
from countline_pipelines.planes.deepstream.config import properties
from countline_pipelines.planes.deepstream.config.orientation import (
    FLIP_METHOD,
    ORIENTATION_OF_TAG,
    ORIENTATION_TAG,
    shown_caps,
)
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions
from countline_pipelines.planes.deepstream.gst.elements import add_chain, make
from countline_pipelines.planes.deepstream.gst.library import PipelineError, Runtime
from countline_pipelines.sources import SourceSpec

NVMM: Final = "memory:NVMM"
SOURCE_PREFIX: Final = "source-"
"""Name of a source's bin, before the index of its pad."""
STOP_NS: Final = 5_000_000_000
_log = get_logger(__name__)


class PipelineSource:
    """A source on one pad of the muxer.

    Args:
        runtime: GStreamer and pyds.
        options: of the pipeline.
        pipeline, mux: the Gst.Pipeline that gets the source, and its nvstreammux.
        index: of the muxer's pad, never used before in this pipeline.
        spec: the source.
        valve: decides about each frame.

    Raises:
        PipelineError: an element cannot be made, or the muxer gives no pad.
    """

    def __init__(
        self,
        runtime: Runtime,
        options: PipelineOptions,
        pipeline: Any,
        mux: Any,
        index: int,
        spec: SourceSpec,
        valve: SourceValve,
    ) -> None:
        self._gst = runtime.gst
        self._pipeline, self._mux = pipeline, mux
        self._valve = valve
        self.name = f"{SOURCE_PREFIX}{index}"
        self._source = make(self._gst, "nvurisrcbin", None, properties.source_properties(options, spec, index))
        self._convert = make(self._gst, "nvvideoconvert", None, properties.convert_properties(options))
        self._filter = make(self._gst, "capsfilter", None)
        self._bin = self._gst.Bin.new(self.name)
        self._bin.add(self._source)
        add_chain(self._bin, (self._convert, self._filter))
        self._bin.add_pad(self._gst.GhostPad.new("src", self._filter.get_static_pad("src")))
        self._orientation, self._caps = Orientation.UPRIGHT, ""
        self._sink_pad = mux.request_pad_simple(f"sink_{index}")
        if self._sink_pad is None:
            raise PipelineError(f"nvstreammux gives no pad sink_{index}", hint="see the worker's log")
        self._probe = self._sink_pad.add_probe(self._gst.PadProbeType.BUFFER, self._at_valve)
        self._pyds = runtime.pyds
        self._handlers = [self._source.connect("pad-added", self._pad_added)]
        if spec.is_rtsp:
            self._handlers.append(self._source.connect("deep-element-added", self._element_added))

    def start(self) -> None:
        """Start to play; later failures are messages on the bus.

        Raises:
            PipelineError: the source does not start.
        """
        self._pipeline.add(self._bin)
        if not self._bin.sync_state_with_parent():
            raise PipelineError(f"{self.name} does not start", hint="see the worker's log")

    def _element_added(self, _: Any, __: Any, element: Any) -> None:
        """Nvurisrcbin makes a new rtspsrc at each connection."""
        factory = element.get_factory()
        if factory is not None and factory.get_name() == "rtspsrc":
            follow_camera_clock(self._pyds, element)

    def _pad_added(self, _: Any, pad: Any) -> None:
        """Link the video of the source; in its streaming thread."""
        caps = pad.get_current_caps() or pad.query_caps(None)
        if not _is_decoded_video(caps):
            return
        found, numerator, denominator = caps.get_structure(0).get_fraction("framerate")
        if found and denominator:
            self._valve.transit.describe(numerator / denominator)
        known, duration_ns = pad.query_duration(self._gst.Format.TIME)
        self._valve.duration_s = duration_ns / 1e9 if known and duration_ns > 0 else 0.0
        self._show(caps)
        pad.add_probe(self._gst.PadProbeType.EVENT_DOWNSTREAM, self._event_seen)
        # The muxer waits for linked pads, so its pad is linked only now.
        links = ((self._bin.get_static_pad("src"), self._sink_pad), (pad, self._convert.get_static_pad("sink")))
        for source_pad, sink_pad in links:
            # gst-python's `link` raises an error of its own, here in GStreamer's thread; `link_full` returns a result.
            result = source_pad.link_full(sink_pad, self._gst.PadLinkCheck.DEFAULT)
            if result != self._gst.PadLinkReturn.OK:
                _log.error("source.not_linked", source=self.name, caps=caps.to_string())

    def _event_seen(self, pad: Any, info: Any) -> Any:
        """Take the caps and tags of the pictures that follow."""
        event = info.get_event()
        if event.type == self._gst.EventType.CAPS:
            self._show(event.parse_caps())
        elif event.type == self._gst.EventType.TAG:
            found, text = event.parse_tag().get_string(ORIENTATION_TAG)
            self._orientation = ORIENTATION_OF_TAG.get(text, Orientation.UPRIGHT) if found else self._orientation
            self._show(pad.get_current_caps())
        return self._gst.PadProbeReturn.OK

    def _show(self, caps: Any) -> None:
        """Turn and scale the pictures that follow as a player does."""
        if not _is_decoded_video(caps):
            return
        structure = caps.get_structure(0)
        (_, width), (_, height) = structure.get_int("width"), structure.get_int("height")
        found, numerator, denominator = structure.get_fraction("pixel-aspect-ratio")
        sar = Fraction(numerator, denominator) if found and denominator else None
        shown = shown_caps((width, height), sar, self._orientation)
        self._convert.set_property("flip-method", FLIP_METHOD[self._orientation])
        self._valve.orientation = self._orientation
        if shown != self._caps:
            self._caps = shown
            self._filter.set_property("caps", self._gst.Caps.from_string(shown))

    def _at_valve(self, _: Any, info: Any) -> Any:
        buffer = info.get_buffer()
        pts_ns = None if buffer.pts == self._gst.CLOCK_TIME_NONE else buffer.pts
        admitted = self._valve.admit(pts_ns, buffer)
        return self._gst.PadProbeReturn.OK if admitted else self._gst.PadProbeReturn.DROP

    def caps(self) -> Any | None:
        """Gst.Caps of the decoded frames; None before the first one."""
        return self._sink_pad.get_current_caps() if self._sink_pad is not None else None

    def stop(self) -> None:
        """Stop decoding; frames in the muxer still leave the pipeline."""
        self._valve.stop()
        # The pipeline may be setting its children to PLAYING, in another thread; the lock keeps this one down.
        self._bin.set_locked_state(True)
        if self._bin.set_state(self._gst.State.NULL) == self._gst.StateChangeReturn.ASYNC:
            self._bin.get_state(STOP_NS)

    def remove(self) -> None:
        """Release the muxer's pad and everything else; after `stop`."""
        for handler in self._handlers:
            self._source.disconnect(handler)
        self._sink_pad.remove_probe(self._probe)
        # NVIDIA's sample has this order: flush, release, remove. In another order the muxer may wait for the pad for
        # ever.
        self._sink_pad.send_event(self._gst.Event.new_flush_stop(False))
        self._mux.release_request_pad(self._sink_pad)
        if self._bin.get_parent() is not None:
            self._pipeline.remove(self._bin)
        self._sink_pad = self._bin = self._source = self._convert = self._filter = None


def _is_decoded_video(caps: Any) -> bool:
    if caps is None or caps.is_empty() or caps.is_any():
        return False
    return bool(caps.get_structure(0).get_name() == "video/x-raw" and caps.get_features(0).contains(NVMM))
