"""The versions of a model that look at one camera's frames: those that count, and a follower on trial."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

from countline_common.errors import InvalidInputError
from countline_counting.rule.facts import NewListener
from countline_counting.spec import CountingSpec
from countline_pipelines.planes.health import CameraHealth
from countline_pipelines.planes.interface import (
    CameraPlan,
    CameraState,
    FollowerPlan,
    FrameSink,
    PlaneSink,
    require_classes,
)
from countline_pipelines.planes.sinks import NullSink
from countline_pipelines.planes.software.change.branch import Branch, BranchListener
from countline_pipelines.planes.software.change.change import ChangeState, ModelChange
from countline_pipelines.planes.software.change.failures import ModelFailures
from countline_pipelines.planes.software.change.outlet import Outlet
from countline_pipelines.planes.software.change.retired import RetiredBranches
from countline_pipelines.planes.software.lane.lane import ModelLane
from countline_pipelines.planes.software.source.feeder import CameraFeed
from countline_pipelines.planes.software.source.tee import Tee
from countline_pipelines.planes.software.trial.camera_trial import CameraTrial


class CameraBranches:
    """All branches of one camera; used on the plane's event loop.

    Args:
        plan: of the camera.
        lane: of its model.
        feed, tee, health: of the camera.
        listener: learns what becomes of frames.
        measured: takes what is counted.
        sink: takes the spans of trials.
        on_retired: called when a retired branch is to be stopped.
        new_listener: makes the listener of each counter of the first branch.

    Raises:
        InvalidInputError: the plan cannot be counted with.
    """

    def __init__(
        self,
        plan: CameraPlan,
        lane: ModelLane,
        feed: CameraFeed,
        tee: Tee,
        health: CameraHealth,
        listener: BranchListener,
        measured: FrameSink,
        sink: PlaneSink,
        on_retired: Callable[[], None],
        new_listener: NewListener | None,
    ) -> None:
        self._feed = feed
        self._health = health
        self._listener = listener
        self.failures = ModelFailures()
        self._retired = RetiredBranches(tee, on_retired)
        spec = require_classes(plan.counting, lane.info.labels)
        first = Branch(plan, lane, spec, feed, listener, Outlet(measured), new_listener=new_listener)
        self.change = ModelChange(first, self._new_branch, feed, tee, self._retired, measured)
        self.trial = CameraTrial(tee, self._retired, sink)

    def _new_branch(
        self,
        plan: CameraPlan,
        lane: ModelLane,
        spec: CountingSpec,
        outlet: Outlet,
        *,
        after: str = "",
        warms_up: bool = False,
    ) -> Branch:
        return Branch(plan, lane, spec, self._feed, self._listener, outlet, after=after, warms_up=warms_up)

    def __iter__(self) -> Iterator[Branch]:
        """The branches that look at frames; the older one of two that change first."""
        yield from self.change.branches
        if (follower := self.trial.follower) is not None:
            yield follower

    @property
    def counting(self) -> Branch:
        """The branch that counts."""
        return self.change.counting

    @property
    def plan(self) -> CameraPlan:
        """Of the branch that counts, with the lines that were drawn since."""
        return self.change.plan

    @property
    def lanes(self) -> list[ModelLane]:
        """Of all branches; a lane appears as often as branches use it."""
        looking = [branch for branch in self if not branch.is_retired]
        return [branch.lane for branch in (*looking, *self._retired)]

    def reconfigure(self, counting: CountingSpec) -> None:
        """Count other lines and zones from the next frame on; the tracks go on.

        Raises:
            InvalidInputError: the branch that counts cannot count with them; it keeps the old ones.
        """
        self.change.plan = replace(self.plan, counting=counting)
        unfit: InvalidInputError | None = None
        for branch in self:
            try:
                branch.reconfigure(require_classes(counting, branch.lane.info.labels))
            except InvalidInputError as error:
                unfit = error if branch is self.counting else unfit
        self.change.share()
        if unfit is not None:
            raise unfit

    # Another version takes over --------------------------------------------------------------------------------------

    @property
    def may_change(self) -> bool:
        """Whether another version may be brought now: there is something to count, and no change is past its middle."""
        is_finished = self._health.state is CameraState.FINISHED
        return not (self._health.is_crashed or is_finished or self.change.state is ChangeState.OVERLAP)

    def begin_change(self, plan: CameraPlan, lane: ModelLane) -> None:
        """Let another version take over, and end the trial; not while one takes over.

        Raises:
            InvalidInputError: the plan cannot be counted with this model.
        """
        spec = require_classes(plan.counting, lane.info.labels)
        self.trial.end()
        self.change.begin(plan, lane, spec)

    # A follower on trial ---------------------------------------------------------------------------------------------

    @property
    def may_follow(self) -> bool:
        """Whether a follower may be set beside the version that counts now."""
        return self.may_change and not self.change.is_changing

    def follow(self, plan: FollowerPlan, lane: ModelLane) -> None:
        """Begin a trial: let a second version look at the same frames; not while one takes over.

        Raises:
            InvalidInputError: the lines cannot be counted with the classes of this model.
        """
        spec = require_classes(self.plan.counting, lane.info.labels)
        follower = Branch(self.plan, lane, spec, self._feed, self._listener, Outlet(NullSink()), follows=True)
        self.trial.begin(plan, follower, self.counting)

    # What becomes of them --------------------------------------------------------------------------------------------

    def skipped(self, branch: Branch, t: float) -> None:
        """A branch will not count the frame captured at `t`, so the other one of a change must not wait for it."""
        if branch is not self.trial.follower:
            self.change.skipped(branch, t)

    def give_up(self, branch: Branch, error: Exception) -> bool:
        """Do without a branch that failed. Return False if it is the one that counts."""
        self.failures.record(branch.lane.name, error)
        if branch is not self.trial.follower:
            return self.change.give_up(branch)
        self.trial.end()
        return True

    def tick(self, now: float) -> None:
        """Do what is due; called once a second with monotonic time."""
        for branch in list(self):
            branch.tick(now)
        self.change.tick(now)

    def halt(self) -> None:
        """Send no more frames."""
        for branch in self:
            branch.halt()

    def end_runs(self, *, decide: bool) -> bool:
        """End all runs; the source is over.

        Returns:
            False while frames are in flight; the caller tries again after the next answer.
        """
        if not all(branch.runs.is_idle() for branch in self):
            return False
        self.change.source_over()
        return all(branch.end_run(decide=decide) for branch in self)

    def end_beside(self) -> None:
        """End what does not count; all frames are counted."""
        self.change.end_beside()
        self.trial.end()

    async def end_retired(self, timeout_s: float) -> list[ModelLane]:
        """Stop the retired branches, and return their lanes, which the camera no longer uses."""
        ended = self._retired.take()
        for branch in ended:
            await branch.stop(timeout_s, decide=True)
            self.change.ended(branch)
        return [branch.lane for branch in ended]

    async def stop(self, timeout_s: float) -> None:
        """Count the frames in flight. Decide open events, unless the source is a finite file."""
        self.change.source_over()
        branches = [branch for branch in self if not branch.is_retired]
        for branch in branches:
            branch.halt()
        await self.end_retired(timeout_s)
        decide = not self.plan.source.playback.is_finite
        await asyncio.gather(*(branch.stop(timeout_s, decide=decide) for branch in branches))
        self.change.drain()
        self.trial.close()
