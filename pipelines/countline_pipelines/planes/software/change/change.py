"""The version of a model that counts on a camera, and its replacement by another one without losing a frame.

    reader ─ tee ─┬─ old branch ─┬─ router ─ sink
                  └─ new branch ─┘

As a rule there is one branch. During a change there are two, and the source stays open:

    STEADY ──begin──> WARMING ──the router lets the new branch take over──> OVERLAP ──the old branch ended──> CLOSING
      ^  ^               |  |                                                                               |   |
      |  └────abandon────┘  └────────────the source is over, and the new branch ended───────────────────────┘   |
      └──────────────────────────────────the router has nothing more to match───────────────────────────────────┘

- WARMING: the old branch counts, the new one warms up. The change can still be abandoned.
- OVERLAP: the new branch counts; the old one decides what is its own. The next change has to wait.
- CLOSING: one branch is left; the router still compares its events with those of the one that ended. The next change
  may begin: its router follows this one.
"""

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Final, Protocol

from countline_common.logs import get_logger
from countline_counting.handover import shared_places
from countline_counting.spec import CountingSpec
from countline_pipelines.planes.interface import CameraPlan, FrameSink
from countline_pipelines.planes.sinks import NullSink
from countline_pipelines.planes.software.change.branch import Branch
from countline_pipelines.planes.software.change.outlet import Outlet
from countline_pipelines.planes.software.change.retired import RetiredBranches
from countline_pipelines.planes.software.change.router import BranchRouter
from countline_pipelines.planes.software.lane.lane import ModelLane
from countline_pipelines.planes.software.source.feeder import CameraFeed
from countline_pipelines.planes.software.source.tee import Tee
from countline_pipelines.planes.states import StateMachine

_log = get_logger(__name__)


class ChangeState(StrEnum):
    """How far a change is."""

    STEADY = "steady"
    WARMING = "warming"
    OVERLAP = "overlap"
    CLOSING = "closing"


_LEGAL: Final = {
    ChangeState.STEADY: frozenset({ChangeState.WARMING}),
    ChangeState.WARMING: frozenset({ChangeState.OVERLAP, ChangeState.CLOSING, ChangeState.STEADY}),
    ChangeState.OVERLAP: frozenset({ChangeState.CLOSING}),
    ChangeState.CLOSING: frozenset({ChangeState.STEADY, ChangeState.WARMING}),
}


class NewBranch(Protocol):
    """Makes a branch of the camera; the arguments are those of `Branch`."""

    def __call__(
        self,
        plan: CameraPlan,
        lane: ModelLane,
        spec: CountingSpec,
        outlet: Outlet,
        *,
        after: str = "",
        warms_up: bool = False,
    ) -> Branch:
        """Make it."""
        ...


