"""The ring of slots: places for frames in shared memory that a decoder writes and Triton reads.

One ring serves one size of model input. A slot holds one letterboxed RGB frame, (height, width, 3) uint8, at a fixed
offset of one segment. The whole segment is registered with Triton, so a request names a frame by its offset and no
frame is copied to it.

The life of a slot:

    FREE --acquire--> HELD --(infer begins)--> IN_FLIGHT --(infer ends)--> HELD

`acquire` gives slots in order of memory, so that slots acquired together lie side by side and can travel as one batch.
Every method may be called from any thread.
"""

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
"""Value of a frame beside the picture (detection contract)."""

_serial = itertools.count()


class SlotState(Enum):
    """Where a slot is in its life."""

    FREE = "free"
    HELD = "held"
    IN_FLIGHT = "in_flight"


class SlotStateError(InternalError):
    """A slot was used out of turn: sent while Triton reads it, or returned without having been sent."""

    def __init__(self, index: int, wanted: str, state: SlotState) -> None:
        super().__init__(f"slot {index} cannot be {wanted} while it is {state.value}")


class Slot:
    """One place of the ring.

    Attributes:
        index: its number in the ring.
        frame_hwc: (height, width, 3) uint8 view into the shared memory; write it only while the slot is HELD.
    """

    __slots__ = ("frame_hwc", "index", "ring", "state")

    def __init__(self, ring: "SlotRing", index: int, frame_hwc: NDArray[np.uint8]) -> None:
        self.ring = ring
        self.index = index
        self.frame_hwc = frame_hwc
        self.state = SlotState.FREE

    @property
    def offset_bytes(self) -> int:
        """Where the frame begins in the ring's segment."""
        return self.index * self.ring.slot_bytes


class SlotRing:
    """A bounded set of slots in one shared-memory segment, named `countline-slots-<pid>-<n>`.

    Args:
        count: number of slots, which bounds the frames in flight.
        height, width: of the model's input in pixels.

    Attributes:
        frames_nhwc: (count, height, width, 3) uint8, the whole ring as one array.

    Raises:
        ResourceExhaustedError: /dev/shm has no room for it.
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
        self._acquired = 0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The segment's name: its key is `/` + name, and it is registered with Triton under it."""
        return self._segment.name

    @property
    def size_bytes(self) -> int:
        """Size of the whole segment."""
        return self._segment.size_bytes

    def acquire(self) -> Slot | None:
        """Take the next slot, HELD from now on; None if all slots are taken."""
        with self._lock:
            if self._acquired == self.count:
                return None
            slot = self.slots[self._acquired]
            self._acquired += 1
            slot.state = SlotState.HELD
            return slot

    def send(self, slots: Iterable[Slot]) -> None:
        """Mark HELD slots as IN_FLIGHT: Triton reads them from now on."""
        self._move(slots, SlotState.HELD, SlotState.IN_FLIGHT, "sent")

    def returned(self, slots: Iterable[Slot]) -> None:
        """Mark slots as HELD again: Triton has answered, or has failed."""
        self._move(slots, SlotState.IN_FLIGHT, SlotState.HELD, "returned")

    def _move(self, slots: Iterable[Slot], before: SlotState, after: SlotState, wanted: str) -> None:
        with self._lock:
            for slot in slots:
                if slot.state is not before:
                    raise SlotStateError(slot.index, wanted, slot.state)
                slot.state = after

    def close(self) -> None:
        """Remove the segment; a second call changes nothing."""
        self._segment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def contiguous_runs(slots: Sequence[Slot], longest: int) -> list[tuple[Slot, ...]]:
    """Cut slots of one ring into runs of neighbours, each of at most `longest` slots, in order of memory.

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
    """Remove the segments that killed processes left behind, and return their names."""
    return remove_stale(SEGMENT_PREFIX)
