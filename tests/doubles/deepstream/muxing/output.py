"""The output of the muxer: batches and events on its source pad, in order."""

import time
from typing import TYPE_CHECKING, Any

from gi.repository import Gst
from tests.doubles.deepstream import native
from tests.doubles.deepstream.batches import Batch, Picture, list_of
from tests.doubles.deepstream.elements.base import NVMM
from tests.doubles.deepstream.facts import tables
from tests.doubles.deepstream.muxing.inputs import Chosen, Frame, Input
from tests.doubles.deepstream.structs import Structure

if TYPE_CHECKING:
    from tests.doubles.deepstream.installed import Installed


class MuxOutput:
    """What one source pad sends. It holds the pad and not the element, so that the element can end."""

    def __init__(self, pad: Any, installed: "Installed") -> None:
        self._pad = pad
        self._installed = installed
        self._caps_sent: str | None = None

    def begin(self) -> None:
        """The muxer starts: a new stream."""
        self._caps_sent = None

    def push(self, chosen: Chosen, batch_size: int, *, system_time: bool) -> Any:
        """Send a batch; `batch_size` is the element's property. Return the flow."""
        for each, _ in chosen:
            if not each.announced:
                each.announced = True
                self.send("GST_NVEVENT_PAD_ADDED", each.index)
        pictures = [frame.picture for _, frame in chosen]
        self._send_caps(pictures[0], batch_size or 1)
        buffer = Gst.Buffer.new_allocate(None, 64, None)
        buffer.pts = max(
            (frame.pts for _, frame in chosen if frame.pts != Gst.CLOCK_TIME_NONE), default=Gst.CLOCK_TIME_NONE
        )
        batch = self._batch(chosen, pictures, batch_size or len(chosen), system_time=system_time)
        self._installed.batches.attach(buffer, batch)
        return self._pad.push(buffer)

    def _batch(self, chosen: Chosen, pictures: list[Picture], size: int, *, system_time: bool) -> Batch:
        pyds, life = self._installed.pyds, self._installed.batches.new_life()
        meta = pyds.make("NvDsBatchMeta", life, max_frames_in_batch=size, num_frames_in_batch=len(chosen))
        meta._values["base_meta"] = pyds.base_meta(meta, "NVDS_BATCH_META")
        frames = list_of(meta, "frame_meta_list")
        for batch_id, ((each, frame), picture) in enumerate(zip(chosen, pictures, strict=True)):
            ntp_ns = time.time_ns() if system_time else frame.camera_ns
            frames.append(self._frame_meta(meta, batch_id, each, frame, ntp_ns))
            each.frame_num += 1
            assert picture.planes.size
        return Batch(life, meta, pictures)

    def _frame_meta(self, batch_meta: Structure, batch_id: int, each: Input, frame: Frame, ntp_ns: int) -> Structure:
        return self._installed.pyds.make(
            "NvDsFrameMeta",
            batch_meta._life,
            base_meta=self._installed.pyds.base_meta(batch_meta, "NVDS_FRAME_META"),
            pad_index=each.index,
            source_id=each.index,
            batch_id=batch_id,
            frame_num=each.frame_num,
            buf_pts=frame.pts,
            ntp_timestamp=ntp_ns,
            num_surfaces_per_frame=1,
            source_frame_width=each.width,
            source_frame_height=each.height,
            bInferDone=0,
            num_obj_meta=0,
        )

    def _send_caps(self, picture: Picture, size: int) -> None:
        caps = f"{NVMM}, format={picture.format}, width={picture.width}, height={picture.height}, batch-size={size}"
        caps += ", num-surfaces-per-frame=1, framerate=0/1"
        if caps == self._caps_sent:
            return
        self._start_stream()
        self._pad.push_event(Gst.Event.new_caps(Gst.Caps.from_string(caps)))
        if not self._caps_sent:
            segment = Gst.Segment()
            segment.init(Gst.Format.TIME)
            self._pad.push_event(Gst.Event.new_segment(segment))
        self._caps_sent = caps

    def _start_stream(self) -> None:
        if self._caps_sent is None:
            self._pad.push_event(Gst.Event.new_stream_start(f"{self._pad.get_parent_element().get_name()}/src"))
            self._caps_sent = ""

    def send(self, name: str, index: int) -> None:
        """Send an event of the muxer about one source."""
        self._start_stream()
        structure = Gst.Structure.new_empty("nv-mux-event")
        structure.set_value("source-id", index)
        self._pad.push_event(native.custom_event(tables()["events"][name], structure))
        if name == "GST_NVEVENT_STREAM_EOS":
            ended = Gst.Structure.new_empty("stream-eos")
            ended.set_value("stream-id", native.unsigned(index))
            message = Gst.Message.new_element(self._pad.get_parent_element(), ended)
            self._pad.push_event(Gst.Event.new_sink_message("stream-eos", message))

    def finish(self) -> None:
        """Send the end of all sources."""
        self._start_stream()
        self._pad.push_event(Gst.Event.new_eos())
