"""nvurisrcbin: one camera or file, decoded; it reconnects like the real one."""

import threading
import time
import weakref
from itertools import pairwise
from typing import Any

from gi.repository import GLib, Gst
from tests.doubles.deepstream import native
from tests.doubles.deepstream.elements.base import NVMM, DeepStreamElement, pad_template
from tests.doubles.deepstream.facts import tables

RESET_INTERVAL_S = 3.0
"""At most one source of the process is reset in this time."""
_WATCH_INTERVAL_MS = 1000
_TCP = 4
_PROTOCOLS = {0: 7, 1: 1, 2: 2, 4: 4, 7: 7, 10: 16, 20: 32}
"""select-rtp-protocol to the flags of rtspsrc."""
_FORMATS = "{I420,NV12,P010_10LE,BGRx,RGBA,GRAY8}"
_VSRC_CAPS = f"{NVMM}, format={_FORMATS}; video/x-raw, format={_FORMATS}"


class UriSrcBin(DeepStreamElement):
    """The pad `vsrc_0` appears with the first decoded stream and stays through reconnections."""

    BASE = Gst.Bin
    __gstmetadata__ = ("NvUriSrc Bin", "NvUriSrc Bin", "Double of nvurisrcbin", "Countline tests")
    __gsttemplates__ = (
        pad_template("vsrc_%u", Gst.PadDirection.SRC, Gst.PadPresence.SOMETIMES, _VSRC_CAPS),
        pad_template("asrc_%u", Gst.PadDirection.SRC, Gst.PadPresence.SOMETIMES, "audio/x-raw"),
    )

    def set_up(self) -> None:
        self._inner: list[Any] = []
        """The source and its decoder; a reset makes new ones."""
        self._tail: Any = None
        self._ghost: Any = None
        self._watchdog = 0
        self._heard_at = 0.0
        self._attempts = 0
        self._decoded = 0
        self._offset_ns = 0
        self._end_ns = 0
        self._changing = threading.Lock()
        """Held during a reset (main loop) and during the end (the thread that ends the pipeline)."""

    # --- state

    def do_change_state(self, transition: Any) -> Any:
        """Build the chain on the way to PAUSED, and remove it on the way back.

        A chain that did not reach PAUSED stays until NULL, so that messages on the bus still have their source.
        """
        if transition == Gst.StateChange.READY_TO_PAUSED and not self._build():
            self._disarm()
            return Gst.StateChangeReturn.FAILURE
        if transition == Gst.StateChange.PAUSED_TO_PLAYING:
            self._attempts = 0
        if transition == Gst.StateChange.PAUSED_TO_READY:
            with self._changing:
                self._disarm()
        result = Gst.Bin.do_change_state(self, transition)
        if transition == Gst.StateChange.READY_TO_PAUSED and result == Gst.StateChangeReturn.FAILURE:
            with self._changing:
                self._disarm()
        if transition in {Gst.StateChange.PAUSED_TO_READY, Gst.StateChange.READY_TO_NULL}:
            self._take_down()
        return result

    def _build(self) -> bool:
        uri = self.value("uri")
        if not uri:
            self.post_error(f"{self._factory()}: uri is not set")
            return False
        self._take_down()  # of a start that failed
        self._offset_ns = self._end_ns = self._decoded = 0
        self._heard_at = time.monotonic()
        self._arm()  # before the source can fail: from now on its errors become warnings
        try:
            self._inner = self._rtsp_source(uri) if self.is_rtsp else self._uri_source(uri)
        except ValueError as error:
            self.post_error(f"{self._factory()}: {error}")
            return False
        return True

    @property
    def is_rtsp(self) -> bool:
        """Whether the source is RTSP: by `type`, else by the address."""
        kind = self.value("type")
        return kind == 2 or (kind == 0 and (self.value("uri") or "").startswith(("rtsp://", "rtsps://")))

    def _uri_source(self, uri: str) -> list[Any]:
        if not Gst.uri_is_valid(uri):
            raise ValueError(f"not an address: {uri!r}")
        source = self._make("uridecodebin")
        source.set_property("uri", uri)
        source.set_property("caps", Gst.Caps.from_string("video/x-raw"))
        source.connect("pad-added", _when_alive(self, UriSrcBin._decoded_pad))
        self.add(source)
        return [source]

    def _rtsp_source(self, uri: str) -> list[Any]:
        source, decoder = self._make("rtspsrc"), self._make("decodebin")
        source.set_property("location", uri)
        source.set_property("latency", self.value("latency"))
        source.set_property("drop-on-latency", self.value("drop-on-latency"))
        source.set_property("protocols", _PROTOCOLS[self.value("select-rtp-protocol")])
        source.set_property("udp-buffer-size", min(self.value("udp-buffer-size"), 2**31 - 1))
        source.connect("select-stream", _is_video)
        decoder_ref = weakref.ref(decoder)
        source.connect("pad-added", lambda _source, pad: _link(pad, decoder_ref()))
        decoder.connect("pad-added", _when_alive(self, UriSrcBin._decoded_pad))
        self.add(source)
        self.add(decoder)
        return [source, decoder]

    def _make(self, name: str, **values: Any) -> Any:
        made = Gst.ElementFactory.make(name, None)
        assert made is not None, name
        for key, value in values.items():
            made.set_property(key.replace("_", "-"), value)
        return made

    def _take_down(self) -> None:
        for element in [*self._inner, *(self._tail or ())]:
            self._drop(element)
        if self._ghost is not None:
            self._ghost.set_active(False)
            self.remove_pad(self._ghost)
        self._inner, self._tail, self._ghost = [], None, None

    def _drop(self, element: Any) -> None:
        element.set_locked_state(True)  # else a running state change of the bin starts it again
        element.set_state(Gst.State.NULL)
        self.remove(element)

    # --- decoded frames

    def _decoded_pad(self, _decoder: Any, pad: Any) -> None:
        caps = pad.get_current_caps() or pad.query_caps(None)
        if not caps.get_structure(0).get_name().startswith("video/"):
            return
        first = self._tail is None
        if first:
            self._tail = self._make_tail()
        pad.link(self._tail[0].get_static_pad("sink"))
        if first:
            self._expose()

    def _make_tail(self) -> list[Any]:
        """Converter to NV12, step into NVMM, and a filter so that the pad promises NVMM."""
        tail = [
            self._make("videoconvert"),
            self._make("capsfilter", caps=Gst.Caps.from_string("video/x-raw, format=NV12")),
            self._make("nvvideoconvert"),
            self._make("capsfilter", caps=Gst.Caps.from_string(f"{NVMM}, format=NV12")),
        ]
        for element in tail:
            self.add(element)
        for one, other in pairwise(tail):
            assert one.link(other)
        tail[-1].get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, _probe(self, UriSrcBin._frame))
        # An EOS must be dropped before a pad sees it: afterwards the pad accepts no event.
        tail[0].get_static_pad("sink").add_probe(
            Gst.PadProbeType.EVENT_DOWNSTREAM | Gst.PadProbeType.EVENT_FLUSH, _probe(self, UriSrcBin._event)
        )
        for element in tail:
            element.sync_state_with_parent()
        return tail

    def _expose(self) -> None:
        self._ghost = Gst.GhostPad.new_from_template(
            "vsrc_0", self._tail[-1].get_static_pad("src"), self.get_pad_template("vsrc_%u")
        )
        self.installed.ledger.pad_made(self._ghost)
        self._ghost.set_active(True)
        self.add_pad(self._ghost)

    def _frame(self, info: Any) -> Any:
        """Handle a decoded frame: reset the watchdog, apply drop-frame-interval, continue the time of a loop."""
        self._heard_at = time.monotonic()
        index, self._decoded = self._decoded, self._decoded + 1
        every = self.value("drop-frame-interval")
        if every > 1 and index % every:
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
        if event.type == Gst.EventType.EOS:
            return self._at_end()
        if event.type in {Gst.EventType.FLUSH_START, Gst.EventType.FLUSH_STOP} and self._offset_ns:
            return Gst.PadProbeReturn.DROP
        return Gst.PadProbeReturn.OK

    def _at_end(self) -> Any:
        if self.is_rtsp and self._armed():
            self._later(UriSrcBin._lost)
            return Gst.PadProbeReturn.DROP
        if self.value("file-loop") and (self.value("uri") or "").startswith("file://"):
            self._offset_ns = max(1, self._end_ns)
            self._later(UriSrcBin._again)
            return Gst.PadProbeReturn.DROP
        return Gst.PadProbeReturn.OK

    def _again(self) -> None:
        """Seek to the first frame; in the main loop, like the real one."""
        for source in self._inner:
            source.seek_simple(Gst.Format.TIME, Gst.SeekFlags.FLUSH | Gst.SeekFlags.KEY_UNIT, 0)

    # --- reconnection

    def _armed(self) -> bool:
        return self.is_rtsp and self.value("rtsp-reconnect-interval") > 0

    def _arm(self) -> None:
        self._disarm()
        if self._armed():
            self._watchdog = GLib.timeout_add(_WATCH_INTERVAL_MS, _when_alive(self, UriSrcBin._watch, answer=False))

    def _disarm(self) -> None:
        if self._watchdog:
            GLib.source_remove(self._watchdog)
            self._watchdog = 0

    def _watch(self) -> bool:
        """Every second, in the main loop: reset the source if there is no stream."""
        silent_s = time.monotonic() - self._heard_at
        if silent_s >= self.value("rtsp-reconnect-interval"):
            self._lost()
        return self._watchdog != 0

    def _lost(self) -> None:
        """Reconnect, unless the attempts or the resets of the process are used up."""
        with self._changing:
            if self._watchdog and time.monotonic() - self.installed.last_reset_at >= RESET_INTERVAL_S:
                self._try_again()

    def _try_again(self) -> None:
        limit = self.value("rtsp-reconnect-attempts")
        if 0 < limit <= self._attempts:
            self._give_up()
            return
        self._attempts += 1
        self.installed.last_reset_at = time.monotonic()
        interval = self.value("rtsp-reconnect-interval")
        self.post_warning(f"No data from source since last {interval} sec. Trying reconnection")
        self._reset()

    def _give_up(self) -> None:
        exceeded = Gst.Structure.new_empty("attempt-exceeded")
        exceeded.set_value("source-id", self.value("source-id"))
        exceeded.set_value("attempt_exceeded", True)
        self.post_message(Gst.Message.new_element(self, exceeded))
        self._watchdog = 0

    def _reset(self) -> None:
        for element in self._inner:
            self._drop(element)
        self._tell_reset()
        self._inner = self._rtsp_source(self.value("uri"))
        self._heard_at = time.monotonic()
        for element in reversed(self._inner):
            # Not the state of the bin: a decoder without pictures keeps the bin in PAUSED, where no camera sends.
            element.set_state(Gst.State.PLAYING)

    def _tell_reset(self) -> None:
        if self._ghost is None or self.value("source-id") < 0:
            return
        structure = Gst.Structure.new_empty("nv-mux-event")
        structure.set_value("source-id", self.value("source-id"))
        reset = native.custom_event(tables()["events"]["GST_NVEVENT_STREAM_RESET"], structure)
        self._tail[-1].get_static_pad("src").push_event(reset)

    def do_handle_message(self, message: Any) -> None:
        """While the watchdog is armed, errors of the source are warnings."""
        if message.type == Gst.MessageType.ERROR and message.src is not self and self._armed() and self._watchdog:
            error, debug = message.parse_error()
            message = Gst.Message.new_warning(message.src, error, debug)
        Gst.Bin.do_handle_message(self, message)

    def _later(self, method: Any) -> None:
        GLib.idle_add(_when_alive(self, method, answer=False))


def _when_alive(bin_: UriSrcBin, method: Any, *, answer: Any = None) -> Any:
    """A method as a callback that does not keep the bin alive."""
    reference = weakref.ref(bin_)

    def call(*arguments: Any) -> Any:
        found = reference()
        if found is None:
            return answer
        result = method(found, *arguments)
        return answer if result is None else result

    return call


def _probe(bin_: UriSrcBin, method: Any) -> Any:
    reference = weakref.ref(bin_)

    def probe(_pad: Any, info: Any) -> Any:
        found = reference()
        return Gst.PadProbeReturn.OK if found is None else method(found, info)

    return probe


def _is_video(_source: Any, _number: int, caps: Any) -> bool:
    return caps.get_structure(0).get_string("media") == "video"


def _link(pad: Any, decoder: Any) -> None:
    if decoder is not None:
        sink = decoder.get_static_pad("sink")
        if not sink.is_linked():
            pad.link(sink)
