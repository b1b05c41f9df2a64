"""Probes on the pads of a pipeline: measure inference, add objects, read batches. They run in streaming threads."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from countline_pipelines import metrics
from countline_pipelines.planes.deepstream.cameras.metadata import FrameTable, Metadata
from countline_pipelines.planes.deepstream.config.properties import INFER_ID

MOST_WITH_TRITON: Final = 64


class PipelineProbes:
    """The probes of one pipeline.

    Args:
        gst: the module `gi.repository.Gst`.
        metadata: reads and writes the metadata of batches.
        model: name of the model, for metrics.
        add_objects: make objects of tensors in Python, because no C++ function does.
        batch: called with the frames of each tracked batch.
        crashed: called with an exception of a probe. GStreamer discards exceptions, so the pipeline must end instead.
    """

    def __init__(
        self,
        gst: Any,
        metadata: Metadata,
        model: str,
        batch: Callable[[list[FrameTable]], None],
        crashed: Callable[[Exception], None],
        *,
        add_objects: bool,
    ) -> None:
        self._gst = gst
        self._metadata = metadata
        self._add_objects = add_objects
        self._batch = batch
        self._crashed = crashed
        self._sent_at: deque[float] = deque(maxlen=MOST_WITH_TRITON)
        self._inference_s = metrics.INFERENCE_SECONDS.labels(model)
        self._probes: list[tuple[Any, int]] = []

    def attach(self, infer: Any, tracker: Any) -> None:
        """Attach the probes to nvinferserver and nvtracker."""
        self._add(infer, "sink", self._sent)
        self._add(infer, "src", self._inferred)
        self._add(tracker, "src", self._tracked)

    def _add(self, element: Any, pad_name: str, probe: Callable[[Any, Any], Any]) -> None:
        pad = element.get_static_pad(pad_name)
        self._probes.append((pad, pad.add_probe(self._gst.PadProbeType.BUFFER, probe)))

    def detach(self) -> None:
        """Remove the probes: each holds this object, a reference cycle that Python's collector does not see."""
        for pad, probe in self._probes:
            pad.remove_probe(probe)
        self._probes.clear()

    def _sent(self, _: Any, __: Any) -> Any:
        self._sent_at.append(time.monotonic())
        return self._gst.PadProbeReturn.OK

    def _inferred(self, _: Any, info: Any) -> Any:
        if self._sent_at:  # batches leave in the order in which they entered
            self._inference_s.observe(time.monotonic() - self._sent_at.popleft())
        if not self._add_objects:
            return self._gst.PadProbeReturn.OK
        try:
            self._metadata.add_objects(info.get_buffer(), INFER_ID)
        except Exception as error:  # noqa: BLE001  (see `crashed`)
            self._crashed(error)
            return self._gst.PadProbeReturn.DROP
        return self._gst.PadProbeReturn.OK

    def _tracked(self, _: Any, info: Any) -> Any:
        try:
            self._batch(self._metadata.tables(info.get_buffer()))
        except Exception as error:  # noqa: BLE001  (see `crashed`)
            self._crashed(error)
        return self._gst.PadProbeReturn.OK
