"""The trial on one camera: at most one at a time."""

from countline_pipelines.planes.interface import FollowerPlan, PlaneSink
from countline_pipelines.planes.software.change.branch import Branch
from countline_pipelines.planes.software.change.retired import RetiredBranches
from countline_pipelines.planes.software.source.tee import Tee
from countline_pipelines.planes.software.trial.run import TrialRun


class CameraTrial:
    """Lets a follower look at a camera's frames, and takes it away again; used on the plane's event loop.

    Args:
        tee: hands pictures to the follower.
        retired: takes the follower at the end of its trial.
        sink: takes the spans.
    """

    def __init__(self, tee: Tee, retired: RetiredBranches, sink: PlaneSink) -> None:
        self._tee = tee
        self._retired = retired
        self._sink = sink
        self._run: TrialRun | None = None

    @property
    def plan(self) -> FollowerPlan | None:
        """Of the present trial; None without one."""
        return self._run.plan if self._run is not None else None

    @property
    def follower(self) -> Branch | None:
        """The branch on trial; None without a trial."""
        return self._run.follower if self._run is not None else None

    def begin(self, plan: FollowerPlan, follower: Branch, counting: Branch) -> None:
        """Let a follower look at the frames, and compare it with the branch that counts."""
        self._run = TrialRun(plan, follower, counting, self._sink)
        self._tee.attach(follower.feeder)

    def end(self) -> None:
        """End the trial, if there is one, and retire its follower."""
        follower = self.follower
        self.close()
        if follower is not None:
            self._retired.retire(follower)

    def close(self) -> None:
        """End the trial, if there is one; the caller has stopped its follower."""
        run, self._run = self._run, None
        if run is not None:
            run.end()