class ModelChange:
    """The branches of one camera that count, and the router between them; used on the plane's event loop.

    Args:
        first: the branch that counts at first; its outlet leads to `sink`.
        new_branch: makes a branch.
        feed, tee: of the camera.
        retired: stops branches.
        sink: takes what is counted.
    """

    def __init__(
        self,
        first: Branch,
        new_branch: NewBranch,
        feed: CameraFeed,
        tee: Tee,
        retired: RetiredBranches,
        sink: FrameSink,
    ) -> None:
        self._new_branch = new_branch
        self._feed = feed
        self._tee = tee
        self._retired = retired
        self._sink = sink
        self._machine = StateMachine("a model change", ChangeState.STEADY, _LEGAL)
        self.plan = first.plan
        """Of the branch that counts, with the lines that were drawn since."""
        self.counting = first
        self.old: Branch | None = None
        """During WARMING and OVERLAP; else None."""
        self.new: Branch | None = None
        """During WARMING and OVERLAP; else None."""
        self._router: BranchRouter | None = None
        """From WARMING to CLOSING; else None."""
        self._tail = first.outlet
        """The outlet through which everything reaches the sink."""
        self._tail_before = self._tail
        """The same before the present change."""
        feed.counting = first.feeder
        tee.attach(first.feeder)

    @property
    def state(self) -> ChangeState:
        """How far a change is."""
        return self._machine.state

    @property
    def is_changing(self) -> bool:
        """Whether there are two branches."""
        return self.state in {ChangeState.WARMING, ChangeState.OVERLAP}

    @property
    def branches(self) -> Iterator[Branch]:
        """The old branch before the new one; or the one that counts."""
        yield from [branch for branch in (self.old, self.new) if branch is not None] or [self.counting]

    @property
    def coming_lane(self) -> ModelLane:
        """Of the branch that counts, or will count when the change is done."""
        return (self.new or self.counting).lane

    # The change ------------------------------------------------------------------------------------------------------

    def begin(self, plan: CameraPlan, lane: ModelLane, spec: CountingSpec) -> None:
        """Let another version take over; only while there is one branch."""
        old = self.counting
        if old.is_silent:  # there is nothing to take over
            self._replace_silent(plan, lane, spec)
            return
        self._machine.move(ChangeState.WARMING)
        # An old branch without a run has reported no paths, so the new one reports them from its first frame.
        has_run = old.identity is not None
        new = self._new_branch(plan, lane, spec, Outlet(NullSink()), after=old.runs.name, warms_up=has_run)
        tail = Outlet(self._sink)
        router = BranchRouter(
            tail,
            lambda: shared_places(old.spec, new.spec),
            old.identity,
            self,
            waits=plan.source.playback.is_finite,
        )
        new.outlet.sink, self._tail.sink = router.new, router.old
        self._tail_before, self._tail = self._tail, tail
        self._router, self.old, self.new = router, old, new
        self._tee.attach(new.feeder)
        _log.info("model.warming_up", camera=plan.camera_id, model=lane.name, counting=old.lane.name)

    def _replace_silent(self, plan: CameraPlan, lane: ModelLane, spec: CountingSpec) -> None:
        old = self.counting
        self._tail = self._tail_before = Outlet(self._sink)
        self._router = None
        if self.state is not ChangeState.STEADY:
            self._machine.move(ChangeState.STEADY)
        self._count_with(self._new_branch(plan, lane, spec, self._tail))
        self._tee.attach(self.counting.feeder)
        self._retired.retire(old)

    def _count_with(self, branch: Branch) -> None:
        _log.info("model.changed", camera=self.plan.camera_id, model=branch.lane.name, before=self.counting.lane.name)
        # Lines that were drawn since the change began are the camera's, not those that the change began with.
        self.counting, self.plan = branch, replace(branch.plan, counting=self.plan.counting)
        self._feed.counting = branch.feeder

    def abandon(self) -> None:
        """Stay with the old version; only during WARMING."""
        router, old, new = self._router, self.old, self.new
        assert router is not None
        assert old is not None
        assert new is not None
        self._machine.move(ChangeState.STEADY)
        router.abandon()
        self._tail_before.sink, self._tail = self._sink, self._tail_before
        self._router = self.old = self.new = None
        old.keep_paths()
        self._retired.retire(new)

    def give_up(self, branch: Branch) -> bool:
        """Do without a branch that failed. Return False if it is the one that counts."""
        if branch is self.counting:
            return False
        if self.state is ChangeState.WARMING:
            self.abandon()
        else:
            self._retired.retire(branch)
        return True

    def ended(self, branch: Branch) -> None:
        """A retired branch has stopped."""
        if branch is self.counting or branch not in {self.old, self.new}:
            return
        self._machine.move(ChangeState.CLOSING)
        self.old = self.new = None
        if self._router is not None:
            self._router.old_gone()

    # From the router -------------------------------------------------------------------------------------------------

    def warm_at(self, t: float) -> None:
        """The new branch reports the paths of objects from capture time `t` on."""
        if self.old is not None:
            self.old.end_paths_at(t)

    def taken_over(self) -> None:
        """The new branch counts."""
        assert self.new is not None
        self._machine.move(ChangeState.OVERLAP)
        self._count_with(self.new)
        self.new.own_paths()

    def old_done(self) -> None:
        """The old branch is no longer needed."""
        if self.old is not None:
            self._retired.retire(self.old)

    # From the camera -------------------------------------------------------------------------------------------------

    def share(self) -> None:
        """Lines or zones have changed."""
        if self._router is not None:
            self._router.share()

    def skipped(self, branch: Branch, t: float) -> None:
        """A branch will not count the frame captured at `t`."""
        router = self._router
        if router is not None and not branch.is_retired:
            router.skipped(t, of_new=(branch is self.counting) == router.is_taken)

    def source_over(self) -> None:
        """The source is over. A branch that ends now has no successor."""
        if self._router is not None:
            self._router.is_source_over = True

    def drain(self) -> None:
        """Report all that is held back."""
        if self._router is not None:
            self._router.drain()

    def end_beside(self) -> None:
        """After the last frame: emit held events and retire the branch that is not counting."""
        self.drain()
        for branch in list(self.branches):
            if branch is not self.counting:
                self._retired.retire(branch)

    def tick(self, now: float) -> None:
        """Report what was held back for too long; called once a second with monotonic time."""
        router = self._router
        if router is None:
            return
        router.tick(now)
        if self.state is ChangeState.CLOSING and router.is_over:  # the branch reports without a detour from now on
            self.counting.outlet.sink = self._sink
            self._tail_before = self._tail = self.counting.outlet
            self._router = None
            self._machine.move(ChangeState.STEADY)
