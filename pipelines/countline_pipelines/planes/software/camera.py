"""One camera of the software plane: its source, and the branches that look at its frames.

    source: reader ─ tee ─┬─ change: one branch that counts, or two and a router ─ sink
                          └─ trial: a follower ───────────────────────── compared, thrown away

`SourceState`, `ModelChange` and `TrialRun` have a table of their states each; the camera passes events between them.
Everything but the reader's thread happens on the plane's event loop.
"""

from collections.abc import Callable

from countline_common.logs import get_logger
from countline_counting.rule.facts import NewListener
from countline_pipelines import metrics
from countline_pipelines.planes.health import CameraHealth
from countline_pipelines.planes.interface import (
    CameraCondition,
    CameraPlan,
    Fault,
    OnEnd,
    PlaneSink,
)
from countline_pipelines.planes.previews import PreviewWatch
from countline_pipelines.planes.sinks import MeasuredSink
from countline_pipelines.planes.software.branches import CameraBranches
from countline_pipelines.planes.software.change.branch import Branch
from countline_pipelines.planes.software.lane.lane import ModelLane
from countline_pipelines.planes.software.source.feeder import CameraFeed
from countline_pipelines.planes.software.source.state import SourcePhase, SourceState
from countline_pipelines.sources import Decoding

_log = get_logger(__name__)


class SoftwareCamera:
    """One camera, and the `BranchListener` of its branches; made and used on the plane's event loop.

    Args:
        plan: what to do.
        lane: of its model.
        sink: takes what is counted.
        on_end: called when the source is over, or the camera gives up.
        on_change: called on the loop when a retired branch is to be stopped.
        once: give up at the first failure that ends the source.
        keep_pictures: hand the picture of every frame to the sink.
        new_listener: makes the listener of each counter that counts for the camera.
        decoding: what may decode.

    Raises:
        InvalidInputError: the plan cannot be counted with.
    """

    def __init__(
        self,
        plan: CameraPlan,
        lane: ModelLane,
        sink: PlaneSink,
        on_end: OnEnd,
        on_change: Callable[[], None],
        *,
        once: bool,
        keep_pictures: bool,
        new_listener: NewListener | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        self.camera_id = plan.camera_id
        self._on_end = on_end
        self._metrics = metrics.CameraMetrics(plan.camera_id)
        self._health = CameraHealth(plan.camera_id, plan.source)
        self._previews = PreviewWatch(keep_all=keep_pictures)
        feed = CameraFeed(plan.camera_id, self._previews)
        self._source = SourceState(
            plan.source, feed, self._health, self._finish_safely, once=once, decoding=decoding, picture=plan.picture
        )
        measured = MeasuredSink(sink, self._metrics)
        self.branches = CameraBranches(
            plan, lane, feed, self._source.tee, self._health, self, measured, sink, on_change, new_listener
        )

    @property
    def plan(self) -> CameraPlan:
        """What the camera does now: the plan of the branch that counts, with the lines that were drawn since."""
        return self.branches.plan

    @property
    def crashed_at(self) -> float | None:
        """Monotonic time at which a bug in Countline stopped this camera; None while it runs.

        The plane then creates the camera again.
        """
        return self._health.crashed_at

    # From the plane --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read."""
        self._source.start()

    async def stop(self, timeout_s: float) -> None:
        """Stop reading. Count the frames in flight. Decide open events, unless the source is a finite file."""
        self._source.stop()
        await self.branches.stop(timeout_s)

    def tick(self, now: float) -> None:
        """End the run of a camera that was silent for too long; called once a second with monotonic time."""
        if not self._health.is_crashed:
            self._safely(lambda: self.branches.tick(now))

    def redrawn(self) -> None:
        """The lines are other ones, or have other versions: drop a warning that the picture changed."""
        self._source.redrawn()

    def watch(self, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        self._previews.watch(until)

    def set_paused(self, fault: Fault | None) -> None:
        """Take no more frames for this reason; None: go on."""
        self._health.paused = fault
        self._source.set_paused(paused=fault is not None)

    def condition(self) -> CameraCondition:
        """The camera at this moment; may be called from any thread."""
        branch, follower = self.branches.counting, self.branches.trial.follower
        return self._health.condition(
            branch.throughput,
            self._source.tee.meter,
            picture=self._source.picture,
            progress=self._source.progress,
            model=branch.lane.name,
            follower_model=follower.lane.name if follower is not None else "",
            trouble=branch.lane.trouble,
            warnings=(*self._source.warnings, *self._source.tee.stamps.warnings),
        )

    # What becomes of frames ------------------------------------------------------------------------------------------

    def frame_counted(self, branch: Branch, latency_s: float, counting_s: float) -> None:
        """Show that the camera runs, and measure."""
        if branch is not self.branches.counting:
            return
        self._source.frame_counted()
        self._metrics.latency_s.observe(max(0.0, latency_s))
        self._metrics.counting_s.observe(counting_s)

    def frame_skipped(self, branch: Branch, t: float) -> None:
        """Stop waiting for the frame."""
        self._safely(lambda: self.branches.skipped(branch, t))

    def answer_handled(self, branch: Branch) -> None:  # noqa: ARG002  (all branches must be idle, not only this one)
        """End the runs if the source is over and this was the last answer."""
        if self._source.is_over and not self._health.is_crashed:
            self._finish_safely()

    def branch_failed(self, branch: Branch, error: Exception, *, crashed: bool) -> None:
        """Drop a failed branch that does not count. A crash of the branch that counts ends the camera."""
        if branch.is_retired or self.branches.give_up(branch, error):
            return
        if crashed:
            self._crash(error)
        else:
            self._source.frame_refused(error)

    # The end ---------------------------------------------------------------------------------------------------------

    def _finish_safely(self) -> None:
        self._safely(self._finish_when_idle)

    def _finish_when_idle(self) -> None:
        """End the camera's work if the source is over and no frame is in flight."""
        if not self.branches.end_runs(decide=self._source.phase is SourcePhase.ENDED):
            return
        self._source.drained()
        self.branches.end_beside()
        self._on_end(self.plan, self._health.state)

    def _safely(self, step: Callable[[], None]) -> None:
        """Run a step. An exception ends this camera only."""
        try:
            step()
        except Exception as error:  # noqa: BLE001  (the frames and ticks of other cameras come after this one's)
            _log.exception("camera.crashed", camera=self.camera_id)
            self._crash(error)

    def _crash(self, error: Exception) -> None:
        self._health.crash(error)
        self._source.stop()
        self.branches.halt()
        self._on_end(self.plan, self._health.state)
