"""One GStreamer pipeline: sources come and go while it plays, batches of tracked objects come out.

Made, changed and ended in the main loop's thread. What it has to say goes to a `Listener`: batches from the streaming
thread behind the tracker, everything else from the main loop. It does not mend itself: a failed inference ends a
pipeline in DeepStream, so whoever owns it makes another one.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Protocol

from countline_common.errors import CountlineError
from countline_common.logs import get_logger, redact
from countline_common.triton import ModelInfo
from countline_pipelines import metrics
from countline_pipelines.planes.deepstream.cameras.metadata import FrameTable, Metadata
from countline_pipelines.planes.deepstream.cameras.preview import Preview
from countline_pipelines.planes.deepstream.config import properties
from countline_pipelines.planes.deepstream.config.files import PipelineFiles
from countline_pipelines.planes.deepstream.config.properties import INFER_ID, BoxPath, PipelineOptions
from countline_pipelines.planes.deepstream.gst.library import PipelineError, Runtime, make
from countline_pipelines.planes.deepstream.gst.sources import CameraSource, Gate, source_name
from countline_pipelines.sources import SourceFailure, SourceSpec

MOST_WITH_TRITON: Final = 64
_log = get_logger(__name__)
_SOURCE_PREFIX: Final = source_name(0)[:-1]
_OURS: Final = -1
_GONE: Final = -2

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
"""What GStreamer's numbers (GstResourceError, GstStreamError) mean for a source; others mean that it cannot be read."""


@dataclass(frozen=True, slots=True)
class SourceTrouble:
    """Why a source gives no pictures."""

    failure: SourceFailure
    detail: str


class Listener(Protocol):
    """Whom a pipeline tells; never blocks for long, and takes what comes from several threads."""

    def batch(self, tables: list[FrameTable]) -> None:
        """The frames of a batch; from the streaming thread. May wait, where files shall wait."""
        ...

    def source_ended(self, index: int) -> None:
        """All frames of a source have come out, and it has no more."""
        ...

    def source_failed(self, index: int, trouble: SourceTrouble) -> None:
        """A source is over; it must be made anew."""
        ...

    def source_waits(self, index: int, detail: str) -> None:
        """A source has no data and is being connected again by itself."""
        ...

    def pipeline_failed(self, detail: str) -> None:
        """Nothing comes out any more."""
        ...


