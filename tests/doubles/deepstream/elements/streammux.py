"""The new nvstreammux: frames of many sources into one batch."""

import configparser
import re
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gi.repository import Gst
from tests.doubles.deepstream import native
from tests.doubles.deepstream.batches import Batch, Picture, list_of
from tests.doubles.deepstream.elements.base import NVMM, DeepStreamElement, pad_template
from tests.doubles.deepstream.elements.videoconvert import picture_of, video_info
from tests.doubles.deepstream.facts import tables
from tests.doubles.deepstream.structs import Structure

_SOURCE_CAPS = f"{NVMM}, format={{NV12,RGBA,I420}}"
_SINK_CAPS = f"{_SOURCE_CAPS}; video/x-raw, format={{NV12,RGBA}}"
_SHORTEST_QUEUE = 4
_NTP_TO_UNIX_NS = 2_208_988_800 * 10**9
"""NTP counts from 1900."""
_CONFIG_KEYS = {
    "property": "algorithm-type batch-size adaptive-batching enable-source-rate-control max-fps-control "
    "overall-max-fps-n overall-max-fps-d overall-min-fps-n overall-min-fps-d max-same-source-frames",
    "source-config": "max-fps-n max-fps-d min-fps-n min-fps-d priority max-num-frames-per-batch",
}


@dataclass
class _Frame:
    picture: Picture
    pts: int
    arrived_at: float
    camera_ns: int
    """The camera's own clock, Unix time in nanoseconds; 0 before its first report, or if reports are off."""


@dataclass
class _Input:
    """One request pad."""

    index: int
    pad: Any
    frames: deque[_Frame] = field(default_factory=deque)
    width: int = 0
    height: int = 0
    info: Any = None
    frame_num: int = 0
    announced: bool = False
    """Whether PAD_ADDED was sent."""
    ended: bool = False
    flushing: bool = False


