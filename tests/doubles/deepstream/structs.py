"""The C structures behind pyds: strict attributes, C's number types, and an end of life after which access raises.

In DeepStream a structure lies in a pool and is reused as soon as its buffer is released; a program that kept it reads
numbers of another frame. In the double it gets `UseAfterReleaseError`.
"""

import ctypes
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_UINT64 = {"object_id", "buf_pts", "ntp_timestamp", "uniqueId"}
_UINT32 = {
    "pad_index",
    "source_id",
    "batch_id",
    "num_obj_meta",
    "num_frames_in_batch",
    "max_frames_in_batch",
    "streamID",
}
_LABEL_BYTES = 128


class UseAfterReleaseError(RuntimeError):
    """Metadata was used after its buffer was released; in DeepStream its memory belongs to another frame by then."""


class WrongCastError(TypeError):
    """A capsule was cast to the wrong class; the real cast returns garbage or crashes."""


class Life:
    """Whether the memory of some structures is still valid; shared by all structures of one batch."""

    __slots__ = ("alive", "count", "stops")

    def __init__(self, count: Callable[[str], None], *, stops: bool = False) -> None:
        self.alive = True
        self.count = count
        self.stops = stops
        """Whether lists end with StopIteration (NVIDIA's samples guard against it) instead of None."""

    def touch(self, name: str) -> None:
        self.count(name)
        if not self.alive:
            raise UseAfterReleaseError(f"{name} was used after its buffer was released")


class PyCapsule:
    """An address without a type; it can only be cast."""

    __slots__ = ("_life", "_target")

    def __init__(self, life: Life, target: Any) -> None:
        self._life, self._target = life, target


class GList:
    """One node of a doubly linked list, as in GLib."""

    __slots__ = ("_life", "_next", "_owner", "_prev", "_target")

    def __init__(self, life: Life, target: Any, owner: "MetaList") -> None:
        self._life, self._target, self._owner = life, target, owner
        self._next: GList | None = None
        self._prev: GList | None = None

    def _touch(self, name: str) -> None:
        self._life.touch(name)
        if self._owner is None:
            raise UseAfterReleaseError(f"{name} of a node that was removed from its list")

    @property
    def data(self) -> PyCapsule:
        self._touch("GList.data")
        return PyCapsule(self._life, self._target)

    @property
    def next(self) -> "GList | None":
        self._touch("GList.next")
        if self._next is None and self._life.stops:
            raise StopIteration
        return self._next

    @property
    def prev(self) -> "GList | None":
        self._touch("GList.prev")
        return self._prev


class MetaList:
    """The value of a list field; a program gets its `head`."""

    __slots__ = ("_life", "head", "length", "tail")

    def __init__(self, life: Life) -> None:
        self._life = life
        self.head: GList | None = None
        self.tail: GList | None = None
        self.length = 0

    def append(self, target: Any) -> None:
        node = GList(self._life, target, self)
        node._prev = self.tail
        if self.tail is None:
            self.head = node
        else:
            self.tail._next = node
        self.tail = node
        self.length += 1

    def remove(self, target: Any) -> bool:
        """Remove an item; False if the list does not have it."""
        node = self.head
        while node is not None and node._target is not target:
            node = node._next
        if node is None:
            return False
        self._unlink(node)
        return True

    def clear(self) -> None:
        while self.head is not None:
            self._unlink(self.head)

    def _unlink(self, node: GList) -> None:
        before, after = node._prev, node._next
        if before is None:
            self.head = after
        else:
            before._next = after
        if after is None:
            self.tail = before
        else:
            after._prev = before
        node._owner = None  # type: ignore[assignment]
        self.length -= 1

    def __iter__(self) -> Iterator[Any]:
        node = self.head
        while node is not None:
            following = node._next
            yield node._target
            node = following

    def __len__(self) -> int:
        return self.length


