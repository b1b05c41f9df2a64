"""Two branches of a camera told as one: the old one's frames until the new one is warm, the new one's from then on.

    WARMING --first frame of the new one that is warm--> TAKEN --old one has decided what is its own--> over
       |
       +--the old one's run ends (a long break, another size of picture): the next frame is the new one's--> TAKEN

What both say is put in the order of capture time before it is told, so that what counts does not depend on which of
them Triton answered first. Of a file both see every frame, so they wait for each other for as long as it takes; live,
one that is behind is waited for only so long. What is held back is bounded by that, or by a file's frames in flight.

Everything happens on the plane's event loop. `counting.handover` decides which events count.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from countline_counting import Event, FrameResult, Identity
from countline_counting.handover import HandOver, Place
from countline_counting.rules import HAND_OVER_S, LATEST_S, WARM_UP_S
from countline_pipelines.planes.interface import CountedFrame, FrameSink, RunStarted

PATIENCE_S: Final = 1.0
"""Of capture time by which a live branch may be behind the other one before that goes on without it."""
CHANGE_PATIENCE_S: Final = 5.0
"""The same at the change itself, for which a warm branch is waited for."""
STALE_S: Final = 6.0
"""What was held back for so long, of the clock, is told: no frames come, so capture time stands still."""


@dataclass(slots=True)
class _Item:
    """A frame; or the end of a run, which has the time of its last frame."""

    t: float
    identity: Identity
    came_at: float
    counted: CountedFrame | None = None
    start: RunStarted | None = None
    """Where the frame is the first of its run."""
    events: Sequence[Event] | None = None
    """Of an end; None for a run that was broken off."""


@dataclass(slots=True)
class _Side:
    items: deque[_Item] = field(default_factory=deque)
    newest: float = float("-inf")
    told: float = float("-inf")
    """Time of the last item that was told."""
    start: RunStarted | None = None
    gone: bool = False
    """No more will come."""


class Inlet:
    """What one of the two branches talks to: see `FrameSink`."""

    def __init__(self, side: _Side, take: Callable[[_Item], None], out: FrameSink) -> None:
        self._side = side
        self._take = take
        self._out = out

    def run_started(self, run: RunStarted) -> None:
        """Goes with the run's first frame."""
        self._side.start = run

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """See `FrameSink`."""
        start, self._side.start = self._side.start, None
        self._take(_Item(counted.result.tracked.t, identity, time.monotonic(), counted, start))

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """Of a run before: it has no frames any more that would have to wait."""
        self._out.events_decided(identity, t, events)

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """See `FrameSink`."""
        self._take(_Item(self._side.newest, identity, time.monotonic(), events=events))


