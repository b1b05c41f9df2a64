"""What PyGObject does not offer of GLib and GStreamer: enum types, custom events, the death of a buffer."""

import ctypes
import ctypes.util
import functools
from collections.abc import Callable, Mapping
from typing import Any


@functools.cache
def _library(name: str) -> ctypes.CDLL:
    return ctypes.CDLL(name)


def _glib() -> ctypes.CDLL:
    return _library("libglib-2.0.so.0")


def _gobject() -> ctypes.CDLL:
    return _library("libgobject-2.0.so.0")


def _gst() -> ctypes.CDLL:
    return _library("libgstreamer-1.0.so.0")


class _EnumValue(ctypes.Structure):
    _fields_ = (("value", ctypes.c_int), ("name", ctypes.c_char_p), ("nick", ctypes.c_char_p))


_enums: dict[tuple[str, tuple[tuple[int, str], ...]], Any] = {}
_kept: list[Any] = []
"""What C holds pointers into for ever."""


def enum_type(name: str, values: Mapping[int, str]) -> Any:
    """A GEnum of these numbers and nicks; the same one when it is asked for again, since a GType is for ever."""
    from gi.repository import GObject

    key = (name, tuple(sorted(values.items())))
    if key not in _enums:
        array = (_EnumValue * (len(values) + 1))()
        for index, (number, nick) in enumerate(sorted(values.items())):
            array[index] = _EnumValue(number, nick.encode(), nick.encode())
        _kept.append(array)
        register = _gobject().g_enum_register_static
        register.restype, register.argtypes = ctypes.c_size_t, [ctypes.c_char_p, ctypes.c_void_p]
        type_name = f"{name}{len(_enums)}"
        register(type_name.encode(), ctypes.cast(array, ctypes.c_void_p))
        _enums[key] = GObject.GType.from_name(type_name)
    return _enums[key]


_Notify = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_waiting: dict[int, Callable[[], None]] = {}


@_Notify
def _buffer_died(_data: int | None, address: int) -> None:
    told = _waiting.pop(address, None)
    if told is not None:
        told()


def when_freed(buffer_address: int, told: Callable[[], None]) -> None:
    """Call `told` when the last reference to this buffer is gone, in whichever thread lets go."""
    _waiting[buffer_address] = told
    add = _gst().gst_mini_object_weak_ref
    add.restype, add.argtypes = None, [ctypes.c_void_p, _Notify, ctypes.c_void_p]
    add(buffer_address, _buffer_died, None)


def let_go(gobject: Any) -> None:
    """Take one reference from an object, where an annotation makes PyGObject add one that C never takes over."""
    drop = _gobject().g_object_unref
    drop.restype, drop.argtypes = None, [ctypes.c_void_p]
    drop(hash(gobject))


def type_name(address: int) -> str:
    """The type of the object at an address; it must be there."""
    name = _gobject().g_type_name_from_instance
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    return name(address).decode()


def switch_on(address: int, flag: str) -> None:
    """Set a boolean property of the object at an address."""
    _gobject().g_object_set(
        ctypes.c_void_p(address), ctypes.c_char_p(flag.encode()), ctypes.c_int(1), ctypes.c_void_p(None)
    )


_LogFunc = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_CRITICAL, _WARNING = 1 << 3, 1 << 4
# A Python element owns itself before the factory sees it; that is the way of PyGObject and does no harm.
_HARMLESS = b"should be floating"


class CriticalLog:
    """Hears the criticals and warnings of GStreamer, which a program never sees though it caused them."""

    def __init__(self, told: Callable[[str], None]) -> None:
        @_LogFunc
        def hear(_domain: bytes, _level: int, message: bytes, _data: int | None) -> None:
            if _HARMLESS not in message:
                told(message.decode(errors="replace"))

        self._hear = hear
        _kept.append(hear)
        add = _glib().g_log_set_handler
        add.restype = ctypes.c_uint
        add.argtypes = [ctypes.c_char_p, ctypes.c_int, _LogFunc, ctypes.c_void_p]
        self._id = add(b"GStreamer", _CRITICAL | _WARNING, hear, None)

    def close(self) -> None:
        _glib().g_log_remove_handler(b"GStreamer", self._id)


def custom_event(event_type: int, structure: Any) -> Any:
    """A Gst.Event of a type that is in no enum, as those of nvstreammux are.

    PyGObject refuses the number, so an event of a known type is made and its type field written over: it stands after
    the mini object and nothing else in a GstEvent.
    """
    from gi.repository import Gst

    event = Gst.Event.new_custom(Gst.EventType.CUSTOM_DOWNSTREAM, structure)
    field = ctypes.c_int.from_address(hash(event) + _MINI_OBJECT_BYTES)
    assert field.value == int(Gst.EventType.CUSTOM_DOWNSTREAM)
    field.value = event_type
    return event


def event_type_of(event: Any) -> int:
    """The number of an event's type, whether an enum has it or not."""
    return ctypes.c_int.from_address(hash(event) + _MINI_OBJECT_BYTES).value


class _MiniObject(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_size_t),
        ("refcount", ctypes.c_int),
        ("lockstate", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("copy", ctypes.c_void_p),
        ("dispose", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
        ("priv_uint", ctypes.c_uint),
        ("priv_pointer", ctypes.c_void_p),
    )


_MINI_OBJECT_BYTES = ctypes.sizeof(_MiniObject)


def unsigned(number: int) -> Any:
    """A GValue of type guint, for the fields of structures."""
    from gi.repository import GObject

    value = GObject.Value()
    value.init(GObject.TYPE_UINT)
    value.set_uint(number)
    return value
