"""Pipelines of the double for its own tests: built in one call, watched until something is true, and ended."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.doubles.deepstream import Installed

LIBRARY = "/opt/nvidia/deepstream/deepstream/lib/libnvds_nvmultiobjecttracker.so"
WAIT_S = 30.0
TENSORS = """
infer_config {{
  unique_id: 1 max_batch_size: {batch}
  backend {{ triton {{ model_name: "{model}" version: -1 grpc {{ url: "{url}" }} }} }}
  preprocess {{ network_format: IMAGE_FORMAT_RGB tensor_order: {order} maintain_aspect_ratio: 1
    symmetric_padding: {symmetric} normalize {{ scale_factor: 1.0 }} }}
  postprocess {{ other {{}} }}
}}
input_control {{ process_mode: PROCESS_MODE_FULL_FRAME interval: {interval} }}
output_control {{ output_tensor_meta: true }}
"""


def tensor_config(folder: Path, url: str, **changed: Any) -> Path:
    """A file of nvinferserver that attaches raw tensors."""
    values = {"batch": 4, "model": "blob", "order": "TENSOR_ORDER_NHWC", "symmetric": 0, "interval": 0, "url": url}
    path = folder / "infer.txt"
    path.write_text(TENSORS.format(**(values | changed)))
    return path


def tracker_config(folder: Path, **management: Any) -> Path:
    """A file of nvtracker."""
    keys = {"probationAge": 2, "maxShadowTrackingAge": 10, "earlyTerminationAge": 1} | management
    path = folder / "tracker.yml"
    path.write_text("%YAML:1.0\nTargetManagement:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items()))
    return path


class Rig:
    """One pipeline. Sources are linked to the muxer's pads by their number as soon as they have a picture."""

    def __init__(self, double: Installed) -> None:
        from gi.repository import Gst

        self.gst, self.double = Gst, double
        self.pipeline = Gst.Pipeline.new(None)
        self.elements: dict[str, Any] = {}
        self.messages: list[Any] = []
        self.mux: Any = None

    def make(self, factory: str, name: str | None = None, **properties: Any) -> Any:
        """An element in the pipeline; properties with underscores."""
        element = self.gst.ElementFactory.make(factory, name)
        assert element is not None, factory
        for key, value in properties.items():
            element.set_property(key.replace("_", "-"), value)
        self.pipeline.add(element)
        self.elements[name or factory] = element
        return element

    def chain(self, *filters: Any, **mux: Any) -> Any:
        """Muxer, filters, sink; returns the sink's pad."""
        self.mux = self.make("nvstreammux", "mux", **mux)
        sink = self.make("fakesink", "sink", sync=False, **{"async": False}, enable_last_sample=False)
        elements = [self.mux, *filters, sink]
        for one, other in pairwise(elements):
            assert one.link(other)
        return sink.get_static_pad("sink")

    def source(self, number: int, uri: str, **properties: Any) -> Any:
        """A source on `sink_<number>` of the muxer."""
        source = self.make("nvurisrcbin", f"source-{number}", uri=uri, source_id=number, **properties)
        pad = self.mux.request_pad_simple(f"sink_{number}")
        source.connect("pad-added", lambda _source, new: new.link(pad))
        return source

    def play(self) -> Any:
        """What the state change says."""
        return self.pipeline.set_state(self.gst.State.PLAYING)

    def end(self) -> None:
        self.pipeline.set_state(self.gst.State.NULL)
        self.elements.clear()
        self.mux = self.pipeline = None

    def wait_for(self, seen: Callable[[], bool], timeout_s: float = WAIT_S) -> bool:
        """Read the bus until something is true."""
        until = time.monotonic() + timeout_s
        while not seen():
            if time.monotonic() > until:
                return False
            self.listen(20 * self.gst.MSECOND)
        return True

    def listen(self, wait_ns: int = 0) -> None:
        """Take everything from the bus; messages hold on to the elements that they are from."""
        bus = self.pipeline.get_bus()
        message = bus.timed_pop(wait_ns)
        while message is not None:
            self.messages.append(message)
            message = bus.pop()

    def heard(self, kind: str) -> list[Any]:
        """Messages of a type so far: eos, error, warning, element."""
        return [message for message in self.messages if message.type == getattr(self.gst.MessageType, kind.upper())]

    def heard_element(self, name: str) -> list[Any]:
        """Structures of element messages with this name."""
        structures = [message.get_structure() for message in self.heard("element")]
        return [structure for structure in structures if structure.get_name() == name]

    def run(self, timeout_s: float = WAIT_S) -> None:
        """Play to the end; an error is raised."""
        self.play()
        assert self.wait_for(lambda: bool(self.heard("eos") or self.heard("error")), timeout_s), "neither end nor error"
        assert not self.heard("error"), self.first_error()

    def first_error(self) -> str:
        """Its text and debug information; waits for it."""
        assert self.wait_for(lambda: bool(self.heard("error"))), "no error came"
        error, debug = self.heard("error")[0].parse_error()
        return f"{error.message} {debug}"


@contextmanager
def rig(double: Installed) -> Iterator[Rig]:
    """One that is ended whatever happens."""
    made = Rig(double)
    try:
        yield made
    finally:
        made.end()


@contextmanager
def main_loop() -> Iterator[None]:
    """GLib's default main loop in a thread of its own: watchdogs and loops of files need it."""
    from gi.repository import GLib

    loop = GLib.MainLoop()
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.quit()
        thread.join(10)


def frames(buffer: Any) -> Iterator[Any]:
    """Frame metadata of a batch."""
    import pyds

    node = pyds.gst_buffer_get_nvds_batch_meta(hash(buffer)).frame_meta_list
    while node is not None:
        yield pyds.NvDsFrameMeta.cast(node.data)
        node = node.next


def on_batches(pad: Any, look: Callable[[Any], None]) -> None:
    """Call `look(buffer)` for every batch at a pad; its exceptions end up in the ledger."""
    from gi.repository import Gst
    from tests.doubles.deepstream.elements.base import installed

    ledger = installed().ledger

    def probe(_pad: Any, info: Any) -> Any:
        try:
            look(info.get_buffer())
        except Exception as error:  # noqa: BLE001  # whatever it is, the test has to hear of it
            ledger.complain(f"in a probe: {error!r}")
        return Gst.PadProbeReturn.OK

    pad.add_probe(Gst.PadProbeType.BUFFER, probe)
