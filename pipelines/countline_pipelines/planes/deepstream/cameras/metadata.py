"""The one place that talks to pyds: a batch's metadata in, NumPy tables out, and boxes of our own into it.

From DeepStream 9.0 on pyds is deprecated and has no wheels; `pyservicemaker` offers the same metadata. Whoever puts it
in has these three functions to write, and nothing else to change.

Metadata lies in C memory that is used again as soon as the probe returns. Nothing of it is kept here: numbers are
copied out, and every name of pyds is let go. Each look at an attribute is a call that holds the interpreter's lock, so
an object is asked for eleven things and no more; a batch's numbers become arrays at once.
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
    """A batch carries no metadata, or not what this pipeline puts into it."""


@dataclass(frozen=True, slots=True)
class FrameTable:
    """One frame as it leaves the pipeline."""

    index: int
    """Of the muxer's pad: whose frame it is."""
    pts_ns: int
    ntp_ns: int
    source_wh: tuple[int, int]
    ids: NDArray[np.int64]
    """(N,) as the tracker gives them; the same bits, so those beyond 2^63 are negative."""
    xyxy_px: NDArray[np.float64]
    """(N, 4) in pixels of the source; a box may reach beyond the picture."""
    scores: NDArray[np.float64]
    """(N,) of the detector; below 0 where it did not see the object and the tracker tells where it is."""
    classes: NDArray[np.int64]
    """(N,)"""


class Metadata:
    """Reads and writes the metadata of batches.

    Args:
        pyds: the module.
    """

    def __init__(self, pyds: Any) -> None:
        self._pyds = pyds

    # Behind the tracker ----------------------------------------------------------------------------------------------

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
                "a buffer of the pipeline carries no batch", hint="this is a fault of ours; see the log"
            )
        return batch

    def table(self, frame: Any) -> FrameTable:
        """One frame, given as its NvDsFrameMeta."""
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
        """Ids of the tracked objects, and class, score, left, top, width, height of each in one flat list."""
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
        """Make objects of a batch's tensors, where no C++ function has done so; returns how many.

        Args:
            buffer: behind nvinferserver.
            infer_id: `unique-id` of the detector.

        Raises:
            MetadataError: a frame lacks its tensor, or it is not of the detection contract.
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
                return from_network(self._answer(tensor), network_wh, source_wh)
        raise MetadataError("a frame came from nvinferserver without its tensor", hint="set output_tensor_meta")

    def _answer(self, tensor: Any) -> NDArray[np.float32]:
        """A copy of the (max_detections, 6) answer: the memory is the plugin's."""
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
            # The tracker reads what the detector said, everybody else the rectangle.
            for box in (one.rect_params, one.detector_bbox_info.org_bbox_coords):
                box.left, box.top, box.width, box.height = left, top, width, height
            pyds.nvds_add_obj_meta_to_frame(frame, one, None)
        # The plugin leaves it unset on this way, and a tracker takes a frame without it for one that was not looked at.
        frame.bInferDone = 1
        return len(rows)


def follow_camera_clock(pyds: Any, rtsp_source: Any) -> None:
    """Have frames carry the times of the camera's RTCP reports; until one came, `ntp_timestamp` is 0."""
    pyds.configure_source_for_ntp_sync(hash(rtsp_source))


def _walk(node: Any) -> Iterator[Any]:
    """The capsules of a list; bindings end it with None or with StopIteration."""
    while node is not None:
        yield node.data
        try:
            node = node.next
        except StopIteration:
            return
