"""Two branches of a camera reported as one: the old branch's frames until the new one is warm, then the new one's.

    WARMING --first frame of the new branch that is warm--> TAKEN --the old branch has decided what is its own--> over
       |
       +--the old run ends (a long break, another picture size): the next frame is the new branch's--> TAKEN

`ordering` puts what both branches report in the order of capture time, so that counts do not depend on which of them
Triton answered first. `countline_counting.handover` decides which events count. All on the plane's event loop.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from countline_counting import Event, FrameResult, Identity
from countline_counting.handover import HandOver, Place
from countline_counting.rules import HAND_OVER_S, LATEST_S, WARM_UP_S
from countline_pipelines.planes.interface import CountedFrame, FrameSink, RunStarted
from countline_pipelines.planes.software.change.ordering import BranchItem, BranchQueue, CaptureOrder, Inlet

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
        self._out = out
        self._shared = shared
        self._listener = listener
        self._waits = waits
        self._order = order = CaptureOrder(waits=waits)
        self.old = Inlet(order.old, lambda item: self._take(order.old, item), out)
        """The old branch reports to it."""
        self.new = Inlet(order.new, lambda item: self._take(order.new, item), out)
        """The new branch reports to it."""
        self._hand_over = HandOver(shared())
        self._old_run = old_run
        self._is_between_runs = old_run is None
        self._is_old_done = False
        self._old_emitted_t = float("-inf")
        """Capture time of the last frame of the old branch that was emitted."""
        self._new_start: RunStarted | None = None
        self._new_run: Identity | None = None
        """The run of the new branch that was emitted."""
        self._is_plain = False
        """True once the new branch is on a run that has nothing to do with the change."""
        self._warm_at = float("inf")
        self.is_taken = False
        """True once the new branch counts for the camera."""
        self.is_source_over = False
        """True once no run will follow one that ends; set by the camera."""

    @property
    def is_over(self) -> bool:
        """Whether the new branch may report to `out` itself."""
        return self._order.old.is_gone and self._order.is_empty and (self._is_plain or self._hand_over.is_over)

    # From the camera -------------------------------------------------------------------------------------------------

    def share(self) -> None:
        """Lines or zones have changed."""
        self._hand_over.shared = self._shared()

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

    # Whose turn it is ------------------------------------------------------------------------------------------------

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
        order = self._order
        while (
            queue := order.next(everything=everything, is_early=self._is_early, patience_s=self._patience_s)
        ) is not None:
            if self._is_change_due():
                self._change()
            item = queue.items.popleft()
            queue.emitted = item.t
            if queue is order.old:
                self._emit_old(item)
            else:
                self._emit_new(item)

    def _is_early(self, item: BranchItem) -> bool:
        """Whether it is the end of the run that took over while that of the old run, which knows more, is to come."""
        is_end = item.counted is None and item.identity == self._new_run
        return is_end and not self._is_plain and self._old_run is not None

    def _patience_s(self, t: float) -> float:
        if self.is_taken:
            return PATIENCE_S
        return CHANGE_PATIENCE_S if t >= self._due else 0.0

    @property
    def _due(self) -> float:
        """Capture time from which on the new branch may take over."""
        return float("-inf") if self._is_between_runs else self._warm_at

    # The change ------------------------------------------------------------------------------------------------------

    def _is_change_due(self) -> bool:
        old, new = self._order.old, self._order.new
        if self.is_taken or self.is_source_over or not new.items:
            return False
        head = new.items[0]
        old_is_first = bool(old.items) and old.items[0].t < head.t
        return head.counted is not None and head.t >= self._due and head.t > self._old_emitted_t and not old_is_first

    def _change(self) -> None:
        head = self._order.new.items[0]
        if head.start is not None:  # its run begins with the change
            self._hand_over = HandOver(self._shared())
        self.is_taken = True
        self._hand_over.take_over(head.t)
        self._listener.taken_over()
        if self._old_run is None:
            self._hand_over.end_old(())
            self._finish_old()

    def _finish_old(self) -> None:
        if not self._is_old_done:
            self._is_old_done = True
            self._listener.old_done()

    # What the old branch reports -------------------------------------------------------------------------------------

    def _emit_old(self, item: BranchItem) -> None:
        if item.counted is None:
            self._end_old_run(item)
        elif not self.is_taken:
            if item.start is not None:
                self._begin_old_run(item.start)
            self._emit_old_frame(item, item.counted)
        elif item.identity == self._old_run:
            self._emit_late(item, item.counted)

    def _begin_old_run(self, start: RunStarted) -> None:
        if self._old_emitted_t > float("-inf"):
            self._hand_over = HandOver(self._shared())
        self._old_run, self._is_between_runs = start.identity, False
        self._out.run_started(start)

    def _emit_old_frame(self, item: BranchItem, counted: CountedFrame) -> None:
        self._old_emitted_t = item.t
        events = self._hand_over.old(counted.result.tracked, counted.result.events)
        self._out.frame_counted(item.identity, _with_events(counted, events))

    def _emit_late(self, item: BranchItem, counted: CountedFrame) -> None:
        """A frame of the old branch after the change: only its events count."""
        at = self._hand_over.at
        assert at is not None
        if item.t < at:  # the branch was too far behind for the router to wait; the frame is its own all the same
            self._emit_old_frame(item, counted)
            return
        events = self._hand_over.old(counted.result.tracked, counted.result.events)
        if events:
            self._out.events_decided(item.identity, item.t, events)
        if item.t >= at + HAND_OVER_S + LATEST_S:
            self._finish_old()

    def _end_old_run(self, item: BranchItem) -> None:
        if item.identity != self._old_run:
            return
        self._old_run = None
        decided = self._hand_over.end_old(item.events or ())
        self._out.run_ended(item.identity, None if item.events is None else decided)
        if self.is_taken:
            self._finish_old()
        self._is_between_runs = True

    # What the new branch reports -------------------------------------------------------------------------------------

    def _emit_new(self, item: BranchItem) -> None:
        if item.counted is None:
            self._end_new_run(item)
            return
        if item.start is not None:
            self._begin_new_run(item.start)
        if not self.is_taken:
            self._hand_over.new(item.counted.result.tracked, item.counted.result.events)
            return
        if self._new_run is None:
            self._announce(item.identity)
        events = item.counted.result.events
        if not self._is_plain:
            events = self._hand_over.new(item.counted.result.tracked, events)
        self._out.frame_counted(item.identity, _with_events(item.counted, events))

    def _begin_new_run(self, start: RunStarted) -> None:
        if self.is_taken and self._new_run is not None:
            self._new_run, self._is_plain = start.identity, True
            self._out.run_started(start)
            return
        self._new_start = start
        if not self.is_taken:
            self._hand_over = HandOver(self._shared())

    def _announce(self, identity: Identity) -> None:
        assert self._new_start is not None
        self._new_run = identity
        follows_at_once = self._old_emitted_t > float("-inf")
        self._out.run_started(replace(self._new_start, since=self._old_emitted_t if follows_at_once else None))

    def _end_new_run(self, item: BranchItem) -> None:
        if item.identity != self._new_run:
            return
        events = item.events if item.events is None or self._is_plain else self._hand_over.end_new(item.events)
        self._is_plain = True
        self._out.run_ended(item.identity, events)


def _with_events(counted: CountedFrame, events: tuple[Event, ...]) -> CountedFrame:
    return replace(counted, result=FrameResult(counted.result.tracked, events))
