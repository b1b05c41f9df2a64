"""The functions of pyds that the double simulates, under their own names."""

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.doubles.deepstream import native
from tests.doubles.deepstream.batches import Batch, Batches, list_of
from tests.doubles.deepstream.structs import GList, PyCapsule, Structure, UseAfterReleaseError

if TYPE_CHECKING:
    from tests.doubles.deepstream.modules.pyds_module import Pyds


class PydsFunctions:
    """What programs call."""

    def __init__(self, pyds: "Pyds", batches: Batches, send_event: Callable[[int, str, int], None]) -> None:
        self._pyds = pyds
        self._batches = batches
        self._send_event = send_event

    def gst_buffer_get_nvds_batch_meta(self, address: int) -> Structure | None:
        if not isinstance(address, int):
            raise TypeError(f"gst_buffer_get_nvds_batch_meta takes hash(buffer), not {type(address).__name__}")
        batch = self._batches.find(address)
        return None if batch is None else batch.meta

    def nvds_get_user_meta_type(self, descriptor: str) -> int:
        if not isinstance(descriptor, str):
            raise TypeError("nvds_get_user_meta_type takes a str")
        return self._pyds.user_meta_type(descriptor)

    def _batch_of(self, structure: Any, kind: str) -> Batch:
        if not isinstance(structure, self._pyds.classes[kind]):
            raise TypeError(f"takes {kind}, not {type(structure).__name__}")
        batch = self._batches.of(structure)
        if batch is None:
            raise UseAfterReleaseError(f"{kind} of a buffer that was released")
        return batch

    def _acquire(self, batch_meta: Any, kind: str, meta_type: str) -> Structure:
        batch = self._batch_of(batch_meta, "NvDsBatchMeta")
        made = self._pyds.make(kind, batch.life)
        made._values["base_meta"] = self._pyds.base_meta(batch.meta, meta_type)
        batch.acquired.add(id(made))
        _keep(batch, made)
        return made

    def nvds_acquire_obj_meta_from_pool(self, batch_meta: Any) -> Structure:
        made = self._acquire(batch_meta, "NvDsObjectMeta", "NVDS_OBJ_META")
        # The pool clears a structure, so its id is 0 until the program sets it.
        made._values.update(object_id=0, parent=None)
        return made

    def nvds_acquire_user_meta_from_pool(self, batch_meta: Any) -> Structure:
        return self._acquire(batch_meta, "NvDsUserMeta", "NVDS_USER_META")

    def nvds_acquire_display_meta_from_pool(self, batch_meta: Any) -> Structure:
        return self._acquire(batch_meta, "NvDsDisplayMeta", "NVDS_DISPLAY_META")

    def nvds_acquire_classifier_meta_from_pool(self, batch_meta: Any) -> Structure:
        return self._acquire(batch_meta, "NvDsClassifierMeta", "NVDS_CLASSIFIER_META")

    def nvds_acquire_label_info_meta_from_pool(self, batch_meta: Any) -> Structure:
        return self._acquire(batch_meta, "NvDsLabelInfo", "NVDS_LABEL_INFO_META")

    def _add(self, owner: Any, owner_kind: str, list_name: str, added: Any, added_kind: str) -> None:
        batch = self._batch_of(owner, owner_kind)
        if not isinstance(added, self._pyds.classes[added_kind]):
            raise TypeError(f"takes {added_kind}, not {type(added).__name__}")
        if id(added) not in batch.acquired:
            raise RuntimeError(f"this {added_kind} is not from the pool of this batch, or was added before")
        batch.acquired.discard(id(added))
        list_of(owner, list_name).append(added)

    def nvds_add_obj_meta_to_frame(self, frame: Any, added: Any, parent: Any) -> None:
        self._add(frame, "NvDsFrameMeta", "obj_meta_list", added, "NvDsObjectMeta")
        if parent is not None and not isinstance(parent, self._pyds.classes["NvDsObjectMeta"]):
            raise TypeError("parent is an NvDsObjectMeta or None")
        added._values["parent"] = parent
        frame._values["num_obj_meta"] = len(list_of(frame, "obj_meta_list"))

    def nvds_add_user_meta_to_frame(self, frame: Any, added: Any) -> None:
        self._add(frame, "NvDsFrameMeta", "frame_user_meta_list", added, "NvDsUserMeta")

    def nvds_add_user_meta_to_obj(self, obj: Any, added: Any) -> None:
        self._add(obj, "NvDsObjectMeta", "obj_user_meta_list", added, "NvDsUserMeta")

    def nvds_add_user_meta_to_batch(self, batch_meta: Any, added: Any) -> None:
        self._add(batch_meta, "NvDsBatchMeta", "batch_user_meta_list", added, "NvDsUserMeta")

    def nvds_add_display_meta_to_frame(self, frame: Any, added: Any) -> None:
        self._add(frame, "NvDsFrameMeta", "display_meta_list", added, "NvDsDisplayMeta")

    def nvds_add_classifier_meta_to_object(self, obj: Any, added: Any) -> None:
        self._add(obj, "NvDsObjectMeta", "classifier_meta_list", added, "NvDsClassifierMeta")

    def nvds_add_label_info_meta_to_classifier(self, classifier: Any, added: Any) -> None:
        self._add(classifier, "NvDsClassifierMeta", "label_info_list", added, "NvDsLabelInfo")

    def nvds_remove_obj_meta_from_frame(self, frame: Any, removed: Any) -> None:
        self._batch_of(frame, "NvDsFrameMeta")
        if not list_of(frame, "obj_meta_list").remove(removed):
            raise RuntimeError("this object is not in this frame")
        frame._values["num_obj_meta"] = len(list_of(frame, "obj_meta_list"))

    def nvds_remove_user_meta_from_frame(self, frame: Any, removed: Any) -> None:
        self._batch_of(frame, "NvDsFrameMeta")
        if not list_of(frame, "frame_user_meta_list").remove(removed):
            raise RuntimeError("this user meta is not in this frame")

    def nvds_clear_obj_meta_list(self, frame: Any, meta_list: Any) -> None:
        self._batch_of(frame, "NvDsFrameMeta")
        if not isinstance(meta_list, GList | types.NoneType):
            raise TypeError("takes the frame's obj_meta_list")
        list_of(frame, "obj_meta_list").clear()
        frame._values["num_obj_meta"] = 0

    def nvds_acquire_meta_lock(self, batch_meta: Any) -> None:
        batch = self._batch_of(batch_meta, "NvDsBatchMeta")
        batch.lock.acquire()
        batch.lock_depth += 1

    def nvds_release_meta_lock(self, batch_meta: Any) -> None:
        batch = self._batch_of(batch_meta, "NvDsBatchMeta")
        batch.lock.release()  # RuntimeError if this thread does not hold it; the real mutex would be corrupt
        batch.lock_depth -= 1

    def nvds_get_nth_frame_meta(self, node: GList, index: int) -> Structure:
        frames = list(node._owner)
        return frames[index]

    def get_nvds_LayerInfo(self, tensor_meta: Any, index: int) -> Structure:  # noqa: N802
        if not isinstance(tensor_meta, self._pyds.classes["NvDsInferTensorMeta"]):
            raise TypeError("takes NvDsInferTensorMeta")
        layer = tensor_meta.output_layers_info(index)
        layer._values["buffer"] = PyCapsule(layer._life, tensor_meta._values["arrays"][index])
        return layer

    def get_ptr(self, capsule: Any) -> int:
        """The address in a capsule. The memory is real, and is overwritten when the buffer is released."""
        if not isinstance(capsule, PyCapsule):
            raise TypeError(f"get_ptr takes a capsule, not {type(capsule).__name__}")
        capsule._life.touch("get_ptr")
        target = capsule._target
        return target.ctypes.data if isinstance(target, np.ndarray) else id(target)

    def get_nvds_buf_surface(self, address: int, batch_id: int) -> np.ndarray:
        """(height, width, 4) uint8 of an RGBA frame, valid while its buffer lives.

        Raises:
            RuntimeError: the frame is NV12, as it leaves the muxer.
        """
        batch = self._batches.find(address)
        if batch is None or not 0 <= batch_id < len(batch.pictures):
            raise RuntimeError("no such buffer, or no such frame in its batch")
        picture = batch.pictures[batch_id]
        if picture.format not in {"RGBA", "RGB"}:
            raise RuntimeError(
                f"get_nvds_buf_surface: Currently we only support RGBA/RGB color Format, not {picture.format}"
            )
        batch.views.append(picture.planes)
        return picture.planes

    def unmap_nvds_buf_surface(self, address: int, batch_id: int) -> None:
        """Does nothing, as on a discrete GPU."""

    def gst_element_send_nvevent_new_stream_reset(self, address: int, source_id: int) -> bool:
        self._send_event(address, "GST_NVEVENT_STREAM_RESET", source_id)
        return True

    def configure_source_for_ntp_sync(self, address: int) -> None:
        if not isinstance(address, int):
            raise TypeError("configure_source_for_ntp_sync takes hash(rtspsrc)")
        if native.type_name(address) != "GstRTSPSrc":
            raise RuntimeError("configure_source_for_ntp_sync takes an rtspsrc, not the bin that holds it")
        # After the camera's first report, GStreamer's rtspsrc then attaches the camera's time to each frame.
        native.switch_on(address, "add-reference-timestamp-meta")

    def unset_callback_funcs(self) -> None:
        """Does nothing: the double holds no callbacks."""


def _keep(batch: Batch, made: Structure) -> None:
    """Keep a pooled structure until the end of the batch, so that its `id()` is not reused."""
    batch.meta._values.setdefault("_pooled", []).append(made)
