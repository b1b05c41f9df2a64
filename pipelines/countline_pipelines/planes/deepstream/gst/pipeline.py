"""One GStreamer pipeline: sources are added and removed while it plays, batches of tracked objects leave it.

Built, changed and closed in the main loop's thread. It reports to a `PipelineListener`: batches from the streaming
thread behind the tracker, everything else from the main loop. A failed inference ends a DeepStream pipeline, so a
failed pipeline is not repaired; its owner builds another one.
"""

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.triton import ModelInfo
from countline_pipelines.planes.deepstream.cameras.metadata import Metadata
from countline_pipelines.planes.deepstream.cameras.valve import SourceValve
from countline_pipelines.planes.deepstream.config import properties
from countline_pipelines.planes.deepstream.config.files import PipelineFiles
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions
from countline_pipelines.planes.deepstream.gst.elements import add_chain, make
from countline_pipelines.planes.deepstream.gst.library import PipelineError, Runtime
from countline_pipelines.planes.deepstream.gst.listener import PipelineListener
from countline_pipelines.planes.deepstream.gst.messages import BusMessages
from countline_pipelines.planes.deepstream.gst.preview import Preview
from countline_pipelines.planes.deepstream.gst.probes import PipelineProbes
from countline_pipelines.planes.deepstream.gst.sources import CameraSource
from countline_pipelines.sources import SourceSpec

_log = get_logger(__name__)


class Pipeline:
    """Muxer, queue, inference, tracker and sink, with the sources in front of them.

    Args:
        runtime: GStreamer and pyds.
        options: of the plane.
        files: configuration files, already written.
        info: the model.
        listener: receives the reports.

    Raises:
        PipelineError: an element cannot be made.
    """

    def __init__(
        self,
        runtime: Runtime,
        options: PipelineOptions,
        files: PipelineFiles,
        info: ModelInfo,
        listener: PipelineListener,
    ) -> None:
        self._runtime, self._gst = runtime, runtime.gst
        self._options = options
        self._listener = listener
        self._sources: dict[int, CameraSource] = {}
        self._closed = False
        self._pipeline = self._gst.Pipeline.new(f"countline-{files.folder.name}")
        self._mux = make(self._gst, "nvstreammux", "mux", properties.mux_properties(options, files.mux))
        self._probes = self._build(files, info)
        self._messages = BusMessages(self._gst, self._pipeline, self._sources, listener, self._fail)

    def _build(self, files: PipelineFiles, info: ModelInfo) -> PipelineProbes:
        options, gst = self._options, self._gst
        queue = make(gst, "queue", "queue", properties.queue_properties(options))
        infer = make(gst, "nvinferserver", "infer", properties.infer_properties(options, files.inference))
        tracker = make(gst, "nvtracker", "tracker", properties.tracker_properties(options, files.tracker))
        sink = make(gst, "fakesink", "sink", properties.sink_properties(options))
        add_chain(self._pipeline, (self._mux, queue, infer, tracker, sink))
        in_python = options.boxes is BoxPath.PYTHON
        metadata = Metadata(self._runtime.pyds)
        probes = PipelineProbes(gst, metadata, info.name, self._listener.batch, self._crashed, add_objects=in_python)
        probes.attach(infer, tracker)
        return probes

    def play(self) -> None:
        """Start to play, without a source.

        Raises:
            PipelineError: an element does not start: Triton does not answer, the model is unusable, a library is
                missing.
        """
        if self._pipeline.set_state(self._gst.State.PLAYING) == self._gst.StateChangeReturn.FAILURE:
            detail = self._messages.first_error() or "an element does not start"
            self.close()
            raise PipelineError(f"the pipeline does not start: {detail}", hint="see Triton's log, and countline doctor")

    def add_source(self, index: int, spec: SourceSpec, valve: SourceValve) -> None:
        """Start a source on a pad that this pipeline never used.

        Raises:
            PipelineError: the source does not start.
        """
        source = CameraSource(self._runtime, self._options, self._pipeline, self._mux, index, spec, valve)
        self._sources[index] = source
        source.start()

    def stop_source(self, index: int) -> None:
        """Stop decoding; frames that are inside still leave the pipeline."""
        source = self._sources.get(index)
        if source is not None:
            source.stop()

    def remove_source(self, index: int) -> None:
        """Release the pad of a source; after `stop_source`."""
        source = self._sources.pop(index, None)
        if source is not None:
            source.remove()

    def start_preview(self, index: int, name: str) -> Preview | None:
        """A preview of a source; None before its first frame.

        Args:
            index: of the source.
            name: of the camera, for logs.

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
        """Stop everything and release it."""
        self._closed = True
        for source in self._sources.values():
            source.stop()
        self._messages.stop()
        self._pipeline.set_state(self._gst.State.NULL)
        for index in list(self._sources):
            self.remove_source(index)
        self._probes.detach()

    def _crashed(self, error: Exception) -> None:
        if not self._closed:
            _log.exception("pipeline.crashed")
            self._fail(error.message if isinstance(error, CountlineError) else f"{type(error).__name__}: {error}")

    def _fail(self, detail: str) -> None:
        if not self._closed:
            self._closed = True
            self._listener.pipeline_failed(detail)
