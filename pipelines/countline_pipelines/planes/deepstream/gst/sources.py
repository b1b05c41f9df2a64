"""One camera's source inside a pipeline: nvurisrcbin, linked to a pad of the muxer of its own.

    nvurisrcbin ─ gate ─ sink_N of nvstreammux

The gate is a probe on the pad before the muxer. It notes each frame (`Passage`), leaves out what is not looked at,
holds files back while the plane is paused, and files in real time until their frames are due. (An `identity sync=1`
would do the last; but nvurisrcbin repeats a file with times beyond its segment, and those are never waited for.)

Made, and taken apart, in the main loop's thread.
"""

import threading
import time
from typing import Any, Final

from countline_common.logs import get_logger
from countline_pipelines.planes.deepstream.cameras.metadata import follow_camera_clock
from countline_pipelines.planes.deepstream.cameras.passage import Passage
from countline_pipelines.planes.deepstream.cameras.preview import Preview
from countline_pipelines.planes.deepstream.config import properties
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions
from countline_pipelines.planes.deepstream.gst.library import PipelineError, Runtime, make
from countline_pipelines.planes.meters import RateMeter
from countline_pipelines.sources import Playback, SourceSpec

NVMM: Final = "memory:NVMM"
AHEAD_S: Final = 60.0
"""A file in real time whose times jump further than this is not waited for: its time begins anew."""
LOOK_S: Final = 0.1
"""Between looks at whether a paused source shall stop."""
BEHIND_S: Final = 2.0
"""A file in real time that is further behind than this is not hurried to catch up: its time begins anew."""
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
        self._paced = spec.playback in {Playback.REALTIME, Playback.LOOP}
        self._origin: float | None = None
        """Monotonic time at which presentation time 0 is due."""
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
        if self._paced and pts_ns is not None:
            self._wait_until_due(pts_ns / 1e9)
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

    def _wait_until_due(self, pts_s: float) -> None:
        now = time.monotonic()
        early_s = 0.0 if self._origin is None else self._origin + pts_s - now
        if self._origin is None or not -BEHIND_S < early_s < AHEAD_S:
            self._origin, early_s = now - pts_s, 0.0
        self._stopping.wait(max(0.0, early_s))


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
        self.name = source_name(index)
        values = properties.source_properties(options, spec, index)
        self._bin = make(self._gst, "nvurisrcbin", self.name, values)
        self._sink_pad = mux.request_pad_simple(f"sink_{index}")
        if self._sink_pad is None:
            raise PipelineError(f"nvstreammux gives no pad sink_{index}", hint="see the worker's log")
        self._probe = self._sink_pad.add_probe(self._gst.PadProbeType.BUFFER, self._at_gate)
        self._pyds = runtime.pyds
        self._handlers = [self._bin.connect("pad-added", self._pad_added)]
        if spec.is_rtsp:
            self._handlers.append(self._bin.connect("deep-element-added", self._element_added))

    def start(self) -> None:
        """Begin to play; what goes wrong is told on the bus.

        Raises:
            PipelineError: it cannot even begin.
        """
        self._pipeline.add(self._bin)
        if not self._bin.sync_state_with_parent():
            raise PipelineError(f"{self.name} does not start", hint="see the worker's log")

    def _element_added(self, _: Any, __: Any, element: Any) -> None:
        """The bin makes its rtspsrc anew each time that it connects again."""
        factory = element.get_factory()
        if factory is not None and factory.get_name() == "rtspsrc":
            follow_camera_clock(self._pyds, element)

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
        sink_pad, check = self._sink_pad, self._gst.PadLinkCheck.DEFAULT
        # Not `link`, which gst-python makes raise an error of its own, here in GStreamer's thread.
        if not sink_pad.is_linked() and pad.link_full(sink_pad, check) != self._gst.PadLinkReturn.OK:
            _log.error("source.not_linked", source=self.name, caps=caps.to_string())

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
        # The pipeline may be about to take its children to PLAYING, in a thread of its own: this one stays down.
        self._bin.set_locked_state(True)
        if self._bin.set_state(self._gst.State.NULL) == self._gst.StateChangeReturn.ASYNC:
            self._bin.get_state(STOP_NS)

    def remove(self) -> None:
        """Give the muxer's pad back and let everything go; after `stop`."""
        for handler in self._handlers:
            self._bin.disconnect(handler)
        self._sink_pad.remove_probe(self._probe)
        # The order of NVIDIA's sample: flush, release, remove; otherwise the muxer may wait for the pad for ever.
        self._sink_pad.send_event(self._gst.Event.new_flush_stop(False))
        self._mux.release_request_pad(self._sink_pad)
        if self._bin.get_parent() is not None:
            self._pipeline.remove(self._bin)
        self._sink_pad = self._bin = None


def source_name(index: int) -> str:
    """Name of the element of the source on that pad."""
    return f"source-{index}"


def _is_decoded_video(caps: Any) -> bool:
    if caps is None or caps.is_empty() or caps.is_any():
        return False
    return bool(caps.get_structure(0).get_name() == "video/x-raw" and caps.get_features(0).contains(NVMM))
