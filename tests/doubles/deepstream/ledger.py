"""What the double saw: what is alive, how often pyds was asked, and what the real thing would have passed over."""

import threading
import weakref
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Alive:
    """How much is there at one moment."""

    elements: int
    pads: int
    buffers: int
    """Batches that somebody still holds."""
    frames: int
    """Decoded frames inside batches, or waiting in the muxer."""


@dataclass
class Ledger:
    """Counts of one installed double. Safe from every thread."""

    complaints: list[str] = field(default_factory=list)
    """What DeepStream or GStreamer takes with a warning at most, and what is a mistake all the same."""
    pyds_calls: Counter[str] = field(default_factory=Counter)
    """Attribute reads and writes, casts and functions, by name. Every one of them holds the interpreter's lock."""

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self.elements: weakref.WeakSet[object] = weakref.WeakSet()
        self._pads: weakref.WeakSet[object] = weakref.WeakSet()
        self._buffers: set[int] = set()
        self._frames = 0

    @property
    def pyds_call_count(self) -> int:
        return self.pyds_calls.total()

    def alive(self) -> Alive:
        with self._lock:
            return Alive(len(self.elements), len(self._pads), len(self._buffers), self._frames)

    def complain(self, text: str) -> None:
        with self._lock:
            self.complaints.append(text)

    def take_complaints(self) -> list[str]:
        """The complaints so far; they are forgotten, so that the end of a test does not fail on them."""
        with self._lock:
            taken, self.complaints[:] = list(self.complaints), []
            return taken

    def element_made(self, element: object) -> None:
        with self._lock:
            self.elements.add(element)

    def pad_made(self, pad: object) -> None:
        with self._lock:
            self._pads.add(pad)

    def buffer_made(self, address: int, frames: int) -> None:
        with self._lock:
            self._buffers.add(address)
            self._frames += frames

    def buffer_gone(self, address: int, frames: int) -> None:
        with self._lock:
            self._buffers.discard(address)
            self._frames -= frames
