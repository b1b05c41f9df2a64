"""A module that behaves like pyds of one release: it has exactly the names of pyds, and capsules that must be cast."""

import enum
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from tests.doubles.deepstream import native
from tests.doubles.deepstream.batches import UNTRACKED, Batch, Batches, list_of
from tests.doubles.deepstream.facts import Facts, tables
from tests.doubles.deepstream.structs import (
    GList,
    Life,
    PyCapsule,
    Structure,
    UseAfterReleaseError,
    structure_class,
)

_RESERVED_META, _FIRST_USER_META = 4095, 4096


class NotInDoubleError(NotImplementedError):
    """pyds has this function, but the double does not simulate it, so no test may use it."""


class Pyds:
    """Builds the module, and makes structures for the elements."""

    def __init__(self, facts: Facts, batches: Batches, send_event: Callable[[int, str, int], None]) -> None:
        self.facts, self.batches = facts, batches
        self._send_event = send_event
        self.classes: dict[str, type[Structure]] = {}
        self._user_meta_types: dict[str, int] = {}
        self._immortal = batches.new_life()
        self.module = types.ModuleType("pyds", "A double of DeepStream's Python bindings, for tests.")
        self._add_classes()
        self.meta_type = self._add_enums()
        self._add_functions()

    # --- building

    def _add_classes(self) -> None:
        pyds = tables()["pyds"]
        for name, fields in pyds["classes"].items():
            if name != "GList":
                structure_class(name, fields, self.classes)
        plain = dict(pyds["other_classes"])
        for name, entry in pyds["later_classes"].items():
            if name in self.facts.pyds_names():
                plain[name] = entry["fields"]
        for name, fields in plain.items():
            structure_class(name, {field: {"type": "any"} for field in fields}, self.classes)
        self.classes["NvDsInferTensorMeta"].output_layers_info = _output_layers_info  # type: ignore[attr-defined]
        for name in ("Batch", "Stream", "Object"):
            self.classes[f"NvDsTargetMiscData{name}"].list = staticmethod(_entries)  # type: ignore[attr-defined]
        for name, made in self.classes.items():
            setattr(self.module, name, made)
        self.module.GList = GList  # type: ignore[attr-defined]

    def _add_enums(self) -> type[enum.IntEnum]:
        made: dict[str, type[enum.IntEnum]] = {}
        for name, members in tables()["pyds"]["enums"].items():
            values = self.facts.meta_types() if name == "NvDsMetaType" else members
            numbers = _meta_numbers(values, self.facts.release) if name == "NvDsMetaType" else list(range(len(values)))
            made[name] = enum.IntEnum(name, dict(zip(values, numbers, strict=True)))  # type: ignore[misc]
            setattr(self.module, name, made[name])
            for member in made[name]:
                setattr(self.module, member.name, member)
        return made["NvDsMetaType"]

    def _add_functions(self) -> None:
        for name in tables()["pyds"]["functions"]:
            played = getattr(self, f"_do_{name}", None)
            setattr(self.module, name, self._counted(name, played) if played else _not_played(name))

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._immortal.count(name)
            return function(*arguments)

        call.__name__ = name
        return call

    # --- for the elements

    def make(self, name: str, life: Life, **values: Any) -> Structure:
        """A structure, made by the double."""
        return self.classes[name].make(life, **values)

    def add_object(self, frame: Structure, **values: Any) -> Structure:
        """Add an object to a frame; `values` as in NvDsObjectMeta, `box` as (left, top, width, height)."""
        life = frame._life
        box = values.pop("box")
        values["confidence"] = float(np.float32(values["confidence"]))
        made = self.make(
            "NvDsObjectMeta",
            life,
            base_meta=self.base_meta(frame, "NVDS_OBJ_META"),
            object_id=UNTRACKED,
            parent=None,
            rect_params=self.rectangle(life, box),
            detector_bbox_info=self.bbox_info(life, box),
            tracker_confidence=0.0,
            **values,
        )
        list_of(frame, "obj_meta_list").append(made)
        frame._values["num_obj_meta"] = len(list_of(frame, "obj_meta_list"))
        return made

    def base_meta(self, near: Structure, meta_type: str | int) -> Structure:
        kind = self.meta_type[meta_type] if isinstance(meta_type, str) else meta_type
        return self.make("NvDsBaseMeta", near._life, meta_type=kind)

    def rectangle(self, life: Life, box: tuple[float, ...]) -> Structure:
        return self.make("NvOSD_RectParams", life, **_sides(box))

    def bbox_info(self, life: Life, box: tuple[float, ...]) -> Structure:
        coordinates = self.make("NvBbox_Coords", life, **_sides(box))
        return self.make("NvDsComp_BboxInfo", life, org_bbox_coords=coordinates)

    def attach_user_meta(self, owner: Structure, list_name: str, meta_type: str | int, data: Structure) -> None:
        """Attach a structure to a frame, an object or the batch, as a plugin does."""
        user = self.make(
            "NvDsUserMeta",
            owner._life,
            base_meta=self.base_meta(owner, meta_type),
            user_meta_data=PyCapsule(owner._life, data),
        )
        list_of(owner, list_name).append(user)

    def user_meta_type(self, descriptor: str) -> int:
        """A number that differs between processes and releases, like a GLib quark; programs must not store it."""
        return self._user_meta_types.setdefault(descriptor, _FIRST_USER_META + 37 + len(self._user_meta_types))

    # --- functions of pyds

    def _do_gst_buffer_get_nvds_batch_meta(self, address: int) -> Structure | None:
        if not isinstance(address, int):
            raise TypeError(f"gst_buffer_get_nvds_batch_meta takes hash(buffer), not {type(address).__name__}")
        batch = self.batches.find(address)
        return None if batch is None else batch.meta

    def _do_nvds_get_user_meta_type(self, descriptor: str) -> int:
        if not isinstance(descriptor, str):
            raise TypeError("nvds_get_user_meta_type takes a str")
        return self.user_meta_type(descriptor)

    def _batch_of(self, structure: Any, kind: str) -> Batch:
        if not isinstance(structure, self.classes[kind]):
            raise TypeError(f"takes {kind}, not {type(structure).__name__}")
        batch = self.batches.of(structure)
        if batch is None:
            raise UseAfterReleaseError(f"{kind} of a buffer that was released")
        return batch

    def _acquire(self, batch_meta: Any, kind: str, meta_type: str) -> Structure:
        batch = self._batch_of(batch_meta, "NvDsBatchMeta")
        made = self.make(kind, batch.life)
        made._values["base_meta"] = self.base_meta(batch.meta, meta_type)
        batch.acquired.add(id(made))
        _keep(batch, made)
        return made

    def _do_nvds_acquire_obj_meta_from_pool(self, batch_meta: Any) -> Structure:
        made = self._acquire(batch_meta, "NvDsObjectMeta", "NVDS_OBJ_META")
        # The pool clears a structure, so its id is 0 until the program sets it.
        made._values.update(object_id=0, parent=None)
        return made

    def _do_nvds_acquire_user_meta_from_pool(self, batch_meta: Any) -> Structure:
        return self._acquire(batch_meta, "NvDsUserMeta", "NVDS_USER_META")

    def _do_nvds_acquire_display_meta_from_pool(self, batch_meta: Any) -> Structure:
        return self._acquire(batch_meta, "NvDsDisplayMeta", "NVDS_DISPLAY_META")

    def _do_nvds_acquire_classifier_meta_from_pool(self, batch_meta: Any) -> Structure:
        return self._acquire(batch_meta, "NvDsClassifierMeta", "NVDS_CLASSIFIER_META")

    def _do_nvds_acquire_label_info_meta_from_pool(self, batch_meta: Any) -> Structure:
        return self._acquire(batch_meta, "NvDsLabelInfo", "NVDS_LABEL_INFO_META")

    def _add(self, owner: Any, owner_kind: str, list_name: str, added: Any, added_kind: str) -> None:
        batch = self._batch_of(owner, owner_kind)
        if not isinstance(added, self.classes[added_kind]):
            raise TypeError(f"takes {added_kind}, not {type(added).__name__}")
        if id(added) not in batch.acquired:
            raise RuntimeError(f"this {added_kind} is not from the pool of this batch, or was added before")
        batch.acquired.discard(id(added))
        list_of(owner, list_name).append(added)

    def _do_nvds_add_obj_meta_to_frame(self, frame: Any, added: Any, parent: Any) -> None:
        self._add(frame, "NvDsFrameMeta", "obj_meta_list", added, "NvDsObjectMeta")
        if parent is not None and not isinstance(parent, self.classes["NvDsObjectMeta"]):
            raise TypeError("parent is an NvDsObjectMeta or None")
        added._values["parent"] = parent
        frame._values["num_obj_meta"] = len(list_of(frame, "obj_meta_list"))

    def _do_nvds_add_user_meta_to_frame(self, frame: Any, added: Any) -> None:
        self._add(frame, "NvDsFrameMeta", "frame_user_meta_list", added, "NvDsUserMeta")

    def _do_nvds_add_user_meta_to_obj(self, obj: Any, added: Any) -> None:
        self._add(obj, "NvDsObjectMeta", "obj_user_meta_list", added, "NvDsUserMeta")

    def _do_nvds_add_user_meta_to_batch(self, batch_meta: Any, added: Any) -> None:
        self._add(batch_meta, "NvDsBatchMeta", "batch_user_meta_list", added, "NvDsUserMeta")

    def _do_nvds_add_display_meta_to_frame(self, frame: Any, added: Any) -> None:
        self._add(frame, "NvDsFrameMeta", "display_meta_list", added, "NvDsDisplayMeta")

    def _do_nvds_add_classifier_meta_to_object(self, obj: Any, added: Any) -> None:
        self._add(obj, "NvDsObjectMeta", "classifier_meta_list", added, "NvDsClassifierMeta")

    def _do_nvds_add_label_info_meta_to_classifier(self, classifier: Any, added: Any) -> None:
        self._add(classifier, "NvDsClassifierMeta", "label_info_list", added, "NvDsLabelInfo")

    def _do_nvds_remove_obj_meta_from_frame(self, frame: Any, removed: Any) -> None:
        self._batch_of(frame, "NvDsFrameMeta")
        if not list_of(frame, "obj_meta_list").remove(removed):
            raise RuntimeError("this object is not in this frame")
        frame._values["num_obj_meta"] = len(list_of(frame, "obj_meta_list"))

    def _do_nvds_remove_user_meta_from_frame(self, frame: Any, removed: Any) -> None:
        self._batch_of(frame, "NvDsFrameMeta")
        if not list_of(frame, "frame_user_meta_list").remove(removed):
            raise RuntimeError("this user meta is not in this frame")

    def _do_nvds_clear_obj_meta_list(self, frame: Any, meta_list: Any) -> None:
        self._batch_of(frame, "NvDsFrameMeta")
        if not isinstance(meta_list, GList | types.NoneType):
            raise TypeError("takes the frame's obj_meta_list")
        list_of(frame, "obj_meta_list").clear()
        frame._values["num_obj_meta"] = 0

    def _do_nvds_acquire_meta_lock(self, batch_meta: Any) -> None:
        batch = self._batch_of(batch_meta, "NvDsBatchMeta")
        batch.lock.acquire()
        batch.lock_depth += 1

    def _do_nvds_release_meta_lock(self, batch_meta: Any) -> None:
        batch = self._batch_of(batch_meta, "NvDsBatchMeta")
        batch.lock.release()  # RuntimeError if this thread does not hold it; the real mutex would be corrupt
        batch.lock_depth -= 1

    def _do_nvds_get_nth_frame_meta(self, node: GList, index: int) -> Structure:
        frames = list(node._owner)
        return frames[index]

    def _do_get_nvds_LayerInfo(self, tensor_meta: Any, index: int) -> Structure:  # noqa: N802
        if not isinstance(tensor_meta, self.classes["NvDsInferTensorMeta"]):
            raise TypeError("takes NvDsInferTensorMeta")
        layer = tensor_meta.output_layers_info(index)
        layer._values["buffer"] = PyCapsule(layer._life, tensor_meta._values["arrays"][index])
        return layer

    def _do_get_ptr(self, capsule: Any) -> int:
        """The address in a capsule. The memory is real, and is overwritten when the buffer is released."""
        if not isinstance(capsule, PyCapsule):
            raise TypeError(f"get_ptr takes a capsule, not {type(capsule).__name__}")
        capsule._life.touch("get_ptr")
        target = capsule._target
        return target.ctypes.data if isinstance(target, np.ndarray) else id(target)

    def _do_get_nvds_buf_surface(self, address: int, batch_id: int) -> np.ndarray:
        """(height, width, 4) uint8 of an RGBA frame, valid while its buffer lives.

        Raises:
            RuntimeError: the frame is NV12, as it leaves the muxer.
        """
        batch = self.batches.find(address)
        if batch is None or not 0 <= batch_id < len(batch.pictures):
            raise RuntimeError("no such buffer, or no such frame in its batch")
        picture = batch.pictures[batch_id]
        if picture.format not in {"RGBA", "RGB"}:
            raise RuntimeError(
                f"get_nvds_buf_surface: Currently we only support RGBA/RGB color Format, not {picture.format}"
            )
        batch.views.append(picture.planes)
        return picture.planes

    def _do_unmap_nvds_buf_surface(self, address: int, batch_id: int) -> None:
        """Does nothing, as on a discrete GPU."""

    def _do_gst_element_send_nvevent_new_stream_reset(self, address: int, source_id: int) -> bool:
        self._send_event(address, "GST_NVEVENT_STREAM_RESET", source_id)
        return True

    def _do_configure_source_for_ntp_sync(self, address: int) -> None:
        if not isinstance(address, int):
            raise TypeError("configure_source_for_ntp_sync takes hash(rtspsrc)")
        if native.type_name(address) != "GstRTSPSrc":
            raise RuntimeError("configure_source_for_ntp_sync takes an rtspsrc, not the bin that holds it")
        # After the camera's first report, GStreamer's rtspsrc then attaches the camera's time to each frame.
        native.switch_on(address, "add-reference-timestamp-meta")

    def _do_unset_callback_funcs(self) -> None:
        """Does nothing: the double holds no callbacks."""


