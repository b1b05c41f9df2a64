"""Which frames and events of two branches are reported of a camera, before, at and after a change.

`countline_counting.handover` decides which events count. The items come in the order of capture time (`ordering`).
"""

from collections.abc import Callable
from dataclasses import replace

from countline_counting.counter import FrameResult
from countline_counting.events import Event
from countline_counting.handover import HandOver, Place
from countline_counting.identity import Identity
from countline_counting.rules import HAND_OVER_S, LATEST_S
from countline_pipelines.planes.interface import CountedFrame, FrameSink, RunStarted
from countline_pipelines.planes.software.change.ordering import BranchItem


class ChangeReport:
    """Reports the items of both branches of one change to one sink.

    Args:
        out: takes what is reported of the camera.
        shared: returns the lines and zones that both branches count now.
        old_run: the present run of the old branch; None if it has none.
        on_old_done: called once, when the old branch has decided all that is its own.
    """

    def __init__(
        self,
        out: FrameSink,
        shared: Callable[[], frozenset[Place]],
        old_run: Identity | None,
        on_old_done: Callable[[], None],
    ) -> None:
        self._out = out
        self._shared = shared
        self._on_old_done = on_old_done
        self._hand_over = HandOver(shared())
        self._old_run = old_run
        self._is_old_done = False
        self._new_start: RunStarted | None = None
        self._new_run: Identity | None = None
        """The run of the new branch that was reported."""
        self._is_plain = False
        """True once the new branch is on a run that has nothing to do with the change."""
        self.is_between_runs = old_run is None
        """True while the old branch has no run."""
        self.old_t = float("-inf")
        """Capture time of the last frame of the old branch that was reported."""
        self.is_taken = False
        """True once the new branch counts for the camera."""

    @property
    def is_over(self) -> bool:
        """Whether the change has nothing more to do with what the new branch counts."""
        return self._is_plain or self._hand_over.is_over

    def share(self) -> None:
        """Lines or zones have changed."""
        self._hand_over.shared = self._shared()

    def is_early(self, item: BranchItem) -> bool:
        """Whether it is the end of the run that took over while that of the old run, which knows more, is to come."""
        is_end = item.counted is None and item.identity == self._new_run
        return is_end and not self._is_plain and self._old_run is not None

    def take_over(self, head: BranchItem, announce: Callable[[], None]) -> None:
        """The new branch counts from its item `head` on; `announce` is called as soon as it does."""
        if head.start is not None:  # its run begins with the change
            self._hand_over = HandOver(self._shared())
        self.is_taken = True
        self._hand_over.take_over(head.t)
        announce()
        if self._old_run is None:
            self._hand_over.end_old(())
            self._finish_old()

    def _finish_old(self) -> None:
        if not self._is_old_done:
            self._is_old_done = True
            self._on_old_done()

    # The old branch --------------------------------------------------------------------------------------------------

    def report_old(self, item: BranchItem) -> None:
        """Report an item of the old branch."""
        if item.counted is None:
            self._end_old_run(item)
        elif not self.is_taken:
            if item.start is not None:
                self._begin_old_run(item.start)
            self._report_old_frame(item, item.counted)
        elif item.identity == self._old_run:
            self._report_late(item, item.counted)

    def _begin_old_run(self, start: RunStarted) -> None:
        if self.old_t > float("-inf"):
            self._hand_over = HandOver(self._shared())
        self._old_run, self.is_between_runs = start.identity, False
        self._out.run_started(start)

    def _report_old_frame(self, item: BranchItem, counted: CountedFrame) -> None:
        self.old_t = item.t
        events = self._hand_over.old(counted.result.tracked, counted.result.events)
        self._out.frame_counted(item.identity, _with_events(counted, events))

    def _report_late(self, item: BranchItem, counted: CountedFrame) -> None:
        """A frame of the old branch after the change: only its events count."""
        at = self._hand_over.at
        assert at is not None
        if item.t < at:  # the branch was too far behind for the router to wait; the frame is its own all the same
            self._report_old_frame(item, counted)
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
        self.is_between_runs = True

    # The new branch --------------------------------------------------------------------------------------------------

    def report_new(self, item: BranchItem) -> None:
        """Report an item of the new branch; before the change only the hand-over learns of it."""
        if item.counted is None:
            self._end_new_run(item)
            return
        if item.start is not None:
            self._begin_new_run(item.start)
        if not self.is_taken:
            self._hand_over.new(item.counted.result.tracked, item.counted.result.events)
            return
        if self._new_run is None:
            self._announce_run(item.identity)
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

    def _announce_run(self, identity: Identity) -> None:
        assert self._new_start is not None
        self._new_run = identity
        follows_at_once = self.old_t > float("-inf")
        self._out.run_started(replace(self._new_start, since=self.old_t if follows_at_once else None))

    def _end_new_run(self, item: BranchItem) -> None:
        if item.identity != self._new_run:
            return
        events = item.events if item.events is None or self._is_plain else self._hand_over.end_new(item.events)
        self._is_plain = True
        self._out.run_ended(item.identity, events)


def _with_events(counted: CountedFrame, events: tuple[Event, ...]) -> CountedFrame:
    return replace(counted, result=FrameResult(counted.result.tracked, events))
