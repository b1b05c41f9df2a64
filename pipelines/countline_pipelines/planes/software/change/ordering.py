"""What two branches of a camera report, put in the order of capture time.

Of a file both branches see every frame, so they wait for each other for as long as it takes. Live, the order waits only
so long for a branch that is behind. That bounds what is held back; of a file, its frames in flight do.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from countline_counting.events import Event
from countline_counting.identity import Identity
from countline_pipelines.planes.interface import CountedFrame, FrameSink, RunStarted


@dataclass(slots=True)
class BranchItem:
    """A counted frame; or the end of a run, which has the capture time of the run's last frame."""

    t: float
    identity: Identity
    came_at: float
    """Monotonic time at which the branch reported it."""
    counted: CountedFrame | None = None
    """None for the end of a run."""
    start: RunStarted | None = None
    """Of the first frame of a run."""
    events: Sequence[Event] | None = None
    """Of the end of a run; None if the run was broken off."""


@dataclass(slots=True)
class BranchQueue:
    """What one branch reported and the router has not emitted yet."""

    items: deque[BranchItem] = field(default_factory=deque)
    newest: float = float("-inf")
    """Capture time of the newest item that came."""
    emitted: float = float("-inf")
    """Capture time of the last item that left."""
    start: RunStarted | None = None
    """Of a run whose first frame is still to come."""
    is_gone: bool = False
    """True once the branch reports nothing more."""


class Inlet:
    """A `FrameSink` for one branch: turns what it reports into items.

    Args:
        queue: of the branch.
        take: takes an item.
        out: takes what need not be put in order.
    """

    def __init__(self, queue: BranchQueue, take: Callable[[BranchItem], None], out: FrameSink) -> None:
        self._queue = queue
        self._take = take
        self._out = out

    def run_started(self, run: RunStarted) -> None:
        """Keep it for the run's first frame."""
        self._queue.start = run

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """Queue the frame."""
        start, self._queue.start = self._queue.start, None
        self._take(BranchItem(counted.result.tracked.t, identity, time.monotonic(), counted, start))

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """Pass them on at once: they are of an earlier run, which has no frames that would have to wait."""
        self._out.events_decided(identity, t, events)

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """Queue the end."""
        self._take(BranchItem(self._queue.newest, identity, time.monotonic(), events=events))


class CaptureOrder:
    """Decides which of two branches is next.

    Args:
        waits: True for a finite file, whose branches wait for each other.
    """

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits
        self.old, self.new = BranchQueue(), BranchQueue()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held back."""
        return not self.old.items and not self.new.items

    def held_since(self, now: float) -> float:
        """Monotonic time at which the oldest item came; `now` if nothing is held back."""
        return min((queue.items[0].came_at for queue in (self.old, self.new) if queue.items), default=now)

    def next(
        self, *, everything: bool, is_early: Callable[[BranchItem], bool], patience_s: Callable[[float], float]
    ) -> BranchQueue | None:
        """The queue of which the first item is due; None if the order waits for more.

        Args:
            everything: do not wait.
            is_early: whether an item waits for the other branch in any case.
            patience_s: how long, in capture time, an item captured at a time waits for a live branch that is behind.
        """
        old, new = self.old, self.new
        if old.items and new.items:
            # Of one moment, the old branch is first, since it knows the longer part of a stay.
            return old if old.items[0].t <= new.items[0].t or is_early(new.items[0]) else new
        if self.is_empty:
            return None
        queue, other = (old, new) if old.items else (new, old)
        head = queue.items[0]
        if everything or other.is_gone or (other.newest >= head.t and not is_early(head)):
            return queue
        # If the other branch has kept up so far, it is behind since the head: before, there may have been no frames.
        since = head.t if other.newest >= queue.emitted else other.newest
        is_behind = not self._waits and queue.newest - since >= patience_s(head.t)
        return queue if is_behind else None
