"""Batches: the pictures and metadata of one GstBuffer, which end together with it."""

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests.doubles.deepstream import native
from tests.doubles.deepstream.ledger import Ledger
from tests.doubles.deepstream.structs import Life, MetaList, Structure

UNTRACKED = 2**64 - 1
_QUARANTINE = 32
"""Overwritten tensors that are kept after their batch: a stale pointer reads NaN instead of crashing."""


@dataclass
class Picture:
    """One frame, in host memory that stands for GPU memory."""

    planes: np.ndarray
    """NV12: uint8 (height * 3 / 2, width). RGBA: uint8 (height, width, 4)."""
    format: str
    width: int
    height: int


@dataclass
class Batch:
    """Pictures and metadata of one buffer between the muxer and the sink."""

    life: Life
    meta: Structure
    pictures: list[Picture]
    lock: Any = field(default_factory=threading.RLock)
    lock_depth: int = 0
    acquired: set[int] = field(default_factory=set)
    """Ids of structures that were acquired from a pool and not added yet."""
    tensors: list[np.ndarray] = field(default_factory=list)
    views: list[np.ndarray] = field(default_factory=list)

    @property
    def frames(self) -> list[Structure]:
        """In the order of the batch."""
        return list(list_of(self.meta, "frame_meta_list"))


def list_of(structure: Structure, name: str) -> MetaList:
    """The list of a list field; made at the first access."""
    values = structure._values
    if name not in values:
        values[name] = MetaList(structure._life)
    return values[name]


class Batches:
    """All batches of living buffers, by the address of the buffer."""

    def __init__(self, ledger: Ledger, *, lists_stop: bool) -> None:
        self._ledger, self._lists_stop = ledger, lists_stop
        self._by_address: dict[int, Batch] = {}
        self._quarantine: deque[np.ndarray] = deque(maxlen=_QUARANTINE)

    def new_life(self) -> Life:
        return Life(self._count, stops=self._lists_stop)

    def _count(self, name: str) -> None:
        self._ledger.pyds_calls[name] += 1

    def attach(self, buffer: Any, batch: Batch) -> None:
        """Tie the life of a batch to a Gst.Buffer."""
        address = hash(buffer)
        self.put(address, batch)
        native.when_freed(address, lambda: self.release(address))

    def put(self, address: int, batch: Batch) -> None:
        """Store a batch under an address."""
        self._by_address[address] = batch
        self._ledger.buffer_made(address, len(batch.pictures))

    def find(self, address: int) -> Batch | None:
        return self._by_address.get(address)

    def of(self, structure: Structure) -> Batch | None:
        """The batch of a structure; both share one `Life`."""
        return next((batch for batch in list(self._by_address.values()) if batch.life is structure._life), None)

    def release(self, address: int) -> None:
        """End the batch of a freed buffer, with its metadata and tensors."""
        batch = self._by_address.pop(address)
        batch.life.alive = False
        if batch.acquired:
            self._ledger.complain(f"{len(batch.acquired)} structures were acquired from a pool and added nowhere")
        if batch.lock_depth:
            self._ledger.complain("nvds_acquire_meta_lock without nvds_release_meta_lock")
        for array in (*batch.tensors, *batch.views):
            array.view(np.uint8).fill(0xFF)  # as floats: NaN
            self._quarantine.append(array)
        self._ledger.buffer_gone(address, len(batch.pictures))