def _keep(batch: Batch, made: Structure) -> None:
    """Keep a pooled structure until the end of the batch, so that its `id()` is not reused."""
    batch.meta._values.setdefault("_pooled", []).append(made)


def _sides(box: tuple[float, ...]) -> dict[str, float]:
    return {name: float(np.float32(value)) for name, value in zip(("left", "top", "width", "height"), box, strict=True)}


def _output_layers_info(self: Structure, index: int) -> Structure:
    self._life.touch("NvDsInferTensorMeta.output_layers_info")
    layers = self._values["layers"]
    if not 0 <= index < len(layers):
        raise IndexError(f"layer {index} of {len(layers)}")
    return layers[index]


def _entries(instance: Structure) -> Any:
    instance._life.touch(f"{type(instance).__name__}.list")
    return iter(instance._values.get("entries", ()))


def _not_played(name: str) -> Callable[..., Any]:
    def refuse(*_arguments: Any) -> Any:
        raise NotInDoubleError(f"pyds.{name} exists, but this double does not simulate it")

    refuse.__name__ = name
    return refuse


def _meta_numbers(names: list[str], release: str) -> list[int]:
    """Numbers that differ between releases, as the real ones do, so that only symbols compare equal.

    The base types keep their numbers; later ones are shifted by release.
    """
    shift = {"7.1": 0, "8.0": 2}[release]
    fixed = {"NVDS_INVALID_META": -1, "NVDS_RESERVED_META": _RESERVED_META, "NVDS_GST_CUSTOM_META": _FIRST_USER_META}
    fixed |= {"NVDS_START_USER_META": 8193, "NVDS_FORCE32_META": 2**31 - 1}
    numbers = []
    for index, name in enumerate(names):
        moved = index + (shift if index > 7 else 0)
        numbers.append(fixed.get(name, moved))
    return numbers
