"""Pictures of one camera for somebody who watches: a small pipeline of its own, beside the one that counts.

    gate ─ appsrc ─ nvvideoconvert (out of GPU memory) ─ sink with a probe ─ av.VideoFrame

A branch inside the counting pipeline would have to be linked and unlinked while it plays, and could hold it up. Here
the gate hands over a reference to a decoded frame a few times a second; one waits at most, the newest wins. Whoever
takes the picture scales it and makes a JPEG of it, as on the software plane. (NVIDIA's `nvjpegenc` would make it on the
GPU, in the camera's full size; what it takes and gives is not among the facts that this plane is held to.)
"""

import threading
from collections import OrderedDict
from itertools import pairwise
from typing import Any, Final

import av
import numpy as np

from countline_common.logs import get_logger
from countline_pipelines.planes.deepstream.config import facts
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions
from countline_pipelines.planes.deepstream.gst.library import Runtime, make

EVERY_S: Final = 0.2
MOST_PICTURES: Final = 4
"""Converted and not yet counted; the older ones are let go."""
_log = get_logger(__name__)


class Preview:
    """Made and closed in the main loop's thread.

    Args:
        runtime: GStreamer.
        options: of the pipeline that counts.
        name: of the camera, for logs.
    """

    def __init__(self, runtime: Runtime, options: PipelineOptions, name: str) -> None:
        self._gst = runtime.gst
        self._options = options
        self._name = name
        self._source: Any = None
        self._pipeline: Any = None
        self._offered_at = float("-inf")
        self._lock = threading.Lock()
        self._pictures: OrderedDict[int, Any] = OrderedDict()
        self._pad: Any = None
        self._probe = 0

    def start(self, caps: Any) -> None:
        """Build it for frames of these caps.

        Raises:
            PipelineError: an element is missing.
        """
        gst = self._gst
        self._pipeline = gst.Pipeline.new(None)
        self._source = make(gst, "appsrc", None)
        for name, value in {"format": gst.Format.TIME, "is-live": True, "max-buffers": 1, "caps": caps}.items():
            self._source.set_property(name, value)
        self._source.set_property("leaky-type", _LEAK_DOWNSTREAM)
        values: dict[str, facts.Value] = {"gpu-id": self._options.gpu}
        values = facts.checked("nvvideoconvert", values, self._options.release)
        convert = make(gst, "nvvideoconvert", None, values)
        wanted = make(gst, "capsfilter", None)
        wanted.set_property("caps", gst.Caps.from_string("video/x-raw,format=NV12"))
        sink = make(gst, "fakesink", None, {"sync": False, "async": False, "qos": False, "enable-last-sample": False})
        chain = [self._source, convert, wanted, sink]
        for element in chain:
            self._pipeline.add(element)
        for first, second in pairwise(chain):
            first.link(second)
        self._pad = sink.get_static_pad("sink")
        self._probe = self._pad.add_probe(gst.PadProbeType.BUFFER, self._converted)
        self._pipeline.set_state(gst.State.PLAYING)

    def offer(self, buffer: Any, pts_ns: int | None, now: float) -> None:
        """A frame at the gate; from its streaming thread, never waits."""
        if pts_ns is None or self._source is None or now - self._offered_at < EVERY_S:
            return
        self._offered_at = now
        self._source.emit("push-buffer", buffer)

    def _converted(self, pad: Any, info: Any) -> Any:
        buffer = info.get_buffer()
        mapped, memory = buffer.map(self._gst.MapFlags.READ)
        if mapped:
            try:
                self._keep(pad.get_current_caps().get_structure(0), memory.data, buffer.pts)
            except (ValueError, TypeError):
                _log.exception("preview.unreadable", camera=self._name)
            finally:
                buffer.unmap(memory)
        return self._gst.PadProbeReturn.OK

    def _keep(self, structure: Any, data: Any, pts_ns: int) -> None:
        picture = nv12_frame(data, structure.get_value("width"), structure.get_value("height"))
        with self._lock:
            self._pictures[pts_ns] = picture
            while len(self._pictures) > MOST_PICTURES:
                self._pictures.popitem(last=False)

    def take(self, pts_ns: int) -> Any | None:
        """The picture of the frame that is being counted, or the last one before it that nobody took."""
        with self._lock:
            due = [known for known in self._pictures if known <= pts_ns]
            picture = self._pictures[due[-1]] if due else None
            for known in due:
                del self._pictures[known]
            return picture

    def close(self) -> None:
        """Let everything go."""
        source, self._source = self._source, None
        if source is not None:
            self._pipeline.set_state(self._gst.State.NULL)
            self._pad.remove_probe(self._probe)  # it holds this object
        self._pipeline = self._pad = None


_LEAK_DOWNSTREAM: Final = 2


def nv12_frame(data: Any, width: int, height: int) -> Any:
    """An av.VideoFrame of a picture in GStreamer's plain NV12: rows are padded to a multiple of four bytes.

    Sides are cut to even numbers, which NV12 of FFmpeg asks for.
    """
    stride, rows = -(-width // 4) * 4, -(-height // 2) * 2
    planes = np.frombuffer(data, np.uint8, stride * rows * 3 // 2).reshape(rows * 3 // 2, stride)
    even_w, even_h = width // 2 * 2, height // 2 * 2
    packed = np.concatenate([planes[:even_h, :even_w], planes[rows : rows + even_h // 2, :even_w]])
    return av.VideoFrame.from_ndarray(packed, format="nv12")
