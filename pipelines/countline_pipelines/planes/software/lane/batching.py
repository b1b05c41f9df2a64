"""Batches of frames across cameras: fair, in each camera's order, with a deadline for each frame.

Pure but for a lock; every clock is an argument. A batch is ready when it is full, or when its oldest frame has waited
for `max_wait_s`. Cameras take turns, so a file that is read as fast as possible cannot crowd out live cameras.
"""

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    item: T
    since: float


class Batcher(Generic[T]):
    """Frames that wait for inference.

    Args:
        max_batch: most frames in a batch.
        max_wait_s: how long the oldest frame may wait for others.
    """

    def __init__(self, max_batch: int, max_wait_s: float) -> None:
        self.max_batch = max_batch
        self.max_wait_s = max_wait_s
        self._lock = threading.Lock()
        self._queues: OrderedDict[str, deque[_Waiting[T]]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, owner: str, item: T, now: float) -> None:
        """Add a frame at the end of its camera's queue."""
        with self._lock:
            self._queues.setdefault(owner, deque()).append(_Waiting(item, now))
            self._size += 1

    def drop_oldest(self, owner: str) -> T | None:
        """Remove the camera's oldest waiting frame, and return it; None if none waits."""
        with self._lock:
            return self._pop(owner)

    def drop_all(self, owner: str) -> list[T]:
        """Remove all waiting frames of a camera, and return them."""
        with self._lock:
            dropped = []
            while (item := self._pop(owner)) is not None:
                dropped.append(item)
            return dropped

    def waiting(self, owner: str) -> int:
        """Number of a camera's waiting frames."""
        with self._lock:
            return len(self._queues.get(owner, ()))

    def take(self, now: float, most: int | None = None) -> list[T]:
        """The next batch, of at most `most` and at most `max_batch` frames; empty if none is ready."""
        size = min(self.max_batch, most or self.max_batch)
        with self._lock:
            if self._size < size and self._due_in(now) > 0:
                return []
            batch: list[T] = []
            while self._queues and len(batch) < size:
                owner = next(iter(self._queues))
                item = self._pop(owner)
                assert item is not None
                batch.append(item)
                if owner in self._queues:
                    self._queues.move_to_end(owner)
            return batch

    def due_in(self, now: float) -> float:
        """Seconds until the oldest frame may wait no longer; infinite if none waits."""
        with self._lock:
            return self._due_in(now)

    def _due_in(self, now: float) -> float:
        oldest = min((queue[0].since for queue in self._queues.values()), default=float("inf"))
        return max(0.0, oldest + self.max_wait_s - now)

    def _pop(self, owner: str) -> T | None:
        queue = self._queues.get(owner)
        if not queue:
            return None
        item = queue.popleft().item
        self._size -= 1
        if not queue:
            del self._queues[owner]
        return item
