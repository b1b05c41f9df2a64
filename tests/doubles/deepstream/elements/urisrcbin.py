"""nvurisrcbin: one camera or file, decoded; it reconnects like the real one."""

import threading
import time
import weakref
from typing import Any

from gi.repository import GLib, Gst
from tests.doubles.deepstream.elements.base import NVMM, DeepStreamElement, pad_template
from tests.doubles.deepstream.elements.source_tail import SourceTail, make

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
        self._tail: SourceTail | None = None
        self._ghost: Any = None
        self._watchdog = 0
        self._tried_at = 0.0
        self._attempts = 0
        self._changing = threading.Lock()
        """Held during a reset (main loop) and during the end (the thread that ends the pipeline)."""

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
        self._take_down()  # of a start that failed
        self._tried_at = time.monotonic()
        self._arm()  # before the source can fail: from now on its errors become warnings
        try:
            self._inner = self._source_of(self.value("uri"))
        except ValueError as error:
            self.post_error(f"{self._factory()}: {error}")
            return False
        return True

    def _source_of(self, uri: str | None) -> list[Any]:
        if not uri:
            raise ValueError("uri is not set")
        return self._rtsp_source(uri) if self.is_rtsp else self._uri_source(uri)

    @property
    def is_rtsp(self) -> bool:
        """Whether the source is RTSP: by `type`, else by the address."""
        return self.value("type") == 2 or (self.value("type") == 0 and self._is_at("rtsp://", "rtsps://"))

    def _is_at(self, *schemes: str) -> bool:
        return (self.value("uri") or "").startswith(schemes)

    def _uri_source(self, uri: str) -> list[Any]:
        if not Gst.uri_is_valid(uri):
            raise ValueError(f"not an address: {uri!r}")
        source = make("uridecodebin", uri=uri, caps=Gst.Caps.from_string("video/x-raw"))
        source.connect("pad-added", _when_alive(self, UriSrcBin._decoded_pad))
        self.add(source)
        return [source]

    def _rtsp_source(self, uri: str) -> list[Any]:
        settings = {name: self.value(name) for name in ("latency", "drop-on-latency")}
        protocols = _PROTOCOLS[self.value("select-rtp-protocol")]
        buffer_bytes = min(self.value("udp-buffer-size"), 2**31 - 1)
        source = make("rtspsrc", location=uri, protocols=protocols, udp_buffer_size=buffer_bytes, **settings)
        decoder = make("decodebin")
        source.connect("select-stream", _is_video)
        decoder_ref = weakref.ref(decoder)
        source.connect("pad-added", lambda _source, pad: _link(pad, decoder_ref()))
        decoder.connect("pad-added", _when_alive(self, UriSrcBin._decoded_pad))
        self.add(source)
        self.add(decoder)
        return [source, decoder]

    def _take_down(self) -> None:
        for element in [*self._inner, *(self._tail.elements if self._tail else ())]:
            self._drop(element)
        if self._ghost is not None:
            self._ghost.set_active(False)
            self.remove_pad(self._ghost)
        self._inner, self._tail, self._ghost = [], None, None

    def _drop(self, element: Any) -> None:
        element.set_locked_state(True)  # else a running state change of the bin starts it again
        element.set_state(Gst.State.NULL)
        self.remove(element)

    def _decoded_pad(self, _decoder: Any, pad: Any) -> None:
        caps = pad.get_current_caps() or pad.query_caps(None)
        if not caps.get_structure(0).get_name().startswith("video/"):
            return
        first = self._tail is None
        if self._tail is None:
            at_end = _when_alive(self, UriSrcBin._at_end, answer=False)
            self._tail = SourceTail(self.value("drop-frame-interval"), at_end)
            self._tail.add_to(self)
        pad.link(self._tail.sink)
        if first:
            self._expose(self._tail)

    def _expose(self, tail: SourceTail) -> None:
        self._ghost = Gst.GhostPad.new_from_template("vsrc_0", tail.source, self.get_pad_template("vsrc_%u"))
        self.installed.ledger.pad_made(self._ghost)
        self._ghost.set_active(True)
        self.add_pad(self._ghost)

    def _at_end(self) -> bool:
        """Reconnect or begin again. Return whether the end is held back."""
        if self.is_rtsp and self._armed():
            GLib.idle_add(_when_alive(self, UriSrcBin._lost, answer=False))
            return True
        if self._tail is not None and self.value("file-loop") and self._is_at("file://"):
            self._tail.loop()
            GLib.idle_add(_when_alive(self, UriSrcBin._again, answer=False))
            return True
        return False

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
        heard_at = self._tail.heard_at if self._tail is not None else 0.0
        silent_s = time.monotonic() - max(self._tried_at, heard_at)
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
        if self._tail is not None and self.value("source-id") >= 0:
            self._tail.announce_reset(self.value("source-id"))
        self._inner = self._rtsp_source(self.value("uri"))
        self._tried_at = time.monotonic()
        for element in reversed(self._inner):
            # Not the state of the bin: a decoder without pictures keeps the bin in PAUSED, where no camera sends.
            element.set_state(Gst.State.PLAYING)

    def do_handle_message(self, message: Any) -> None:
        """While the watchdog is armed, errors of the source are warnings."""
        if message.type == Gst.MessageType.ERROR and message.src is not self and self._armed() and self._watchdog:
            error, debug = message.parse_error()
            message = Gst.Message.new_warning(message.src, error, debug)
        Gst.Bin.do_handle_message(self, message)


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


def _is_video(_source: Any, _number: int, caps: Any) -> bool:
    return caps.get_structure(0).get_string("media") == "video"


def _link(pad: Any, decoder: Any) -> None:
    if decoder is not None:
        sink = decoder.get_static_pad("sink")
        if not sink.is_linked():
            pad.link(sink)
