"""Installs the double and removes it again: element factories, and the modules pyds and pynvml."""

import contextlib
import gc
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from tests.doubles.deepstream import native
from tests.doubles.deepstream.batches import Batches
from tests.doubles.deepstream.debian_gi import load_gstreamer
from tests.doubles.deepstream.facts import Facts, tables
from tests.doubles.deepstream.ledger import Alive, Ledger
from tests.doubles.deepstream.nvml_module import nvml_module
from tests.doubles.deepstream.pyds_module import Pyds

_MUX = "nvstreammux"
_NEW_MUX = "USE_NEW_NVSTREAMMUX"
_TABLES = {_MUX: "nvstreammux_new"}
_classes: dict[tuple[str, Facts], Any] = {}


class Installed:
    """One installation: for tests to inspect, and for elements to share."""

    def __init__(self, facts: Facts, *, lists_stop: bool) -> None:
        self.facts = facts
        self.ledger = Ledger()
        self.batches = Batches(self.ledger, lists_stop=lists_stop)
        self.pyds = Pyds(facts, self.batches, self._send_event)
        self.last_reset_at = float("-inf")
        """Time of the last reset of any source: nvurisrcbin has one throttle for the process."""

    def alive(self) -> Alive:
        """Number of living objects, after a garbage collection."""
        gc.collect()
        return self.ledger.alive()

    def _send_event(self, address: int, name: str, source_id: int) -> None:
        from gi.repository import Gst

        element = next((each for each in list(self.ledger.elements) if hash(each) == address), None)
        if element is None:
            raise RuntimeError("no such element; the address is hash(element)")
        structure = Gst.Structure.new_empty("nv-mux-event")
        structure.set_value("source-id", source_id)
        element.send_event(native.custom_event(tables()["events"][name], structure))


def element_class(factory: str, facts: Facts) -> Any:
    """The class of a factory. A GType cannot be removed, so each class is made once."""
    key = (factory, facts)
    if key not in _classes:
        from tests.doubles.deepstream.elements.base import made_class

        name = "".join(part.capitalize() for part in factory.split("_")) + f"Double{len(_classes)}"
        _classes[key] = made_class(name, _mixins()[factory], facts.properties(_TABLES.get(factory, factory)))
    return _classes[key]


def _mixins() -> dict[str, Any]:
    from tests.doubles.deepstream.elements.inferserver import InferServer
    from tests.doubles.deepstream.elements.streammux import StreamMux
    from tests.doubles.deepstream.elements.tracker import Tracker
    from tests.doubles.deepstream.elements.urisrcbin import UriSrcBin
    from tests.doubles.deepstream.elements.videoconvert import VideoConvert

    return {
        "nvurisrcbin": UriSrcBin,
        _MUX: StreamMux,
        "nvvideoconvert": VideoConvert,
        "nvinferserver": InferServer,
        "nvtracker": Tracker,
    }


@contextlib.contextmanager
def installed(release: str = "7.1", *, doubtful: bool = True, lists_stop: bool = False) -> Iterator[Installed]:
    """Install DeepStream of one release, while the context lasts.

    Args:
        release: 7.1 or 8.0.
        doubtful: include properties whose first release is not known for certain.
        lists_stop: lists of pyds end with StopIteration instead of None; programs must handle both.

    Raises:
        NoGStreamerError: this Python has no GStreamer.
    """
    load_gstreamer()
    from tests.doubles.deepstream.elements import base

    double = Installed(Facts(release, doubtful), lists_stop=lists_stop)
    chosen_mux = os.environ.get(_NEW_MUX)
    log = native.CriticalLog(double.ledger.complain)
    base._installations.append(double)
    try:
        with _modules(pyds=double.pyds.module, pynvml=nvml_module()), _factories(double.facts, double.ledger.complain):
            yield double
    finally:
        base._installations.remove(double)
        log.close()
        if chosen_mux is None:
            os.environ.pop(_NEW_MUX, None)  # the program under test may have set it
        else:
            os.environ[_NEW_MUX] = chosen_mux


@contextlib.contextmanager
def _modules(**doubles: types.ModuleType) -> Iterator[None]:
    """Replace or add modules of these names."""
    before = {name: sys.modules.get(name) for name in doubles}
    sys.modules.update(doubles)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


@contextlib.contextmanager
def _factories(facts: Facts, complain: Callable[[str], None]) -> Iterator[None]:
    from gi.repository import Gst

    for name in _mixins():
        if name != _MUX:
            Gst.Element.register(None, name, Gst.Rank.NONE, element_class(name, facts))
    with _mux_chosen_late(facts, complain):
        yield
    registry = Gst.Registry.get()
    for name in _mixins():
        feature = registry.lookup_feature(name)
        if feature is not None:
            registry.remove_feature(feature)


@contextlib.contextmanager
def _mux_chosen_late(facts: Facts, complain: Callable[[str], None]) -> Iterator[None]:
    """Select the muxer at the first request for it, once: DeepStream reads the variable when it loads the plugin.

    Without the variable, DeepStream registers the legacy muxer under the name; the double has none.
    """
    from gi.repository import Gst

    settled: list[bool] = []

    def settle() -> None:
        if not settled:
            settled.append(os.environ.get(_NEW_MUX) == "yes")
            if settled[0]:
                Gst.Element.register(None, _MUX, Gst.Rank.NONE, element_class(_MUX, facts))
            else:
                complain(f"{_MUX} without {_NEW_MUX}=yes is the legacy muxer, which the double does not simulate")

    original_make, original_find, original_launch = Gst.ElementFactory.make, Gst.ElementFactory.find, Gst.parse_launch

    def make(name: str, *arguments: Any) -> Any:
        if name == _MUX:
            settle()
        return original_make(name, *arguments)

    def find(name: str) -> Any:
        if name == _MUX:
            settle()
        return original_find(name)

    def launch(text: str) -> Any:
        if _MUX in text:
            settle()
        return original_launch(text)

    Gst.ElementFactory.make, Gst.ElementFactory.find, Gst.parse_launch = staticmethod(make), staticmethod(find), launch
    try:
        yield
    finally:
        Gst.ElementFactory.make = original_make
        Gst.ElementFactory.find = original_find
        Gst.parse_launch = original_launch
