"""Reads and writes the metadata of batches; the only module that calls pyds.

pyds is deprecated and has no wheels from DeepStream 9.0 on; `pyservicemaker` offers the same metadata. To replace pyds,
rewrite this module.

Metadata lies in C memory that is reused as soon as the probe returns. So numbers are copied out, and no object of pyds
is kept. Each attribute access is a call that holds the interpreter's lock, so reading costs eleven calls for an object,
and the numbers of a frame become arrays at once.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import CountlineError
from countline_pipelines.planes.deepstream.cameras.coordinates import from_network
from countline_pipelines.planes.deepstream.config.facts import UNTRACKED

OUTPUT_LAYER: Final = "detections"


class MetadataError(CountlineError):
    """A batch has no metadata, or other metadata than this pipeline writes."""


@dataclass(frozen=True, slots=True)
class FrameTable:
    """One frame as it leaves the pipeline."""

    index: int
    """Of the source's pad at the muxer."""
    pts_ns: int
    """Presentation time."""
    ntp_ns: int
    """The camera's clock, Unix time; 0 where the camera sends none."""
    source_wh: tuple[int, int]
    ids: NDArray[np.int64]
    """(N,) of the tracker; the same 64 bits, so ids beyond 2^63 are negative."""
    xyxy_px: NDArray[np.float64]
    """(N, 4) in pixels of the source; a box may reach beyond the picture."""
    scores: NDArray[np.float64]
    """(N,) of the detector; below 0 for a box that the tracker predicted."""
    classes: NDArray[np.int64]
    """(N,)"""


