"""The ring of slots: places for frames in shared memory that a decoder writes and Triton reads.

One ring serves one size of model input. A slot holds one letterboxed RGB frame, (height, width, 3) uint8, at a fixed
offset of a shared-memory segment. The whole segment is registered with Triton, so a request names a frame by its offset
and copies nothing.

The states of a slot:

    FREE --acquire--> HELD --(infer begins)--> IN_FLIGHT --(infer ends)--> HELD --release--> FREE

`acquire` returns the lowest free slot, so that slots taken together tend to lie side by side and travel as one batch.
Decoders are threads and the rest is an event loop: any thread may call any method.
"""

import heapq
import itertools
import os
import threading
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import InternalError
from countline_common.triton.shared_memory import SharedSegment, remove_stale

SEGMENT_PREFIX: Final = "countline-slots-"
PAD_VALUE: Final = 114
"""Value of a frame's bytes beside the picture (detection contract)."""

_serial = itertools.count()


class SlotState(Enum):
    """The state of a slot."""

    FREE = "free"
    HELD = "held"
    IN_FLIGHT = "in_flight"


class SlotStateError(InternalError):
    """A slot was used in the wrong state, for example released while Triton reads it, or released twice."""

    def __init__(self, index: int, wanted: str, state: SlotState) -> None:
        super().__init__(f"slot {index} cannot be {wanted} while it is {state.value}")


class Slot:
    """One place of the ring.

    Attributes:
        index: its number in the ring.
        frame_hwc: (height, width, 3) uint8 view into the shared memory; write it only while the slot is HELD.
        owner: the holder (a camera's id), empty while FREE.
    """

    __slots__ = ("frame_hwc", "index", "owner", "ring", "state")

    def __init__(self, ring: "SlotRing", index: int, frame_hwc: NDArray[np.uint8]) -> None:
        self.ring = ring
        self.index = index
        self.frame_hwc = frame_hwc
        self.owner = ""
        self.state = SlotState.FREE

    @property
    def offset_bytes(self) -> int:
        """Offset of the frame in the ring's segment."""
        return self.index * self.ring.slot_bytes

    def release(self) -> None:
        """Return the slot to the ring.

        Raises:
            SlotStateError: it is FREE already, or IN_FLIGHT.
        """
        self.ring.release(self)


class SlotRing:
    """A bounded set of slots in one shared-memory segment, named `countline-slots-<pid>-<n>`.

    Args:
        count: number of slots; the bound of frames between decoder and tracker.
        height, width: of the model's input in pixels.

    Attributes:
        frames_nhwc: (count, height, width, 3) uint8, the whole ring as one array.

    Raises:
        ResourceExhaustedError: /dev/shm is too small for it.
    """

    def __init__(self, count: int, height: int, width: int) -> None:
        self.count = count
        self.height = height
        self.width = width
        self.slot_bytes = height * width * 3
        self._segment = SharedSegment(f"{SEGMENT_PREFIX}{os.getpid()}-{next(_serial)}", count * self.slot_bytes)
        frames = np.frombuffer(self._segment.buffer, np.uint8).reshape(count, height, width, 3)
        frames[:] = PAD_VALUE
        self.frames_nhwc = frames
        self.slots: tuple[Slot, ...] = tuple(Slot(self, index, frames[index]) for index in range(count))
        self._free = list(range(count))
        self._changed = threading.Condition()
        self._closed = False

    @property
    def name(self) -> str:
        """Name of the segment, under which it is registered with Triton; its key is `/` + name."""
        return self._segment.name

    @property
    def size_bytes(self) -> int:
        """Size of the whole segment."""
        return self._segment.size_bytes

    def acquire(self, owner: str, timeout_s: float | None = 0.0) -> Slot | None:
        """Take the lowest free slot.

        Args:
            owner: the camera's id.
            timeout_s: how long to wait for a free slot (0: not at all, None: until one is free or the ring is closed).

        Returns:
            The slot, HELD; None if no slot became free in time or the ring is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed, timeout_s)
            if self._closed or not self._free:
                return None
            slot = self.slots[heapq.heappop(self._free)]
            slot.state, slot.owner = SlotState.HELD, owner
            return slot

    def release(self, slot: Slot) -> None:
        """Take a HELD slot back; raises what `Slot.release` raises."""
        with self._changed:
            if slot.state is not SlotState.HELD:
                raise SlotStateError(slot.index, "released", slot.state)
            slot.state, slot.owner = SlotState.FREE, ""
            heapq.heappush(self._free, slot.index)
            self._changed.notify()

    def send(self, slots: Iterable[Slot]) -> None:
        """Mark HELD slots as IN_FLIGHT: Triton reads them from now on."""
        self._move(slots, SlotState.HELD, SlotState.IN_FLIGHT, "sent")

    def returned(self, slots: Iterable[Slot]) -> None:
        """Mark slots as HELD again: Triton has answered, or has failed."""
        self._move(slots, SlotState.IN_FLIGHT, SlotState.HELD, "returned")

    def _move(self, slots: Iterable[Slot], before: SlotState, after: SlotState, wanted: str) -> None:
        with self._changed:
            for slot in slots:
                if slot.state is not before:
                    raise SlotStateError(slot.index, wanted, slot.state)
                slot.state = after

    def close(self) -> None:
        """Remove the segment and wake all waiting callers of `acquire`; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._segment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def contiguous_runs(slots: Sequence[Slot], longest: int) -> list[tuple[Slot, ...]]:
    """Split slots of one ring into runs that lie side by side, of at most `longest` slots each, in order of memory.

    Raises:
        ValueError: a slot is named twice.
    """
    runs: list[list[Slot]] = []
    for slot in sorted(slots, key=lambda each: each.index):
        if runs and slot.index == runs[-1][-1].index:
            raise ValueError(f"slot {slot.index} is named twice in one batch")
        if runs and slot.index == runs[-1][-1].index + 1 and len(runs[-1]) < longest:
            runs[-1].append(slot)
        else:
            runs.append([slot])
    return [tuple(run) for run in runs]


def remove_stale_slots() -> list[str]:
    """Remove the segments that killed processes left behind; returns their names."""
    return remove_stale(SEGMENT_PREFIX)