class StreamMux(DeepStreamElement):
    """A task makes the batches, unscaled; an input pad waits while its queue is full."""

    __gstmetadata__ = ("Stream multiplexer 2", "Generic", "Double of the new nvstreammux", "Countline tests")
    __gsttemplates__ = (
        pad_template("sink_%u", Gst.PadDirection.SINK, Gst.PadPresence.REQUEST, _SINK_CAPS),
        pad_template("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, _SOURCE_CAPS),
    )

    def set_up(self) -> None:
        self._changed = threading.Condition()
        self._inputs: dict[int, _Input] = {}
        self._events: deque[tuple[str, int]] = deque()
        self._running = False
        self._had_inputs = False
        self._flow = Gst.FlowReturn.OK
        self._caps_sent: str | None = None
        self._end_sent = False
        self._config: dict[str, str] = {}
        self._source = Gst.Pad.new_from_template(self.get_pad_template("src"), "src")
        self._source.use_fixed_caps()
        self.installed.ledger.pad_made(self._source)
        self.add_pad(self._source)

    # --- pads

    def do_request_new_pad(self, template: Any, name: str | None, _caps: Any) -> Any:
        """The pad `sink_N`; N becomes pad_index. An existing name returns its pad."""
        match = re.fullmatch(r"sink_(\d+)", name or "")
        if match is None or template.get_property("name-template") != "sink_%u":
            self.installed.ledger.complain(f"{self._factory()}: pads are called sink_N, not {name!r}")
            return None
        index = int(match[1])
        pad = self._inputs[index].pad if index in self._inputs else self._new_pad(template, index)
        native.let_go(pad)  # a wrong annotation makes PyGObject add a reference; C adds its own
        return pad

    def _new_pad(self, template: Any, index: int) -> Any:
        pad = Gst.Pad.new_from_template(template, f"sink_{index}")
        mux = weakref.ref(self)
        pad.set_chain_function_full(lambda _pad, _parent, buffer: _alive(mux)._chain(index, buffer))
        pad.set_event_function_full(lambda pad, parent, event: _alive(mux)._event(index, pad, parent, event))
        self.installed.ledger.pad_made(pad)
        with self._changed:
            self._inputs[index] = _Input(index, pad, flushing=not self._running)
            self._had_inputs = True
        pad.set_active(True)
        self.add_pad(pad)
        return pad

    def do_release_pad(self, pad: Any) -> None:
        """Release a pad; PAD_DELETED follows in order with the batches."""
        if not hasattr(self, "_inputs"):  # GStreamer disposes of a muxer whose Python part is gone
            self.remove_pad(pad)
            return
        index = int(pad.get_name().removeprefix("sink_"))
        with self._changed:
            gone = self._inputs.pop(index, None)
            if gone is None:
                return
            gone.flushing = True
            gone.frames.clear()
            if gone.announced and self._running:
                self._events.append(("GST_NVEVENT_PAD_DELETED", index))
            self._changed.notify_all()
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
            self._begin()
        if transition == Gst.StateChange.PAUSED_TO_READY:
            self._halt()
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
        if not path:
            self._config = {}
            return None
        try:
            self._config = read_config(Path(path))
        except MuxConfigError as error:
            return str(error)
        return None

    def _begin(self) -> None:
        with self._changed:
            self._running, self._flow, self._caps_sent, self._end_sent = True, Gst.FlowReturn.OK, None, False
            for each in self._inputs.values():
                each.flushing, each.ended, each.announced, each.frame_num = False, False, False, 0

    def _halt(self) -> None:
        with self._changed:
            self._running = False
            for each in self._inputs.values():
                each.flushing = True
                each.frames.clear()
            self._events.clear()
            self._changed.notify_all()

    # --- inputs

    def _chain(self, index: int, buffer: Any) -> Any:
        into = self._inputs.get(index)
        if into is None:
            return Gst.FlowReturn.FLUSHING
        if into.info is None:
            return Gst.FlowReturn.NOT_NEGOTIATED
        frame = _Frame(picture_of(buffer, into.info), buffer.pts, time.monotonic(), camera_ns(buffer))
        with self._changed:
            while len(into.frames) >= self._longest_queue() and not into.flushing and self._flow == Gst.FlowReturn.OK:
                self._changed.wait()
            if into.flushing:
                return Gst.FlowReturn.FLUSHING
            if self._flow != Gst.FlowReturn.OK:
                return self._flow
            into.frames.append(frame)
            self._changed.notify_all()
        return Gst.FlowReturn.OK

    def _longest_queue(self) -> int:
        return max(_SHORTEST_QUEUE, self._quota(len(self._inputs)))

    def _event(self, index: int, pad: Any, parent: Any, event: Any) -> bool:
        into = self._inputs.get(index)
        if into is None:
            return False
        number = native.event_type_of(event)
        if event.type == Gst.EventType.CAPS:
            return self._new_caps(into, event.parse_caps())
        if event.type == Gst.EventType.EOS:
            self._end(into)
            return True
        if event.type in {Gst.EventType.FLUSH_START, Gst.EventType.FLUSH_STOP}:
            self._flush(into, start=event.type == Gst.EventType.FLUSH_START)
            return True
        if number == tables()["events"]["GST_NVEVENT_STREAM_RESET"]:
            self._reset(into)
        return True  # stream-start, segment and tags of one source do not concern the batch

    def _new_caps(self, into: _Input, caps: Any) -> bool:
        info = video_info(caps)
        with self._changed:
            into.info, into.width, into.height = info, info.width, info.height
            into.ended = False
        return True

    def _end(self, into: _Input) -> None:
        with self._changed:
            into.ended = True
            if self.value("frame-num-reset-on-eos"):
                into.frame_num = 0
            self._changed.notify_all()

    def _flush(self, into: _Input, *, start: bool) -> None:
        with self._changed:
            into.frames.clear()
            into.flushing = start or not self._running
            self._changed.notify_all()

    def _reset(self, into: _Input) -> None:
        with self._changed:
            if self.value("frame-num-reset-on-stream-reset"):
                into.frame_num = 0
            self._events.append(("GST_NVEVENT_STREAM_RESET", into.index))
            self._changed.notify_all()

    # --- the task

    def turn(self) -> None:
        """Send one event, one batch or the end."""
        with self._changed:
            work = self._next_work()
            while work is None and self._running:
                self._changed.wait(self._patience_s())
                work = self._next_work()
        if not self._running or work is None:
            self._source.pause_task()
            return
        kind, what = work
        if kind == "event":
            self._send(*what)
        elif kind == "batch":
            self._push(what)
        else:
            self._finish()

    def _next_work(self) -> tuple[str, Any] | None:
        if self._events:
            return "event", self._events.popleft()
        chosen = self._choose(time.monotonic())
        if chosen:
            self._changed.notify_all()
            return "batch", chosen
        over = next((each for each in self._inputs.values() if each.ended and not each.frames and each.announced), None)
        if over is not None:
            over.announced = False
            return "event", ("GST_NVEVENT_STREAM_EOS", over.index)
        if self._is_over():
            return "end", None
        return None

    def _is_over(self) -> bool:
        open_inputs = [each for each in self._inputs.values() if not (each.ended and not each.frames)]
        return self._had_inputs and not open_inputs and not self._end_sent and not self.value("drop-pipeline-eos")

    def _choose(self, now: float) -> list[tuple[_Input, _Frame]]:
        """The frames of the next batch, from each source in turn; empty while the muxer waits."""
        waiting = [each for each in self._inputs.values() if each.frames]
        unfinished = [each for each in self._inputs.values() if each.frames or not each.ended]
        if not waiting or not (self._is_full(waiting, unfinished) or self._is_late(waiting, now)):
            return []
        return self._take(waiting, self._quota(len(unfinished)))

    def _take(self, waiting: list[_Input], quota: int) -> list[tuple[_Input, _Frame]]:
        chosen: list[tuple[_Input, _Frame]] = []
        for _ in range(quota):
            for each in waiting:
                if each.frames and len(chosen) < self._target(len(waiting)):
                    chosen.append((each, each.frames.popleft()))
        return chosen

    def _is_full(self, waiting: list[_Input], unfinished: list[_Input]) -> bool:
        target, quota = self._target(len(unfinished)), self._quota(len(unfinished))
        if len(waiting) < min(target, len(unfinished)):
            return False
        offered = sum(min(len(each.frames), quota) for each in waiting)
        return offered >= target or all(each.ended for each in waiting)

    def _is_late(self, waiting: list[_Input], now: float) -> bool:
        return now - _oldest(waiting) >= self._timeout_s()

    def _patience_s(self) -> float | None:
        """How long the task may sleep; None for until something changes."""
        waiting = [each for each in self._inputs.values() if each.frames]
        if not waiting:
            return None
        return max(0.0, _oldest(waiting) + self._timeout_s() - time.monotonic())

    def _timeout_s(self) -> float:
        """How long the first frame of a batch waits: the period of the slowest rate, or less by the property."""
        rate = int(self._config.get("overall-min-fps-n", "5")) / int(self._config.get("overall-min-fps-d", "1"))
        at_least_s = 1 / rate
        return min(at_least_s, self.value("batched-push-timeout") / 1e6) if self._has_timeout else at_least_s

    @property
    def _has_timeout(self) -> bool:
        return "batched-push-timeout" in self.FACTS

    def _target(self, sources: int) -> int:
        """Frames of a full batch."""
        size = self.value("batch-size") or int(self._config.get("batch-size", "1"))
        return min(size, sources) if self._config.get("adaptive-batching", "1") == "1" else size

    def _quota(self, sources: int) -> int:
        """Frames that one source may have in a batch."""
        return int(self._config.get("max-same-source-frames", "1"))

    # --- downstream

    def _push(self, chosen: list[tuple[_Input, _Frame]]) -> None:
        for each, _ in chosen:
            if not each.announced:
                each.announced = True
                self._send("GST_NVEVENT_PAD_ADDED", each.index)
        pictures = [frame.picture for _, frame in chosen]
        self._send_caps(pictures[0])
        buffer = Gst.Buffer.new_allocate(None, 64, None)
        buffer.pts = max(
            (frame.pts for _, frame in chosen if frame.pts != Gst.CLOCK_TIME_NONE), default=Gst.CLOCK_TIME_NONE
        )
        self.installed.batches.attach(buffer, self._batch(chosen, pictures))
        flow = self._source.push(buffer)
        if flow != Gst.FlowReturn.OK:
            self._stopped_by(flow)

    def _batch(self, chosen: list[tuple[_Input, _Frame]], pictures: list[Picture]) -> Batch:
        make, life = self.installed.pyds.make, self.installed.batches.new_life()
        size = self.value("batch-size") or len(chosen)
        meta = make("NvDsBatchMeta", life, max_frames_in_batch=size, num_frames_in_batch=len(chosen))
        meta._values["base_meta"] = self.installed.pyds.base_meta(meta, "NVDS_BATCH_META")
        frames = list_of(meta, "frame_meta_list")
        for batch_id, ((each, frame), picture) in enumerate(zip(chosen, pictures, strict=True)):
            frames.append(self._frame_meta(meta, batch_id, each, frame))
            each.frame_num += 1
            assert picture.planes.size
        return Batch(life, meta, pictures)

    def _frame_meta(self, batch_meta: Structure, batch_id: int, each: _Input, frame: _Frame) -> Structure:
        return self.installed.pyds.make(
            "NvDsFrameMeta",
            batch_meta._life,
            base_meta=self.installed.pyds.base_meta(batch_meta, "NVDS_FRAME_META"),
            pad_index=each.index,
            source_id=each.index,
            batch_id=batch_id,
            frame_num=each.frame_num,
            buf_pts=frame.pts,
            ntp_timestamp=time.time_ns() if self.value("attach-sys-ts") else frame.camera_ns,
            num_surfaces_per_frame=1,
            source_frame_width=each.width,
            source_frame_height=each.height,
            bInferDone=0,
            num_obj_meta=0,
        )

    def _send_caps(self, picture: Picture) -> None:
        size = self.value("batch-size") or 1
        caps = f"{NVMM}, format={picture.format}, width={picture.width}, height={picture.height}, batch-size={size}"
        caps += ", num-surfaces-per-frame=1, framerate=0/1"
        if caps == self._caps_sent:
            return
        self._start_stream()
        self._source.push_event(Gst.Event.new_caps(Gst.Caps.from_string(caps)))
        if not self._caps_sent:
            segment = Gst.Segment()
            segment.init(Gst.Format.TIME)
            self._source.push_event(Gst.Event.new_segment(segment))
        self._caps_sent = caps

    def _start_stream(self) -> None:
        if self._caps_sent is None:
            self._source.push_event(Gst.Event.new_stream_start(f"{self.get_name()}/src"))
            self._caps_sent = ""

    def _send(self, name: str, index: int) -> None:
        self._start_stream()
        structure = Gst.Structure.new_empty("nv-mux-event")
        structure.set_value("source-id", index)
        self._source.push_event(native.custom_event(tables()["events"][name], structure))
        if name == "GST_NVEVENT_STREAM_EOS":
            ended = Gst.Structure.new_empty("stream-eos")
            ended.set_value("stream-id", native.unsigned(index))
            self._source.push_event(Gst.Event.new_sink_message("stream-eos", Gst.Message.new_element(self, ended)))

    def _finish(self) -> None:
        with self._changed:
            self._end_sent = True
        self._start_stream()
        self._source.push_event(Gst.Event.new_eos())

    def _stopped_by(self, flow: Any) -> None:
        with self._changed:
            self._flow = flow
            self._running = flow == Gst.FlowReturn.OK
            self._changed.notify_all()
        if flow not in {Gst.FlowReturn.FLUSHING, Gst.FlowReturn.EOS}:
            self.post_error("Internal data stream error.", f"streaming stopped, reason {flow.value_nick}")
        self._source.pause_task()


class MuxConfigError(Exception):
    """The key file of the muxer is not valid."""


def read_config(path: Path) -> dict[str, str]:
    """The group [property] of a key file.

    Raises:
        MuxConfigError: the file is missing, is no key file, or has a group or key that the muxer does not know.
    """
    parser = configparser.ConfigParser()
    try:
        if not parser.read(path):
            raise MuxConfigError(f"cannot read {path}")
    except configparser.Error as error:
        raise MuxConfigError(str(error)) from error
    for section in parser.sections():
        kind = "source-config" if section.startswith("source-config-") else section
        unknown = set(parser[section]) - set(_CONFIG_KEYS.get(kind, "").split())
        if kind not in _CONFIG_KEYS or unknown:
            raise MuxConfigError(f"{path}: unknown in [{section}]: {', '.join(sorted(unknown)) or 'the group'}")
    return dict(parser["property"]) if "property" in parser else {}


def camera_ns(buffer: Any) -> int:
    """Time of a frame by the camera's reports, Unix time in nanoseconds; 0 without a report."""
    meta = buffer.get_reference_timestamp_meta(Gst.Caps.from_string("timestamp/x-ntp"))
    return 0 if meta is None else max(0, meta.timestamp - _NTP_TO_UNIX_NS)


def _oldest(waiting: list[_Input]) -> float:
    return min(each.frames[0].arrived_at for each in waiting)


def _alive(mux: Any) -> StreamMux:
    found = mux()
    assert found is not None, "a pad outlived its muxer"
    return found


def _turn(mux: Any) -> None:
    found = mux()
    if found is not None:
        found.turn()
