"""One camera's source inside a pipeline: nvurisrcbin, linked to a pad of the muxer of its own.

    nvurisrcbin ─ [identity sync=1: files in real time, loops] ─ gate ─ sink_N of nvstreammux

The gate is a probe on the last pad before the muxer. It notes each frame (`Passage`), leaves out what is not looked at,
and holds files back while the plane is paused. Made, and taken apart, in the main loop's thread.
"""

import threading
import time
from typing import Any, Final

from countline_common.logs import get_logger
from countline_pipelines.deepstream import properties
from countline_pipelines.deepstream.gst import PipelineError, Runtime, make
from countline_pipelines.deepstream.passage import Passage
from countline_pipelines.deepstream.preview import Preview
from countline_pipelines.deepstream.properties import PipelineOptions
from countline_pipelines.software.meters import RateMeter
from countline_pipelines.sources import Playback, SourceSpec

NVMM: Final = "memory:NVMM"
LOOK_S: Final = 0.1
"""Between looks at whether a paused source shall stop."""
STOP_NS: Final = 5_000_000_000
_log = get_logger(__name__)


class Gate:
    """What passes into the muxer; shared between the plane and the source's streaming thread."""

    def __init__(self, spec: SourceSpec) -> None:
        self.passage = Passage(spec)
        self.meter = RateMeter()
        self.duration_s = 0.0
        self.preview: Preview | None = None
        self._waits = spec.playback.is_finite
        self._stopping = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def pause(self) -> None:
        """Let nothing pass: a file waits, a camera's frames are left out."""
        self._open.clear()

    def resume(self) -> None:
        """Undo `pause`."""
        self._open.set()

    def stop(self) -> None:
        """Let nothing pass any more, and hold up nobody."""
        self._stopping.set()
        self._open.set()

    def take(self, pts_ns: int | None, buffer: Any) -> bool:
        """A frame at the gate, in its streaming thread; whether it passes."""
        now = time.monotonic()
        self.meter.tick(now)
        while not self._open.is_set():
            if not self._waits:
                return False
            self._open.wait(LOOK_S)
        if self._stopping.is_set() or not self.passage.enter(pts_ns, time.time(), now):
            return False
        preview = self.preview
        if preview is not None:
            preview.offer(buffer, pts_ns, now)
        return True


class CameraSource:
    """See the module.

    Args:
        runtime: GStreamer.
        options: of the pipeline.
        pipeline, mux: to be part of, and to be linked to.
        index: of the muxer's pad, never used before in this pipeline.
        spec: what is played.
        gate: what is asked about each frame.

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
        gate: Gate,
    ) -> None:
        self._gst = runtime.gst
        self._pipeline, self._mux = pipeline, mux
        self._gate = gate
        self._paced = spec.playback in {Playback.REALTIME, Playback.LOOP}
        self.name = source_name(index)
        values = properties.source_properties(options, spec, index)
        self._bin = make(self._gst, "nvurisrcbin", self.name, values)
        self._pace = self._make_pace(options, index) if self._paced else None
        self._sink_pad = mux.request_pad_simple(f"sink_{index}")
        if self._sink_pad is None:
            raise PipelineError(f"nvstreammux gives no pad sink_{index}", cure="see the worker's log")
        self._probe = self._sink_pad.add_probe(self._gst.PadProbeType.BUFFER, self._at_gate)
        self._handler = self._bin.connect("pad-added", self._pad_added)

    def _make_pace(self, options: PipelineOptions, index: int) -> Any:
        return make(self._gst, "identity", f"pace-{index}", properties.pacing_properties(options))

    def start(self) -> None:
        """Begin to play; what goes wrong is told on the bus.

        Raises:
            PipelineError: it cannot even begin.
        """
        self._pipeline.add(self._bin)
        if self._pace is not None:
            self._pipeline.add(self._pace)
            self._pace.get_static_pad("src").link(self._sink_pad)
            self._pace.sync_state_with_parent()
        if not self._bin.sync_state_with_parent():
            raise PipelineError(f"{self.name} does not start", cure="see the worker's log")

    def _pad_added(self, _: Any, pad: Any) -> None:
        """The source has found its video; in its streaming thread."""
        caps = pad.get_current_caps() or pad.query_caps(None)
        if not _is_decoded_video(caps):
            return
        found, numerator, denominator = caps.get_structure(0).get_fraction("framerate")
        if found and denominator:
            self._gate.passage.describe(numerator / denominator)
        known, duration_ns = pad.query_duration(self._gst.Format.TIME)
        self._gate.duration_s = duration_ns / 1e9 if known and duration_ns > 0 else 0.0
        if self._pace is not None:
            # Else a source that is added to a pipeline which has played for an hour would be an hour late.
            pad.set_offset(self._running_time())
        target = self._sink_pad if self._pace is None else self._pace.get_static_pad("sink")
        if not target.is_linked() and pad.link(target) != self._gst.PadLinkReturn.OK:
            _log.error("source.not_linked", source=self.name, caps=caps.to_string())

    def _running_time(self) -> int:
        clock = self._pipeline.get_clock()
        return max(0, clock.get_time() - self._pipeline.get_base_time()) if clock is not None else 0

    def _at_gate(self, _: Any, info: Any) -> Any:
        buffer = info.get_buffer()
        pts_ns = None if buffer.pts == self._gst.CLOCK_TIME_NONE else buffer.pts
        passes = self._gate.take(pts_ns, buffer)
        return self._gst.PadProbeReturn.OK if passes else self._gst.PadProbeReturn.DROP

    def caps(self) -> Any | None:
        """Of the pictures that come; None before the first one."""
        return self._sink_pad.get_current_caps() if self._sink_pad is not None else None

    def stop(self) -> None:
        """Stop decoding; what is in the muxer goes its way."""
        self._gate.stop()
        for element in (self._bin, self._pace):
            if element is not None and element.set_state(self._gst.State.NULL) == self._gst.StateChangeReturn.ASYNC:
                element.get_state(STOP_NS)

    def remove(self) -> None:
        """Give the muxer's pad back and let everything go; after `stop`."""
        self._bin.disconnect(self._handler)
        self._sink_pad.remove_probe(self._probe)
        # The order of NVIDIA's sample: flush, release, remove; otherwise the muxer may wait for the pad for ever.
        self._sink_pad.send_event(self._gst.Event.new_flush_stop(False))
        self._mux.release_request_pad(self._sink_pad)
        for element in (self._bin, self._pace):
            if element is not None and element.get_parent() is not None:
                self._pipeline.remove(element)
        self._sink_pad = self._bin = self._pace = None


def source_name(index: int) -> str:
    """Name of the element of the source on that pad."""
    return f"source-{index}"


def _is_decoded_video(caps: Any) -> bool:
    if caps is None or caps.is_empty() or caps.is_any():
        return False
    return bool(caps.get_structure(0).get_name() == "video/x-raw" and caps.get_features(0).contains(NVMM))
