"""A preview of one camera: a small pipeline beside the one that counts.

    valve ─ appsrc ─ nvvideoconvert (out of GPU memory) ─ sink with a probe ─ av.VideoFrame

A branch inside the counting pipeline would have to be linked and unlinked while it plays, and could block it. Instead
the valve offers a reference to a decoded frame a few times a second. At most one waits; a newer one replaces it. The
sink of the plane scales the picture and encodes it as JPEG, as on the software plane. (NVIDIA's `nvjpegenc` would
encode on the GPU, at the camera's full size; `config/facts.py` has no documented facts about it.)
"""

import threading
from collections import OrderedDict
from typing import Any, Final

import av
import numpy as np

from countline_common.logs import get_logger
from countline_pipelines.planes.deepstream.config import properties
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions
from countline_pipelines.planes.deepstream.gst.elements import add_chain, make
from countline_pipelines.planes.deepstream.gst.library import Runtime
from countline_pipelines.planes.previews import Throttle

MOST_PICTURES: Final = 4
"""Pictures that were converted and not taken; older ones are dropped."""
_LEAK_DOWNSTREAM: Final = 2
"""`leaky-type` of appsrc: the oldest waiting buffer is dropped."""
_log = get_logger(__name__)


class Preview:
    """Implements `FramePreview`; started and closed in the main loop's thread.

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
        self._throttle = Throttle()
        self._lock = threading.Lock()
        self._pictures: OrderedDict[int, Any] = OrderedDict()
        self._pad: Any = None
        self._probe = 0

    def start(self, caps: Any) -> None:
        """Build and start the pipeline.

        Args:
            caps: Gst.Caps of the frames that will be offered.

        Raises:
            PipelineError: an element is missing.
        """
        gst = self._gst
        self._pipeline = gst.Pipeline.new(None)
        self._source = make(gst, "appsrc", None)
        for name, value in {"format": gst.Format.TIME, "is-live": True, "max-buffers": 1, "caps": caps}.items():
            self._source.set_property(name, value)
        self._source.set_property("leaky-type", _LEAK_DOWNSTREAM)
        convert = make(gst, "nvvideoconvert", None, properties.convert_properties(self._options))
        plain = make(gst, "capsfilter", None)
        plain.set_property("caps", gst.Caps.from_string("video/x-raw,format=NV12"))
        sink = make(gst, "fakesink", None, properties.sink_properties(self._options))
        add_chain(self._pipeline, (self._source, convert, plain, sink))
        self._pad = sink.get_static_pad("sink")
        self._probe = self._pad.add_probe(gst.PadProbeType.BUFFER, self._converted)
        self._pipeline.set_state(gst.State.PLAYING)

    def offer(self, buffer: Any, pts_ns: int | None, now: float) -> None:
        """Take an admitted frame from its streaming thread; never waits. `now` is monotonic."""
        if pts_ns is not None and self._source is not None and self._throttle.passes(now):
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
        """The picture of the frame with this time, or the latest earlier one that was not taken yet; None for none."""
        with self._lock:
            due = [known for known in self._pictures if known <= pts_ns]
            picture = self._pictures[due[-1]] if due else None
            for known in due:
                del self._pictures[known]
            return picture

    def close(self) -> None:
        """Stop the pipeline and release it."""
        source, self._source = self._source, None
        if source is not None:
            self._pipeline.set_state(self._gst.State.NULL)
            self._pad.remove_probe(self._probe)  # it holds this object
        self._pipeline = self._pad = None


def nv12_frame(data: Any, width: int, height: int) -> Any:
    """An av.VideoFrame of a picture in GStreamer's NV12, whose rows are padded to a multiple of four bytes.

    FFmpeg's NV12 needs even sides, so an odd side loses a pixel.

    Args:
        data: bytes of the buffer.
        width: of the picture, pixels.
        height: of the picture, pixels.
    """
    stride, rows = -(-width // 4) * 4, -(-height // 2) * 2
    planes = np.frombuffer(data, np.uint8, stride * rows * 3 // 2).reshape(rows * 3 // 2, stride)
    even_w, even_h = width // 2 * 2, height // 2 * 2
    packed = np.concatenate([planes[:even_h, :even_w], planes[rows : rows + even_h // 2, :even_w]])
    return av.VideoFrame.from_ndarray(packed, format="nv12")
