"""Messages on the bus of a pipeline: which source or element posted one, and what it means."""

from collections.abc import Callable, Container
from typing import Any, Final

from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_pipelines.planes.deepstream.config import properties
from countline_pipelines.planes.deepstream.gst.listener import PipelineListener, SourceTrouble
from countline_pipelines.planes.deepstream.gst.sources import SOURCE_PREFIX
from countline_pipelines.sources import SourceFailure

_log = get_logger(__name__)
_NO_SOURCE: Final = -1
_REMOVED: Final = -2

_RESOURCE, _STREAM = "gst-resource-error-quark", "gst-stream-error-quark"
_FAILURES: Final = {
    (_RESOURCE, 3): SourceFailure.NOT_FOUND,
    (_RESOURCE, 15): SourceFailure.UNAUTHORIZED,
    (_RESOURCE, 5): SourceFailure.UNREACHABLE,
    (_RESOURCE, 7): SourceFailure.UNREACHABLE,
    (_RESOURCE, 9): SourceFailure.UNREACHABLE,
    (_STREAM, 4): SourceFailure.NOT_VIDEO,
    (_STREAM, 5): SourceFailure.NOT_VIDEO,
    (_STREAM, 6): SourceFailure.CODEC_MISSING,
    (_STREAM, 7): SourceFailure.BAD_PICTURE,
    (_STREAM, 9): SourceFailure.NOT_VIDEO,
}
"""GStreamer's error codes (GstResourceError, GstStreamError) of a source; any other code means unreachable."""


class BusMessages:
    """Turns bus messages into reports; in the main loop's thread, from `start` to `stop`.

    Args:
        gst: the module `gi.repository.Gst`.
        pipeline: the Gst.Pipeline.
        sources: indices of the sources that the pipeline has now.
        listener: receives the reports about sources.
        fail: called with the text of an error that ends the pipeline.
    """

    def __init__(
        self,
        gst: Any,
        pipeline: Any,
        sources: Container[int],
        listener: PipelineListener,
        fail: Callable[[str], None],
    ) -> None:
        self._gst = gst
        self._pipeline = pipeline
        self._sources = sources
        self._listener = listener
        self._fail = fail
        self._bus = pipeline.get_bus()
        self._bus.add_signal_watch()
        self._handler = self._bus.connect("message", self._received)

    def stop(self) -> None:
        """Receive no more messages."""
        self._bus.disconnect(self._handler)
        self._bus.remove_signal_watch()

    def first_error(self) -> str:
        """Text of the first error that waits on the bus; empty for none."""
        message = self._bus.timed_pop_filtered(0, self._gst.MessageType.ERROR)
        return _text(message.parse_error()) if message is not None else ""

    def _received(self, _: Any, message: Any) -> None:
        kinds = self._gst.MessageType
        if message.type == kinds.ERROR:
            self._received_error(message)
        elif message.type == kinds.WARNING:
            self._received_warning(message)
        elif message.type == kinds.ELEMENT:
            self._received_element(message.get_structure())

    def _received_error(self, message: Any) -> None:
        error, _ = message.parse_error()
        text, index = _text(message.parse_error()), self._index_of(message.src)
        if index == _NO_SOURCE:
            self._fail(f"{message.src.get_name()}: {text}")
        elif index in self._sources:
            failure = _FAILURES.get((error.domain, error.code), SourceFailure.UNREACHABLE)
            self._listener.source_failed(index, SourceTrouble(failure, text))

    def _received_warning(self, message: Any) -> None:
        text, index = _text(message.parse_warning()), self._index_of(message.src)
        _log.warning("pipeline.warning", element=message.src.get_name(), text=text)
        if index in self._sources:
            self._listener.source_waits(index, text)

    def _received_element(self, structure: Any) -> None:
        name = structure.get_name() if structure is not None else ""
        if name == "stream-eos":
            self._listener.source_ended(int(structure.get_value("stream-id")))
        elif name == "attempt-exceeded":
            detail = f"no data after {properties.RECONNECT_ATTEMPTS} attempts to reconnect"
            trouble = SourceTrouble(SourceFailure.TIMED_OUT, detail)
            self._listener.source_failed(int(structure.get_value("source-id")), trouble)

    def _index_of(self, element: Any) -> int:
        """Index of the source that contains an element; `_NO_SOURCE` for any other element of the pipeline.

        Messages of a removed source arrive late: `_REMOVED`.
        """
        while element is not None and element != self._pipeline:
            parent = element.get_parent()
            if parent == self._pipeline:
                name = element.get_name()
                return int(name.removeprefix(SOURCE_PREFIX)) if name.startswith(SOURCE_PREFIX) else _NO_SOURCE
            element = parent
        return _REMOVED if element is None else _NO_SOURCE


def _text(parsed: tuple[Any, str | None]) -> str:
    """GStreamer's message and the last line of its debug text, without passwords."""
    error, debug = parsed
    last = (debug or "").strip().rpartition("\n")[2]
    return redact(f"{error.message} ({last})" if last else str(error.message))[:400]