class Structure:
    """Base of all classes of pyds. Fields are descriptors, and `__slots__` allows no other attribute."""

    __slots__ = ("_life", "_values")
    _FIELDS: dict[str, "Field"] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self._life, self._values = Life(lambda _name: None), {}

    @classmethod
    def make(cls, life: Life, **values: Any) -> "Structure":
        """Make one from inside the double: no call is counted, nothing is checked."""
        made = cls.__new__(cls)
        made._life, made._values = life, values
        return made

    @classmethod
    def cast(cls, capsule: Any) -> "Structure":
        """The structure that a capsule points to.

        Raises:
            WrongCastError: the capsule points to something else.
        """
        if not isinstance(capsule, PyCapsule):
            raise WrongCastError(f"{cls.__name__}.cast takes a capsule, not {type(capsule).__name__}")
        capsule._life.touch(f"{cls.__name__}.cast")
        if not isinstance(capsule._target, cls):
            raise WrongCastError(f"this capsule holds {type(capsule._target).__name__}, not {cls.__name__}")
        return capsule._target

    def __getstate__(self) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__}")


class Field:
    """An attribute of a structure, with its C type."""

    def __init__(self, kind: str, *, read_only: bool, classes: dict[str, type[Structure]]) -> None:
        self._kind, self._read_only, self._classes = kind, read_only, classes

    def __set_name__(self, owner: type[Structure], name: str) -> None:
        self.set_name(owner.__name__, name)

    def set_name(self, owner: str, name: str) -> None:
        self._name, self._path = name, f"{owner}.{name}"
        self._from_python = _converter(self._kind, name, self._path)

    def __get__(self, instance: Structure | None, _owner: Any = None) -> Any:
        if instance is None:
            return self
        instance._life.touch(self._path)
        return self.read(instance)

    def read(self, instance: Structure) -> Any:
        """The value, without counting the call; the first access makes C's initial value."""
        values = instance._values
        if self._name not in values:
            values[self._name] = self._initial(instance._life)
        value = values[self._name]
        return value.head if isinstance(value, MetaList) else value

    def _initial(self, life: Life) -> Any:
        kind = self._kind.split(",")[0].strip()
        if kind in self._classes:
            return self._classes[kind].make(life)
        if kind.startswith("GList["):
            return MetaList(life)
        if "array" in kind:
            return np.zeros(4, np.int64)
        return _ZEROS.get(kind, 0)

    def __set__(self, instance: Structure, value: Any) -> None:
        instance._life.touch(self._path)
        if self._read_only:
            raise AttributeError(f"can't set attribute {self._path}")
        if self._kind in self._classes and not isinstance(value, self._classes[self._kind]):
            raise TypeError(f"{self._path} takes {self._kind}, not {type(value).__name__}")
        instance._values[self._name] = self._from_python(value)


_ZEROS: dict[str, Any] = {"float": 0.0, "str": "", "NvDsObjectMeta or None": None, "capsule": None}


def _converter(kind: str, name: str, path: str) -> Callable[[Any], Any]:
    """Returns the function that converts a value which Python writes to the field.

    Raises (the converter):
        TypeError: pybind would refuse it.
    """
    if kind == "int":
        low, high = _int_range(name)
        return lambda value: _to_int(value, low, high, path)
    if kind == "float":
        return lambda value: _to_float(value, path)
    if kind == "str":
        return lambda value: _to_text(value, path)
    return lambda value: value


def _int_range(name: str) -> tuple[int, int]:
    if name in _UINT64:
        return 0, 2**64 - 1
    if name in _UINT32:
        return 0, 2**32 - 1
    return -(2**31), 2**31 - 1


def _to_int(value: Any, low: int, high: int, path: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{path} takes an int, not {type(value).__name__}") from None
    if not low <= number <= high:
        raise TypeError(f"{path} cannot hold {number}")
    return number


def _to_float(value: Any, path: str) -> float:
    if isinstance(value, str | bytes) or value is None:
        raise TypeError(f"{path} takes a float, not {type(value).__name__}")
    return ctypes.c_float(float(value)).value


def _to_text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{path} takes a str, not {type(value).__name__}")
    if len(value.encode()) >= _LABEL_BYTES:
        raise ValueError(f"{path} has room for {_LABEL_BYTES - 1} bytes; the real one writes beyond its end")
    return value


def structure_class(
    name: str, fields: dict[str, dict[str, Any]], classes: dict[str, type[Structure]]
) -> type[Structure]:
    """A class of pyds with these fields, added to `classes`."""
    members: dict[str, Any] = {
        field: Field(spec["type"], read_only=spec.get("access") == "ro", classes=classes)
        for field, spec in fields.items()
        if field != "__methods__"
    }
    made = type(name, (Structure,), {"__slots__": (), **members})
    classes[name] = made
    return made
