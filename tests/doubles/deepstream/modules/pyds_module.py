"""A module that behaves like pyds of one release: it has exactly the names of pyds, and capsules that must be cast."""

import enum
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from tests.doubles.deepstream.batches import UNTRACKED, Batches, list_of
from tests.doubles.deepstream.facts import Facts, tables
from tests.doubles.deepstream.modules.pyds_functions import PydsFunctions
from tests.doubles.deepstream.structs import GList, Life, PyCapsule, Structure, structure_class

_RESERVED_META, _FIRST_USER_META = 4095, 4096


class NotInDoubleError(NotImplementedError):
    """pyds has this function, but the double does not simulate it, so no test may use it."""


class Pyds:
    """Builds the module, and makes structures for the elements."""

    def __init__(self, facts: Facts, batches: Batches, send_event: Callable[[int, str, int], None]) -> None:
        self.facts = facts
        self.classes: dict[str, type[Structure]] = {}
        self._user_meta_types: dict[str, int] = {}
        self._immortal = batches.new_life()
        self.module = types.ModuleType("pyds", "A double of DeepStream's Python bindings, for tests.")
        self._add_classes()
        self.meta_type = self._add_enums()
        self._add_functions(PydsFunctions(self, batches, send_event))

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

    def _add_functions(self, functions: PydsFunctions) -> None:
        for name in tables()["pyds"]["functions"]:
            played = getattr(functions, name, None)
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