class TakeOver:
    """One change of version on one camera.

    Args:
        out: whom to tell.
        shared: the lines and zones that both count now.
        old_run: of the old branch; None where it has none.
        waits: whether frames of both wait for each other (of a finite file).
        on_warm_at: told when the new one will be warm, in capture time, as soon as that is known.
        on_taken: called when the new one begins to count for the camera.
        on_old_done: called when the old one has nothing more to say.
    """

    def __init__(
        self,
        out: FrameSink,
        shared: Callable[[], frozenset[Place]],
        old_run: Identity | None,
        *,
        waits: bool,
        on_warm_at: Callable[[float], None],
        on_taken: Callable[[], None],
        on_old_done: Callable[[], None],
    ) -> None:
        self._out = out
        self._shared = shared
        self._waits = waits
        self._on_warm_at = on_warm_at
        self._on_taken = on_taken
        self._on_old_done = on_old_done
        self._old, self._new = _Side(), _Side()
        self.old = Inlet(self._old, lambda item: self._take(self._old, item), out)
        self.new = Inlet(self._new, lambda item: self._take(self._new, item), out)
        self._hand_over = HandOver(shared())
        self._old_run = old_run
        self._old_done = False
        self._told_t = float("-inf")
        """Of the old branch's last frame that was told."""
        self._new_start: RunStarted | None = None
        self._new_run: Identity | None = None
        """The new branch's run that was told of."""
        self._plain = False
        """The new branch is on a run that has nothing to do with the change."""
        self._warm_at = float("inf")
        self._between_runs = old_run is None
        self.is_taken = False
        self.source_is_over = False
        """So a run that ends makes way for no other."""

    @property
    def is_over(self) -> bool:
        """Whether the new branch may as well talk to `out` itself."""
        quiet = not self._old.items and not self._new.items
        return self._old.gone and quiet and (self._plain or self._hand_over.is_over)

    def share(self) -> None:
        """Lines or zones have changed."""
        self._hand_over.shared = self._shared()

    def skipped(self, t: float, *, of_new: bool) -> None:
        """One of the branches does without the frame captured at `t`, so that the other one must not wait for it."""
        side = self._new if of_new else self._old
        side.newest = max(side.newest, t)
        self._advance()

    def abandon(self) -> None:
        """The new branch will not take over after all: tell what the old one has said."""
        self.source_is_over = True  # for the new one: what Triton still answers to it changes nothing
        self._new.items.clear()
        self._new.gone = True
        self.drain()

    def old_gone(self) -> None:
        """The old branch has ended. All that it said is told, since another change may begin now."""
        self._old.gone = True
        self.drain()

    def drain(self) -> None:
        """Tell all that was held back."""
        self._advance(everything=True)

    def tick(self, now: float) -> None:
        """Tell what was held back for too long by the clock (monotonic)."""
        oldest = min((side.items[0].came_at for side in (self._old, self._new) if side.items), default=now)
        if not self._waits and now - oldest > STALE_S:
            self.drain()

    def _take(self, side: _Side, item: _Item) -> None:
        if side is self._new and item.start is not None and not self.is_taken:
            self._warm_at = item.t + WARM_UP_S
            self._on_warm_at(self._warm_at)
        side.newest = max(side.newest, item.t)
        side.items.append(item)
        self._advance()

    def _advance(self, *, everything: bool = False) -> None:
        while (side := self._next(everything=everything)) is not None:
            if self._is_change_due():
                self._change()
            item = side.items.popleft()
            side.told = item.t
            if side is self._old:
                self._tell_old(item)
            else:
                self._tell_new(item)

    def _next(self, *, everything: bool) -> _Side | None:
        """Whose turn it is; the old one's where both are of one moment, for it knows the longer part of a stay."""
        old, new = self._old, self._new
        if old.items and new.items:
            return old if old.items[0].t <= new.items[0].t or self._is_early(new.items[0]) else new
        if not old.items and not new.items:
            return None
        side, other = (old, new) if old.items else (new, old)
        head = side.items[0]
        if everything or other.gone or (other.newest >= head.t and not self._is_early(head)):
            return side
        # Where the other one has kept up so far, it is behind since the head: before, there may have been no frames.
        since = head.t if other.newest >= side.told else other.newest
        behind = not self._waits and side.newest - since >= self._patience(head.t)
        return side if behind else None

    def _is_early(self, item: _Item) -> bool:
        """Whether it is the end of the run that took over, and that of the old one, which knows more, is to come."""
        return item.counted is None and item.identity == self._new_run and not self._plain and self._old_run is not None

    def _patience(self, t: float) -> float:
        if self.is_taken:
            return PATIENCE_S
        return CHANGE_PATIENCE_S if t >= self._due else 0.0

    @property
    def _due(self) -> float:
        """From when on the new branch may take over."""
        return float("-inf") if self._between_runs else self._warm_at

    def _is_change_due(self) -> bool:
        if self.is_taken or self.source_is_over or not self._new.items:
            return False
        head = self._new.items[0]
        old_is_first = bool(self._old.items) and self._old.items[0].t < head.t
        return head.counted is not None and head.t >= self._due and head.t > self._told_t and not old_is_first

    def _change(self) -> None:
        head = self._new.items[0]
        if head.start is not None:  # its run begins with the change
            self._hand_over = HandOver(self._shared())
        self.is_taken = True
        self._hand_over.take_over(head.t)
        self._on_taken()
        if self._old_run is None:
            self._hand_over.end_old(())
            self._finish_old()

    def _finish_old(self) -> None:
        if not self._old_done:
            self._old_done = True
            self._on_old_done()

    def _tell_old(self, item: _Item) -> None:
        if item.counted is None:
            self._old_ended(item)
        elif not self.is_taken:
            if item.start is not None:
                self._old_begins(item.start)
            self._tell_old_frame(item, item.counted)
        elif item.identity == self._old_run:
            self._tell_late(item, item.counted)

    def _old_begins(self, start: RunStarted) -> None:
        if self._told_t > float("-inf"):
            self._hand_over = HandOver(self._shared())
        self._old_run, self._between_runs = start.identity, False
        self._out.run_started(start)

    def _tell_old_frame(self, item: _Item, counted: CountedFrame) -> None:
        self._told_t = item.t
        events = self._hand_over.old(counted.result.tracked, counted.result.events)
        self._out.frame_counted(item.identity, _with_events(counted, events))

    def _tell_late(self, item: _Item, counted: CountedFrame) -> None:
        """A frame of the old branch after the change."""
        at = self._hand_over.at
        assert at is not None
        if item.t < at:  # it was behind when it was waited for long enough; the frame is its own all the same
            self._tell_old_frame(item, counted)
            return
        events = self._hand_over.old(counted.result.tracked, counted.result.events)
        if events:
            self._out.events_decided(item.identity, item.t, events)
        if item.t >= at + HAND_OVER_S + LATEST_S:
            self._finish_old()

    def _old_ended(self, item: _Item) -> None:
        if item.identity != self._old_run:
            return
        self._old_run = None
        decided = self._hand_over.end_old(item.events or ())
        self._out.run_ended(item.identity, None if item.events is None else decided)
        if self.is_taken:
            self._finish_old()
        self._between_runs = True

    def _tell_new(self, item: _Item) -> None:
        if item.counted is None:
            self._new_ended(item)
            return
        if item.start is not None:
            self._new_begins(item.start)
        if not self.is_taken:
            self._hand_over.new(item.counted.result.tracked, item.counted.result.events)
            return
        if self._new_run is None:
            self._announce(item.identity)
        events = item.counted.result.events
        if not self._plain:
            events = self._hand_over.new(item.counted.result.tracked, events)
        self._out.frame_counted(item.identity, _with_events(item.counted, events))

    def _new_begins(self, start: RunStarted) -> None:
        if self.is_taken and self._new_run is not None:
            self._new_run, self._plain = start.identity, True
            self._out.run_started(start)
            return
        self._new_start = start
        if not self.is_taken:
            self._hand_over = HandOver(self._shared())

    def _announce(self, identity: Identity) -> None:
        assert self._new_start is not None
        self._new_run = identity
        follows_at_once = self._told_t > float("-inf")
        self._out.run_started(replace(self._new_start, since=self._told_t if follows_at_once else None))

    def _new_ended(self, item: _Item) -> None:
        if item.identity != self._new_run:
            return
        events = item.events if item.events is None or self._plain else self._hand_over.end_new(item.events)
        self._plain = True
        self._out.run_ended(item.identity, events)


def _with_events(counted: CountedFrame, events: tuple[Event, ...]) -> CountedFrame:
    return replace(counted, result=FrameResult(counted.result.tracked, events))