class Pipeline:
    """See the module.

    Args:
        runtime: GStreamer.
        options: of the plane.
        files: the configuration that was written for it.
        info: the model.
        listener: whom to tell.
        live: for cameras, not files.

    Raises:
        PipelineError: an element cannot be made.
    """

    def __init__(
        self,
        runtime: Runtime,
        options: PipelineOptions,
        files: PipelineFiles,
        info: ModelInfo,
        listener: Listener,
        *,
        live: bool,
    ) -> None:
        self._runtime, self._gst = runtime, runtime.gst
        self._options, self._files = options, files
        self._listener = listener
        self._metadata = Metadata(runtime.pyds)
        self._sources: dict[int, CameraSource] = {}
        self._probes: list[tuple[Any, int]] = []
        self._sent_at: deque[float] = deque(maxlen=MOST_WITH_TRITON)
        self._inference_s = metrics.INFERENCE_SECONDS.labels(info.name)
        self._pipeline = self._gst.Pipeline.new(f"countline-{info.name}-{info.version}-{'live' if live else 'files'}")
        self._over = False
        self._build()
        self._bus = self._pipeline.get_bus()
        self._bus.add_signal_watch()
        self._bus_handler = self._bus.connect("message", self._heard)

    def _build(self) -> None:
        options, files, gst = self._options, self._files, self._gst
        self._mux = make(gst, "nvstreammux", "mux", properties.mux_properties(options, files.mux))
        queue = make(gst, "queue", "queue", properties.queue_properties(options))
        infer = make(gst, "nvinferserver", "infer", properties.infer_properties(options, files.inference))
        tracker = make(gst, "nvtracker", "tracker", properties.tracker_properties(options, files.tracker))
        sink = make(gst, "fakesink", "sink", properties.sink_properties(options))
        chain = [self._mux, queue, infer, tracker, sink]
        for element in chain:
            self._pipeline.add(element)
        for first, second in pairwise(chain):
            if not first.link(second):
                raise PipelineError(f"{first.get_name()} does not link to {second.get_name()}", hint="see the log")
        self._add_probe(infer, "sink", self._sent)
        self._add_probe(infer, "src", self._inferred)
        self._add_probe(tracker, "src", self._tracked)

    def _add_probe(self, element: Any, pad_name: str, probe: Callable[[Any, Any], Any]) -> None:
        pad = element.get_static_pad(pad_name)
        self._probes.append((pad, pad.add_probe(self._gst.PadProbeType.BUFFER, probe)))

    # In the main loop's thread ---------------------------------------------------------------------------------------

    def play(self) -> None:
        """Begin to play, without a source.

        Raises:
            PipelineError: an element refuses: Triton away, a model that it cannot use, a library that is missing.
        """
        if self._pipeline.set_state(self._gst.State.PLAYING) == self._gst.StateChangeReturn.FAILURE:
            detail = self._first_error() or "an element does not start"
            self.close()
            raise PipelineError(f"the pipeline does not start: {detail}", hint="see Triton's log, and countline doctor")

    def _first_error(self) -> str:
        message = self._bus.timed_pop_filtered(0, self._gst.MessageType.ERROR)
        return _words(message.parse_error()) if message is not None else ""

    def add_source(self, index: int, spec: SourceSpec, gate: Gate) -> None:
        """Begin with a source on a pad that was never used.

        Raises:
            PipelineError: it does not even begin.
        """
        source = CameraSource(self._runtime, self._options, self._pipeline, self._mux, index, spec, gate)
        self._sources[index] = source
        source.start()

    def stop_source(self, index: int) -> None:
        """Stop decoding; frames that are inside come out still."""
        source = self._sources.get(index)
        if source is not None:
            source.stop()

    def remove_source(self, index: int) -> None:
        """Give a source's pad back; after `stop_source`."""
        source = self._sources.pop(index, None)
        if source is not None:
            source.remove()

    def begin_preview(self, index: int, name: str) -> Preview | None:
        """A preview of a source; None while it has no pictures.

        Raises:
            PipelineError: an element is missing.
        """
        source = self._sources.get(index)
        caps = source.caps() if source is not None else None
        if caps is None:
            return None
        preview = Preview(self._runtime, self._options, name)
        preview.start(caps)
        return preview

    def close(self) -> None:
        """Stop everything and let it go."""
        self._over = True
        for source in self._sources.values():
            source.stop()
        self._bus.disconnect(self._bus_handler)
        self._bus.remove_signal_watch()
        self._pipeline.set_state(self._gst.State.NULL)
        for index in list(self._sources):
            self.remove_source(index)
        # A probe holds this object and this object the pipeline: a ring that Python's collector does not see.
        for pad, probe in self._probes:
            pad.remove_probe(probe)
        self._probes.clear()

    def _heard(self, _: Any, message: Any) -> None:
        kinds = self._gst.MessageType
        if message.type == kinds.ERROR:
            self._heard_error(message)
        elif message.type == kinds.WARNING:
            words, index = _words(message.parse_warning()), self._index_of(message.src)
            _log.warning("pipeline.warning", element=message.src.get_name(), text=words)
            if index in self._sources:
                self._listener.source_waits(index, words)
        elif message.type == kinds.ELEMENT:
            self._heard_element(message.get_structure())

    def _heard_error(self, message: Any) -> None:
        error, _ = message.parse_error()
        words, index = _words(message.parse_error()), self._index_of(message.src)
        if index == _OURS:
            self._fail(f"{message.src.get_name()}: {words}")
        elif index in self._sources:
            failure = _FAILURES.get((error.domain, error.code), SourceFailure.UNREACHABLE)
            self._listener.source_failed(index, SourceTrouble(failure, words))

    def _heard_element(self, structure: Any) -> None:
        name = structure.get_name() if structure is not None else ""
        if name == "stream-eos":
            self._listener.source_ended(int(structure.get_value("stream-id")))
        elif name == "attempt-exceeded":
            detail = f"no data after {properties.RECONNECT_ATTEMPTS} attempts to connect again"
            trouble = SourceTrouble(SourceFailure.TIMED_OUT, detail)
            self._listener.source_failed(int(structure.get_value("source-id")), trouble)

    def _index_of(self, element: Any) -> int:
        """The index of the source that an element is part of, `_OURS` for other elements of the pipeline.

        What a source that was removed says comes late, and is nobody's: `_GONE`.
        """
        while element is not None and element != self._pipeline:
            parent = element.get_parent()
            if parent == self._pipeline:
                name = element.get_name()
                return int(name.removeprefix(_SOURCE_PREFIX)) if name.startswith(_SOURCE_PREFIX) else _OURS
            element = parent
        return _GONE if element is None else _OURS

    def _fail(self, detail: str) -> None:
        if not self._over:
            self._over = True
            self._listener.pipeline_failed(detail)

    # In the streaming threads ----------------------------------------------------------------------------------------

    def _sent(self, _: Any, __: Any) -> Any:
        self._sent_at.append(time.monotonic())
        return self._gst.PadProbeReturn.OK

    def _inferred(self, _: Any, info: Any) -> Any:
        if self._sent_at:  # batches come out in the order in which they went in
            self._inference_s.observe(time.monotonic() - self._sent_at.popleft())
        if self._options.boxes is not BoxPath.PYTHON:
            return self._gst.PadProbeReturn.OK
        try:
            self._metadata.add_objects(info.get_buffer(), INFER_ID)
        except Exception as error:  # noqa: BLE001  (an exception in a probe is lost; the pipeline must end instead)
            self._crash(error)
            return self._gst.PadProbeReturn.DROP
        return self._gst.PadProbeReturn.OK

    def _tracked(self, _: Any, info: Any) -> Any:
        try:
            self._listener.batch(self._metadata.tables(info.get_buffer()))
        except Exception as error:  # noqa: BLE001  (as above)
            self._crash(error)
        return self._gst.PadProbeReturn.OK

    def _crash(self, error: Exception) -> None:
        if not self._over:
            _log.exception("pipeline.crashed")
            self._fail(error.message if isinstance(error, CountlineError) else f"{type(error).__name__}: {error}")


def _words(parsed: tuple[Any, str | None]) -> str:
    """GStreamer's message and the last line of its debug text, without passwords."""
    error, debug = parsed
    last = (debug or "").strip().rpartition("\n")[2]
    return redact(f"{error.message} ({last})" if last else str(error.message))[:400]