class Metadata:
    """Reads and writes the metadata of batches.

    Args:
        pyds: the module.
    """

    def __init__(self, pyds: Any) -> None:
        self._pyds = pyds

    # After the tracker -----------------------------------------------------------------------------------------------

    def tables(self, buffer: Any) -> list[FrameTable]:
        """The frames of a batch, in its order.

        Raises:
            MetadataError: the buffer is no batch.
        """
        cast = self._pyds.NvDsFrameMeta.cast
        return [self.table(cast(data)) for data in _walk(self._batch(buffer).frame_meta_list)]

    def _batch(self, buffer: Any) -> Any:
        batch = self._pyds.gst_buffer_get_nvds_batch_meta(hash(buffer))
        if batch is None:
            raise MetadataError(
                "a buffer of the pipeline has no batch metadata",
                hint="this is a bug in Countline; see the worker's log",
            )
        return batch

    def table(self, frame: Any) -> FrameTable:
        """One frame, given as NvDsFrameMeta."""
        ids, numbers = self._objects(frame)
        table = np.array(numbers, dtype=np.float64).reshape(-1, 6)
        boxes = table[:, 2:].copy()
        boxes[:, 2:] += boxes[:, :2]
        return FrameTable(
            index=frame.pad_index,
            pts_ns=frame.buf_pts,
            ntp_ns=frame.ntp_timestamp,
            source_wh=(frame.source_frame_width, frame.source_frame_height),
            ids=np.array(ids, dtype=np.uint64).view(np.int64),
            xyxy_px=boxes,
            scores=table[:, 1].copy(),
            classes=table[:, 0].astype(np.int64),
        )

    def _objects(self, frame: Any) -> tuple[list[int], list[float]]:
        """Ids of the tracked objects; and class, score, left, top, width, height of each in one flat list."""
        cast = self._pyds.NvDsObjectMeta.cast
        ids: list[int] = []
        numbers: list[float] = []
        for data in _walk(frame.obj_meta_list):
            one = cast(data)
            object_id = one.object_id
            if object_id == UNTRACKED:
                continue
            box = one.rect_params
            ids.append(object_id)
            numbers += (one.class_id, one.confidence, box.left, box.top, box.width, box.height)
        return ids, numbers

    # Before the tracker ----------------------------------------------------------------------------------------------

    def add_objects(self, buffer: Any, infer_id: int) -> int:
        """Make objects from the tensors of a batch, if no C++ function does; returns how many.

        Args:
            buffer: of a batch after nvinferserver.
            infer_id: `unique-id` of the detector.

        Raises:
            MetadataError: a frame has no tensor, or the tensor does not follow the detection contract.
        """
        pyds = self._pyds
        batch = self._batch(buffer)
        added = 0
        pyds.nvds_acquire_meta_lock(batch)
        try:
            for data in _walk(batch.frame_meta_list):
                frame = pyds.NvDsFrameMeta.cast(data)
                added += self._add_to(batch, frame, self._detections(frame, infer_id), infer_id)
        finally:
            pyds.nvds_release_meta_lock(batch)
        return added

    def _detections(self, frame: Any, infer_id: int) -> NDArray[np.float64]:
        """(N, 6) left, top, width, height in pixels of the source, score, class."""
        pyds = self._pyds
        for data in _walk(frame.frame_user_meta_list):
            user = pyds.NvDsUserMeta.cast(data)
            if user.base_meta.meta_type != pyds.NvDsMetaType.NVDSINFER_TENSOR_OUTPUT_META:
                continue
            tensor = pyds.NvDsInferTensorMeta.cast(user.user_meta_data)
            if tensor.unique_id == infer_id:
                network_wh = tensor.network_info.width, tensor.network_info.height
                source_wh = frame.source_frame_width, frame.source_frame_height
                return from_network(self._output(tensor), network_wh, source_wh)
        raise MetadataError("nvinferserver attached no tensor to a frame", hint="set output_tensor_meta")

    def _output(self, tensor: Any) -> NDArray[np.float32]:
        """A copy of the (max_detections, 6) output: the plugin owns the memory."""
        pyds = self._pyds
        for number in range(tensor.num_output_layers):
            layer = pyds.get_nvds_LayerInfo(tensor, number)
            if layer.layerName != OUTPUT_LAYER:
                continue
            dims = layer.inferDims
            shape = tuple(int(size) for size in dims.d[: dims.numDims])
            if len(shape) != 2 or shape[1] != 6 or layer.dataType != pyds.NvDsInferDataType.FLOAT:
                raise MetadataError(
                    f"the output {OUTPUT_LAYER!r} has the shape {shape}", hint="deploy a contract model"
                )
            floats = ctypes.cast(pyds.get_ptr(layer.buffer), ctypes.POINTER(ctypes.c_float))
            return np.array(np.ctypeslib.as_array(floats, shape=shape), dtype=np.float32)
        raise MetadataError(f"the model has no output {OUTPUT_LAYER!r}", hint="deploy a contract model")

    def _add_to(self, batch: Any, frame: Any, rows: NDArray[np.float64], infer_id: int) -> int:
        pyds = self._pyds
        for left, top, width, height, score, class_id in rows.tolist():
            one = pyds.nvds_acquire_obj_meta_from_pool(batch)
            one.unique_component_id = infer_id
            one.class_id = int(class_id)
            one.confidence = score
            one.object_id = UNTRACKED
            # The tracker reads the detector's box, other elements read the rectangle.
            for box in (one.rect_params, one.detector_bbox_info.org_bbox_coords):
                box.left, box.top, box.width, box.height = left, top, width, height
            pyds.nvds_add_obj_meta_to_frame(frame, one, None)
        # nvinferserver does not set it on this path, and without it the tracker assumes that inference was skipped.
        frame.bInferDone = 1
        return len(rows)


def follow_camera_clock(pyds: Any, rtsp_source: Any) -> None:
    """Make an rtspsrc stamp frames with the camera's RTCP reports; before the first report `ntp_timestamp` is 0."""
    pyds.configure_source_for_ntp_sync(hash(rtsp_source))


def _walk(node: Any) -> Iterator[Any]:
    """The capsules of a list. The bindings end a list with None or with StopIteration."""
    while node is not None:
        yield node.data
        try:
            node = node.next
        except StopIteration:
            return
