"""Merges two branches into one report: the old branch's frames until the new branch is warm, then the new branch's.

    WARMING --first frame of the new branch that is warm--> TAKEN --the old branch has decided what is its own--> over
       |
       +--the old run ends (a long break, another picture size): the next frame is the new branch's--> TAKEN

`ordering` puts what both branches report in the order of capture time, so that counts do not depend on which of them
Triton answered first. The router decides when the new branch takes over, and `report` which frames and events count.
Everything happens on the plane's event loop.
"""

from collections.abc import Callable
from typing import Final, Protocol

from countline_counting.handover import Place
from countline_counting.identity import Identity
from countline_counting.rules import WARM_UP_S
from countline_pipelines.planes.interface import FrameSink
from countline_pipelines.planes.software.change.ordering import BranchItem, BranchQueue, CaptureOrder, Inlet
from countline_pipelines.planes.software.change.report import ChangeReport

PATIENCE_S: Final = 1.0
"""How far, in capture time, a live branch may be behind the other one before the router goes on without it."""
CHANGE_PATIENCE_S: Final = 5.0
"""The same at the change itself: how long the router waits for a warm branch."""
STALE_S: Final = 6.0
"""Emit held items after this much wall time. Capture time does not advance while no frames arrive."""


class RouterListener(Protocol):
    """Learns how far the change is."""

    def warm_at(self, t: float) -> None:
        """The new branch will be warm at capture time `t`; called as soon as that is known."""
        ...

    def taken_over(self) -> None:
        """The new branch counts for the camera from now on."""
        ...

    def old_done(self) -> None:
        """The old branch has decided all that is its own."""
        ...


class BranchRouter:
    """Routes what the two branches of one change report to one sink.

    Args:
        out: takes what is reported of the camera.
        shared: returns the lines and zones that both branches count now.
        old_run: the present run of the old branch; None if it has none.
        listener: learns how far the change is.
        waits: True for a finite file, whose branches wait for each other.
    """

    def __init__(
        self,
        out: FrameSink,
        shared: Callable[[], frozenset[Place]],
        old_run: Identity | None,
        listener: RouterListener,
        *,
        waits: bool,
    ) -> None:
        self._listener = listener
        self._waits = waits
        self._report = ChangeReport(out, shared, old_run, listener.old_done)
        self._order = order = CaptureOrder(waits=waits)
        self.old = Inlet(order.old, lambda item: self._take(order.old, item), out)
        """The old branch reports to it."""
        self.new = Inlet(order.new, lambda item: self._take(order.new, item), out)
        """The new branch reports to it."""
        self._warm_at = float("inf")
        self.is_source_over = False
        """True once no run will follow one that ends; set by the camera."""

    @property
    def is_taken(self) -> bool:
        """Whether the new branch counts for the camera."""
        return self._report.is_taken

    @property
    def is_over(self) -> bool:
        """Whether the new branch may report to `out` itself."""
        return self._order.old.is_gone and self._order.is_empty and self._report.is_over

    # From the camera -------------------------------------------------------------------------------------------------

    def share(self) -> None:
        """Lines or zones have changed."""
        self._report.share()

    def skipped(self, t: float, *, of_new: bool) -> None:
        """One branch will not count the frame captured at `t`, so the other one must not wait for it."""
        queue = self._order.new if of_new else self._order.old
        queue.newest = max(queue.newest, t)
        self._advance()

    def abandon(self) -> None:
        """Drop the new branch, and emit what the old one has reported."""
        self.is_source_over = True
        self._order.new.items.clear()
        self._order.new.is_gone = True  # what Triton still answers to it changes nothing
        self.drain()

    def old_gone(self) -> None:
        """The old branch has ended. Emit all that it reported, since another change may begin now."""
        self._order.old.is_gone = True
        self.drain()

    def drain(self) -> None:
        """Emit all that is held back."""
        self._advance(everything=True)

    def tick(self, now: float) -> None:
        """Emit what was held back for `STALE_S` at monotonic time `now`."""
        if not self._waits and now - self._order.held_since(now) > STALE_S:
            self.drain()

    # Whose turn it is, and when the new branch takes over ------------------------------------------------------------

    def _take(self, queue: BranchQueue, item: BranchItem) -> None:
        if queue.is_gone:
            return
        if queue is self._order.new and item.start is not None and not self.is_taken:
            self._warm_at = item.t + WARM_UP_S
            self._listener.warm_at(self._warm_at)
        queue.newest = max(queue.newest, item.t)
        queue.items.append(item)
        self._advance()

    def _advance(self, *, everything: bool = False) -> None:
        while (queue := self._next(everything=everything)) is not None:
            if self._is_change_due():
                self._report.take_over(self._order.new.items[0], self._listener.taken_over)
            item = queue.items.popleft()
            queue.emitted = item.t
            if queue is self._order.old:
                self._report.report_old(item)
            else:
                self._report.report_new(item)

    def _next(self, *, everything: bool) -> BranchQueue | None:
        return self._order.next(everything=everything, is_early=self._report.is_early, patience_s=self._patience_s)

    def _patience_s(self, t: float) -> float:
        if self.is_taken:
            return PATIENCE_S
        return CHANGE_PATIENCE_S if t >= self._due else 0.0

    @property
    def _due(self) -> float:
        """Capture time from which on the new branch may take over."""
        return float("-inf") if self._report.is_between_runs else self._warm_at

    def _is_change_due(self) -> bool:
        old, new = self._order.old, self._order.new
        if self.is_taken or self.is_source_over or not new.items:
            return False
        head = new.items[0]
        old_is_first = bool(old.items) and old.items[0].t < head.t
        return head.counted is not None and head.t >= self._due and head.t > self._report.old_t and not old_is_first
