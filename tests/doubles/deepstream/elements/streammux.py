"""The new nvstreammux: frames of many sources into one batch."""

import re
import time
import weakref
from pathlib import Path
from typing import Any

from gi.repository import Gst
from tests.doubles.deepstream import native
from tests.doubles.deepstream.elements.base import NVMM, DeepStreamElement, pad_template
from tests.doubles.deepstream.elements.videoconvert import picture_of, video_info
from tests.doubles.deepstream.facts import tables
from tests.doubles.deepstream.muxing.config import MuxConfigError, read_config
from tests.doubles.deepstream.muxing.inputs import BatchRules, Chosen, Frame, camera_ns
from tests.doubles.deepstream.muxing.output import MuxOutput
from tests.doubles.deepstream.muxing.queue import MuxQueue

_SOURCE_CAPS = f"{NVMM}, format={{NV12,RGBA,I420}}"
_SINK_CAPS = f"{_SOURCE_CAPS}; video/x-raw, format={{NV12,RGBA}}"


class StreamMux(DeepStreamElement):
    """A task makes the batches, unscaled; an input pad waits while its queue is full."""

    __gstmetadata__ = ("Stream multiplexer 2", "Generic", "Double of the new nvstreammux", "Countline tests")
    __gsttemplates__ = (
        pad_template("sink_%u", Gst.PadDirection.SINK, Gst.PadPresence.REQUEST, _SINK_CAPS),
        pad_template("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, _SOURCE_CAPS),
    )

    def set_up(self) -> None:
        self._queue = MuxQueue()
        self._config: dict[str, str] = {}
        self._source = Gst.Pad.new_from_template(self.get_pad_template("src"), "src")
        self._source.use_fixed_caps()
        self.installed.ledger.pad_made(self._source)
        self.add_pad(self._source)
        self._output = MuxOutput(self._source, self.installed)

    # --- pads

    def do_request_new_pad(self, template: Any, name: str | None, _caps: Any) -> Any:
        """The pad `sink_N`; N becomes pad_index. An existing name returns its pad."""
        match = re.fullmatch(r"sink_(\d+)", name or "")
        if match is None or template.get_property("name-template") != "sink_%u":
            self.installed.ledger.complain(f"{self._factory()}: pads are called sink_N, not {name!r}")
            return None
        index = int(match[1])
        known = self._queue.inputs.get(index)
        pad = known.pad if known is not None else self._new_pad(template, index)
        native.let_go(pad)  # a wrong annotation makes PyGObject add a reference; C adds its own
        return pad

    def _new_pad(self, template: Any, index: int) -> Any:
        pad = Gst.Pad.new_from_template(template, f"sink_{index}")
        mux = weakref.ref(self)
        pad.set_chain_function_full(lambda _pad, _parent, buffer: _alive(mux)._chain(index, buffer))
        pad.set_event_function_full(lambda pad, parent, event: _alive(mux)._event(index, pad, parent, event))
        self.installed.ledger.pad_made(pad)
        self._queue.add(index, pad)
        pad.set_active(True)
        self.add_pad(pad)
        return pad

    def do_release_pad(self, pad: Any) -> None:
        """Release a pad; PAD_DELETED follows in order with the batches."""
        if not hasattr(self, "_queue"):  # GStreamer disposes of a muxer whose Python part is gone
            self.remove_pad(pad)
            return
        index = int(pad.get_name().removeprefix("sink_"))
        if not self._queue.remove(index):
            return
        pad.set_active(False)
        self.remove_pad(pad)

    # --- state

    def do_change_state(self, transition: Any) -> Any:
        """Start and stop the task."""
        if transition == Gst.StateChange.READY_TO_PAUSED:
            reason = self._cannot_start()
            if reason:
                self.post_error(f"{self._factory()}: {reason}")
                return Gst.StateChangeReturn.FAILURE
            self._output.begin()
            self._queue.begin()
        if transition == Gst.StateChange.PAUSED_TO_READY:
            self._queue.halt()
        result = Gst.Element.do_change_state(self, transition)
        if transition == Gst.StateChange.READY_TO_PAUSED:
            mux = weakref.ref(self)
            self._source.start_task(lambda *_: _turn(mux))
        elif transition == Gst.StateChange.PAUSED_TO_READY:
            self._source.stop_task()
        return result

    def _cannot_start(self) -> str | None:
        """Why the muxer cannot start; None if it can."""
        path = self.value("config-file-path")
        try:
            self._config = read_config(Path(path)) if path else {}
        except MuxConfigError as error:
            return str(error)
        return None

    # --- inputs

    def _chain(self, index: int, buffer: Any) -> Any:
        into = self._queue.inputs.get(index)
        if into is None:
            return Gst.FlowReturn.FLUSHING
        if into.info is None:
            return Gst.FlowReturn.NOT_NEGOTIATED
        frame = Frame(picture_of(buffer, into.info), buffer.pts, time.monotonic(), camera_ns(buffer))
        return self._queue.put(into, frame, self._rules().longest_queue)

    def _rules(self) -> BatchRules:
        has_timeout = "batched-push-timeout" in self.FACTS
        push_timeout_s = self.value("batched-push-timeout") / 1e6 if has_timeout else None
        return BatchRules(self._config, self.value("batch-size"), push_timeout_s)

    def _event(self, index: int, pad: Any, parent: Any, event: Any) -> bool:
        into = self._queue.inputs.get(index)
        if into is None:
            return False
        if event.type == Gst.EventType.CAPS:
            self._queue.new_caps(into, video_info(event.parse_caps()))
        elif event.type == Gst.EventType.EOS:
            self._queue.end(into, reset_number=self.value("frame-num-reset-on-eos"))
        elif event.type in {Gst.EventType.FLUSH_START, Gst.EventType.FLUSH_STOP}:
            self._queue.flush(into, start=event.type == Gst.EventType.FLUSH_START)
        elif native.event_type_of(event) == tables()["events"]["GST_NVEVENT_STREAM_RESET"]:
            self._queue.reset(into, reset_number=self.value("frame-num-reset-on-stream-reset"))
        return True  # stream-start, segment and tags of one source do not concern the batch

    # --- the task

    def turn(self) -> None:
        """Send one event, one batch or the end."""
        work = self._queue.take(self._rules(), sends_end=not self.value("drop-pipeline-eos"))
        if work is None:
            self._source.pause_task()
            return
        kind, what = work
        if kind == "event":
            self._output.send(*what)
        elif kind == "batch":
            self._push(what)
        else:
            self._output.finish()

    def _push(self, chosen: Chosen) -> None:
        flow = self._output.push(chosen, self.value("batch-size"), system_time=self.value("attach-sys-ts"))
        if flow != Gst.FlowReturn.OK:
            self._stopped_by(flow)

    def _stopped_by(self, flow: Any) -> None:
        self._queue.stopped_by(flow)
        if flow not in {Gst.FlowReturn.FLUSHING, Gst.FlowReturn.EOS}:
            self.post_error("Internal data stream error.", f"streaming stopped, reason {flow.value_nick}")
        self._source.pause_task()


def _alive(mux: Any) -> StreamMux:
    found = mux()
    assert found is not None, "a pad outlived its muxer"
    return found


def _turn(mux: Any) -> None:
    found = mux()
    if found is not None:
        found.turn()
