"""Shared by all elements: properties from the tables, with GObject's checks and some that GObject lacks."""

import warnings
from typing import TYPE_CHECKING, Any

from gi.repository import GLib, GObject, Gst, GstBase
from tests.doubles.deepstream import native

if TYPE_CHECKING:
    from tests.doubles.deepstream.batches import Batch
    from tests.doubles.deepstream.installed import Installed

_installations: list["Installed"] = []


def installed() -> "Installed":
    """The present installation; new elements belong to it.

    Raises:
        RuntimeError: no double is installed; a factory outlived it.
    """
    if not _installations:
        raise RuntimeError("the DeepStream double is not installed")
    return _installations[-1]


NVMM = "video/x-raw(memory:NVMM)"
_NUMBERS = {"guint": GObject.TYPE_UINT, "gint": GObject.TYPE_INT, "guint64": GObject.TYPE_UINT64}
_LIMITS = {"guint": (0, 2**32 - 1), "gint": (-(2**31), 2**31 - 1), "guint64": (0, 2**64 - 1)}


class DeepStreamElement:
    """Mixed into every element class; `FACTS` is set on the class made for one release (`made_class`)."""

    BASE: Any = Gst.Element
    FACTS: dict[str, dict[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self._set = {name: spec.get("default") for name, spec in self.FACTS.items()}
        self.installed = installed()
        self.installed.ledger.element_made(self)
        self.set_up()

    def set_up(self) -> None:
        """Pads and state of the element."""

    def value(self, name: str) -> Any:
        """A property as the element sees it."""
        return self._set[name]

    def set_property(self, name: str, value: Any) -> None:
        """Like GObject's, but strict where PyGObject converts any value to a string and where GObject only warns.

        Raises:
            TypeError: no such property, or a value of another type.
        """
        spec = self.FACTS.get(name.replace("_", "-"))
        if spec is not None:
            self._check_text(name, spec, value)
            self._check_range(name, spec, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Warning)  # `_check_range` reports it; GObject keeps the old value
            super().set_property(name, value)  # type: ignore[misc]

    def _check_text(self, name: str, spec: dict[str, Any], value: Any) -> None:
        if spec["type"] == "gchararray" and not (value is None or isinstance(value, str)):
            raise TypeError(f"could not convert {value!r} to type 'gchararray' when setting property {name!r}")

    def _check_range(self, name: str, spec: dict[str, Any], value: Any) -> None:
        if spec["type"] == "enum" and isinstance(value, int):
            allowed = int(value) in spec["enum"] if "enum" in spec else True
        elif spec["type"] in _LIMITS and isinstance(value, int):
            low, high = spec.get("range", _LIMITS[spec["type"]])
            allowed = low <= value <= high
        else:
            return
        if not allowed:
            self.installed.ledger.complain(f"{self._factory()}: {name}={value} is out of range; the old value stays")

    def do_set_property(self, pspec: Any, value: Any) -> None:
        """GObject's hook, after its own checks."""
        if self.FACTS[pspec.name].get("writable") == "ready" and self._is_running():
            self.installed.ledger.complain(
                f"{self._factory()}: {pspec.name} was set while running; it takes effect in NULL or READY only"
            )
        self._set[pspec.name] = int(value) if self.FACTS[pspec.name]["type"] == "enum" else value
        self.property_set(pspec.name)

    def do_get_property(self, pspec: Any) -> Any:
        """GObject's hook."""
        return self._set[pspec.name]

    def property_set(self, name: str) -> None:
        """A property was set; for elements that react at once."""

    def _is_running(self) -> bool:
        return self.get_state(0)[1] > Gst.State.READY  # type: ignore[attr-defined]

    def _factory(self) -> str:
        factory = self.get_factory()  # type: ignore[attr-defined]
        return f"{factory.get_name()} {self.get_name()!r}" if factory else type(self).__name__  # type: ignore[attr-defined]

    def post_error(self, text: str, debug: str = "") -> None:
        """An ERROR on the bus."""
        error = GLib.Error.new_literal(Gst.stream_error_quark(), text, int(Gst.StreamError.FAILED))
        self.post_message(Gst.Message.new_error(self, error, debug))  # type: ignore[attr-defined]

    def post_warning(self, text: str, debug: str = "") -> None:
        """A WARNING on the bus."""
        error = GLib.Error.new_literal(Gst.resource_error_quark(), text, int(Gst.ResourceError.READ))
        self.post_message(Gst.Message.new_warning(self, error, debug))  # type: ignore[attr-defined]


class BatchFilter(DeepStreamElement):
    """A filter over batches: it changes metadata, never the buffer."""

    BASE = GstBase.BaseTransform

    def set_up(self) -> None:
        # In passthrough mode the base class never copies a buffer; the batch is found by the buffer's address.
        self.set_passthrough(True)

    def do_start(self) -> bool:
        """READY to PAUSED."""
        try:
            self.start()
        except Exception as error:  # noqa: BLE001  # any failure fails the state change
            self.post_error(f"{self._factory()}: {error}")
            return False
        return True

    def do_stop(self) -> bool:
        """PAUSED to READY."""
        self.stop()
        return True

    def do_transform_ip(self, buffer: Any) -> Any:
        """Every batch."""
        batch = self.installed.batches.find(hash(buffer))
        if batch is None:
            self.post_error(f"{self._factory()}: a buffer without NvDsBatchMeta; nvstreammux must come before it")
            return Gst.FlowReturn.ERROR
        try:
            self.handle(batch)
        except Exception as error:  # noqa: BLE001  # as in C: any failure ends the stream
            self.post_error(str(error), repr(error))
            return Gst.FlowReturn.ERROR
        return Gst.FlowReturn.OK

    def do_sink_event(self, event: Any) -> bool:
        """Events arrive in order with the batches."""
        self.event_seen(native.event_type_of(event), event)
        return GstBase.BaseTransform.do_sink_event(self, event)

    def start(self) -> None:
        """Start; an exception fails the state change."""

    def stop(self) -> None:
        """Release everything."""

    def handle(self, batch: "Batch") -> None:
        """One batch; an error ends the stream."""

    def event_seen(self, event_type: int, event: Any) -> None:
        """Handle an event of the muxer or of another element."""


def made_class(name: str, mixin: type[DeepStreamElement], facts: dict[str, dict[str, Any]]) -> Any:
    """The GObject class of an element.

    PyGObject looks for virtual functions, and GStreamer's overrides look for templates, in the class itself and not in
    its bases. A base that is a GObject too would run the constructor before the templates exist.
    """
    inherited = {
        key: value
        for base in reversed(mixin.__mro__)
        for key, value in vars(base).items()
        if key.startswith(("do_", "__gstmeta", "__gsttempl"))
    }
    members = {**inherited, "__gtype_name__": name, "__gproperties__": properties(facts), "FACTS": facts}
    return type(name, (mixin, mixin.BASE), members)


def properties(facts: dict[str, dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """`__gproperties__` of a class."""
    return {name: _property(name, spec) for name, spec in facts.items()}


def _property(name: str, spec: dict[str, Any]) -> tuple[Any, ...]:
    flags = GObject.ParamFlags.READABLE
    if spec.get("writable") != "never":
        flags |= GObject.ParamFlags.WRITABLE
    kind, default = spec["type"], spec.get("default")
    if kind in _NUMBERS:
        return (_NUMBERS[kind], name, name, *spec.get("range", _LIMITS[kind]), default or 0, flags)
    if kind == "gboolean":
        return (GObject.TYPE_BOOLEAN, name, name, bool(default), flags)
    if kind == "gchararray":
        return (GObject.TYPE_STRING, name, name, default, flags)
    if kind == "gpointer":
        return (GObject.TYPE_POINTER, name, name, flags)
    if kind == "enum":
        values = spec.get("enum") or _numbered(spec, default)
        spec["enum"] = values
        camel = "".join(part.capitalize() for part in name.split("-"))
        return (native.enum_type(f"NvDouble{camel}", values), name, name, int(default or 0), flags)
    raise ValueError(f"{name}: the double has no GType for {kind}")


def _numbered(spec: dict[str, Any], default: Any) -> dict[int, str]:
    """Values of an enum whose nicks are not known."""
    low, high = spec.get("range", (0, max(2, int(default or 0))))
    return {number: f"value-{number}" for number in range(low, high + 1)}


def pad_template(name: str, direction: Any, presence: Any, caps: str) -> Any:
    return Gst.PadTemplate.new(name, direction, presence, Gst.Caps.from_string(caps))


def always(caps: str) -> tuple[Any, Any]:
    """Templates of a filter: sink and src."""
    return (
        pad_template("sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, caps),
        pad_template("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, caps),
    )
