"""Parts of GLib and GStreamer that PyGObject lacks: enum types, custom events, a callback at the end of a buffer."""

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
"""Objects that C code points to until the process ends."""


def enum_type(name: str, values: Mapping[int, str]) -> Any:
    """A GEnum of these numbers and nicks. Equal arguments return the same type, because a GType cannot be removed."""
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
def _buffer_freed(_data: int | None, address: int) -> None:
    callback = _waiting.pop(address, None)
    if callback is not None:
        callback()


def when_freed(buffer_address: int, callback: Callable[[], None]) -> None:
    """Call `callback` when the last reference to a buffer is released, in the thread that releases it."""
    _waiting[buffer_address] = callback
    add = _gst().gst_mini_object_weak_ref
    add.restype, add.argtypes = None, [ctypes.c_void_p, _Notify, ctypes.c_void_p]
    add(buffer_address, _buffer_freed, None)


def let_go(gobject: Any) -> None:
    """Drop one reference of an object; for a wrong annotation, by which PyGObject adds one that C never takes over."""
    drop = _gobject().g_object_unref
    drop.restype, drop.argtypes = None, [ctypes.c_void_p]
    drop(hash(gobject))


def type_name(address: int) -> str:
    """Name of the type of the object at an address."""
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
# PyGObject owns a Python element before the factory sees it, which is harmless.
_HARMLESS = b"should be floating"


class CriticalLog:
    """Passes GStreamer's criticals and warnings on; a program that causes them never sees them.

    Args:
        complain: called with each message.
    """

    def __init__(self, complain: Callable[[str], None]) -> None:
        @_LogFunc
        def receive(_domain: bytes, _level: int, message: bytes, _data: int | None) -> None:
            if _HARMLESS not in message:
                complain(message.decode(errors="replace"))

        _kept.append(receive)
        add = _glib().g_log_set_handler
        add.restype = ctypes.c_uint
        add.argtypes = [ctypes.c_char_p, ctypes.c_int, _LogFunc, ctypes.c_void_p]
        self._id = add(b"GStreamer", _CRITICAL | _WARNING, receive, None)

    def close(self) -> None:
        _glib().g_log_remove_handler(b"GStreamer", self._id)


def custom_event(event_type: int, structure: Any) -> Any:
    """A Gst.Event of a type that is in no enum, like the events of nvstreammux.

    PyGObject refuses such a number. So this makes an event of a known type and overwrites its type field, which follows
    the mini object in a GstEvent.
    """
    from gi.repository import Gst

    event = Gst.Event.new_custom(Gst.EventType.CUSTOM_DOWNSTREAM, structure)
    field = ctypes.c_int.from_address(hash(event) + _MINI_OBJECT_BYTES)
    assert field.value == int(Gst.EventType.CUSTOM_DOWNSTREAM)
    field.value = event_type
    return event


def event_type_of(event: Any) -> int:
    """The number of an event's type, also for a type that is in no enum."""
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
    """A GValue of type guint, for a field of a Gst.Structure."""
    from gi.repository import GObject

    value = GObject.Value()
    value.init(GObject.TYPE_UINT)
    value.set_uint(number)
    return value
