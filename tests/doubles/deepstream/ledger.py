"""Records of the double: living objects, calls of pyds, and mistakes that DeepStream would ignore."""

import threading
import weakref
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Alive:
    """Number of living objects at one moment."""

    elements: int
    pads: int
    buffers: int
    """Batches whose buffer is still referenced."""
    frames: int
    """Decoded frames inside batches, or waiting in the muxer."""


@dataclass
class Ledger:
    """Counts of one installed double; thread-safe."""

    complaints: list[str] = field(default_factory=list)
    """Mistakes to which DeepStream or GStreamer react with a warning at most."""
    pyds_calls: Counter[str] = field(default_factory=Counter)
    """Attribute reads and writes, casts and function calls, by name. Each one holds the interpreter's lock."""

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
        """Return the complaints so far and clear them, so that the test does not fail on them at its end."""
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
