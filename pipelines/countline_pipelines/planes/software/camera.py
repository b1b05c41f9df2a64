"""One camera of the software plane: its reader, and a branch for each model that looks at its frames.

    reader ─ tee ─┬─ branch that counts ───┬─ takeover ─ sink
                  ├─ branch to take over ──┘
                  └─ follower on trial ───── compared, thrown away

There is one branch as a rule. While another version takes over there are two, and the source stays open; the old one
ends when all that is its own is decided. A follower runs as long as a trial does. Everything but the reader's thread
happens on the plane's event loop.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from countline_common.errors import CountlineError, InvalidInputError
from countline_common.logs import get_logger
from countline_counting.explain.explainer import Journal
from countline_counting.handover import shared_places
from countline_pipelines import metrics
from countline_pipelines.planes.health import CameraHealth
from countline_pipelines.planes.interface import (
    CameraCondition,
    CameraPlan,
    CameraState,
    CountingPlan,
    Fault,
    FollowerPlan,
    OnEnd,
    PlaneSink,
    counting_spec,
    fault_of,
)
from countline_pipelines.planes.previews import PreviewWatch
from countline_pipelines.planes.sinks import MeasuredSink, NullSink
from countline_pipelines.planes.software.change.branch import Branch
from countline_pipelines.planes.software.change.outlet import Outlet
from countline_pipelines.planes.software.change.takeover import TakeOver
from countline_pipelines.planes.software.lane.lane import ModelLane
from countline_pipelines.planes.software.source.reader import ReadState, SourceReader
from countline_pipelines.planes.software.source.tee import Tee
from countline_pipelines.planes.software.trial.following import Trial
from countline_pipelines.sources import Decoding

RETRY_FAILED_S: Final = 10.0
"""How long a model that failed on this camera is not tried again."""
USUAL_FPS: Final = 25.0
MODEL_FAULT: Final = "model"
"""Code of the fault of a camera whose frames Triton refuses."""
_log = get_logger(__name__)

_STATES: Final = {
    ReadState.OPENING: CameraState.STARTING,
    ReadState.BROKEN: CameraState.RECONNECTING,
    ReadState.FAILED: CameraState.FAILED,
    ReadState.FINISHED: CameraState.FINISHED,
}


class SoftwareCamera:
    """One camera; made and used on the plane's event loop.

    Args:
        plan: what to do.
        lane: of its model.
        sink: whom to tell.
        on_end: see `OnEnd`.
        on_change: called on the loop when there are retired branches to be ended.
        once: give up at the first failure that ends the source.
        keep_pictures: hand the picture of every frame to the sink.
        journal: gets the reason of each crossing and near-crossing.
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
        journal: Journal | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        self.plan = plan
        self._sink = sink
        self._on_end = on_end
        self._on_change = on_change
        self._keep_pictures = keep_pictures
        self._loop = asyncio.get_running_loop()
        self._metrics = metrics.CameraMetrics(plan.camera_id)
        self._told = MeasuredSink(sink, plan.camera_id, self._metrics)
        self._tee = Tee(plan.source.rate, self._read_state_changed)
        self._reader = SourceReader(plan.camera_id, plan.source, self._tee, once=once, decoding=decoding)
        spec = counting_spec(plan.counting, lane.info.labels)
        self._tail = Outlet(self._told)
        """What is told of the camera comes out here."""
        self._before = self._tail
        """Where it came out before the change that is under way."""
        self._primary = Branch(plan, lane, spec, self, self._tail, journal=journal)
        self._tee.attach(self._primary.feeder)
        self._other: Branch | None = None
        """While a version takes over: the new one before the change, the old one after it."""
        self._takeover: TakeOver | None = None
        """Under way, or its new branch still has to do with it."""
        self._follower: Branch | None = None
        self._trial: Trial | None = None
        self._retired: list[Branch] = []
        self._failures: dict[str, tuple[float, CountlineError]] = {}
        """By model: when Triton or we failed on this camera's frames, and why."""
        self._health = CameraHealth(plan.camera_id, plan.source)
        self._finishing = False
        self._read_state = ReadState.OPENING
        self._watch = PreviewWatch()

    @property
    def camera_id(self) -> str:
        """The camera's id."""
        return self.plan.camera_id

    @property
    def crashed_at(self) -> float | None:
        """Monotonic time at which counting failed by a fault of ours; the camera must be made anew."""
        return self._health.crashed_at

    @property
    def lane(self) -> ModelLane:
        """Of the branch that counts."""
        return self._primary.lane

    @property
    def is_finished(self) -> bool:
        """Whether its source is over: there is nothing left to count with another model."""
        return self._health.state is CameraState.FINISHED

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    # From the reader's thread ----------------------------------------------------------------------------------------

    def wants_picture(self, branch: Branch) -> bool:
        """See `Host`."""
        if branch is not self._primary:
            return False
        return self._keep_pictures or self._watch.is_due(time.monotonic())

    def yields(self, branch: Branch) -> bool:
        """A follower does without frames as long as the branch that counts is behind."""
        return branch is self._follower and self._primary.feeder.is_behind

    def dropped(self, branch: Branch, frames: int) -> None:
        """See `Host`."""
        if branch is self._primary:
            metrics.DROPPED.labels(self.camera_id).inc(frames)

    def _read_state_changed(self, state: ReadState, error: CountlineError | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the plane has ended
            self._loop.call_soon_threadsafe(self._note_read_state, state, error)

    # On the event loop -----------------------------------------------------------------------------------------------

    def _branches(self) -> Iterator[Branch]:
        """Those that look at frames, the older one of two that change first."""
        change = [self._primary, self._other] if self._other is not None else [self._primary]
        yield from reversed(change) if self._takeover is not None and self._takeover.is_taken else change
        if self._follower is not None:
            yield self._follower

    def _note_read_state(self, state: ReadState, error: CountlineError | None) -> None:
        self._read_state = state
        if state is ReadState.PLAYING:
            return  # nothing is counted yet: see `counted`
        fault = None if error is None else fault_of(error)
        over = state is ReadState.FINISHED or (state is ReadState.FAILED and self._reader.gave_up)
        shown = self._health.state if over else _STATES[state]
        if fault is None:
            self._health.set(shown)
        else:
            self._health.lose_source(shown, fault)
        if over:
            self._finishing = True
            self._safely(self._finish_when_idle)

    def _finish_when_idle(self) -> None:
        """The source is over; its last frames may still be on their way."""
        if not all(branch.runs.is_idle() for branch in self._branches()):
            return
        if self._takeover is not None:
            self._takeover.source_is_over = True
        decide = self._read_state is ReadState.FINISHED
        if not all(branch.end_run(decide=decide) for branch in self._branches()):
            return
        self._finishing = False
        # A file that is shorter than its header states is counted to its end, and has failed all the same.
        whole = self._read_state is ReadState.FINISHED and self._health.fault is None
        self._health.state = CameraState.FINISHED if whole else CameraState.FAILED
        self._end_beside()
        self._on_end(self.plan, self._health.state)

    def _end_beside(self) -> None:
        """There are no more frames: what ran beside the branch that counts has nothing more to do."""
        if self._takeover is not None:
            self._takeover.drain()
        if self._other is not None:
            self._retire(self._other)
        self.unfollow()

    def counted(self, branch: Branch, latency_s: float, counting_s: float) -> None:
        """See `Host`."""
        if branch is not self._primary:
            return
        if self._health.state is not CameraState.RUNNING and self._is_well_again():
            self._health.set(CameraState.RUNNING)
        self._metrics.latency_s.observe(max(0.0, latency_s))
        self._metrics.counting_s.observe(counting_s)

    def _is_well_again(self) -> bool:
        """Whether a frame that is counted shows so; one that was on its way when the source broke does not."""
        if self._read_state is ReadState.FINISHED:
            return self._health.fault is not None and self._health.fault.code == MODEL_FAULT
        return self._read_state is ReadState.PLAYING and self.crashed_at is None

    def skipped(self, branch: Branch, t: float) -> None:
        """See `Host`."""
        takeover = self._takeover
        if takeover is not None and not branch.is_retired and branch is not self._follower:
            of_new = (branch is self._primary) == takeover.is_taken
            self._safely(lambda: takeover.skipped(t, of_new=of_new))

    def caught_up(self, branch: Branch) -> None:  # noqa: ARG002  (whichever it was, all of them must be idle)
        """See `Host`."""
        if self._finishing and self.crashed_at is None:
            self._safely(self._finish_when_idle)

    def fps(self) -> float:
        """See `Host`."""
        return self._tee.info.fps if self._tee.info else USUAL_FPS

    def failed(self, branch: Branch, error: Exception, *, crashed: bool) -> None:
        """See `Host`. What was to take over, or has been relieved, or follows is given up; what counts goes on."""
        if branch.is_retired:
            return
        self._failures[branch.lane.name] = (time.monotonic(), _explained(error))
        if branch is self._follower:
            self.unfollow()
            self._on_change()
        elif branch is self._other and self.is_taken:
            self._retire(branch)
        elif branch is self._other:
            self.abandon_change()
            self._on_change()
        elif crashed:
            self._crash(error)
        else:
            self._health.set(CameraState.FAILED, fault_of(error, MODEL_FAULT))

    def failure_of(self, lane: ModelLane) -> CountlineError | None:
        """Why a model is not to be tried again yet."""
        failed_at, error = self._failures.get(lane.name, (float("-inf"), None))
        return error if time.monotonic() - failed_at < RETRY_FAILED_S else None

    def _safely(self, step: Callable[[], None]) -> None:
        """Take a step that may fail by a fault of ours; that ends this camera, and no other one."""
        try:
            step()
        except Exception as error:  # noqa: BLE001  (the others' frames and ticks come after this one's)
            _log.exception("camera.crashed", camera=self.camera_id)
            self._crash(error)

    def _crash(self, error: Exception) -> None:
        self._health.crash(error)
        self._reader.stop()
        for branch in self._branches():
            branch.halt()
        self._on_end(self.plan, self._health.state)

    # Another version takes over --------------------------------------------------------------------------------------

    @property
    def is_changing(self) -> bool:
        """Whether there are two versions of which one takes over from the other."""
        return self._other is not None

    @property
    def is_taken(self) -> bool:
        """Whether the new one counts already."""
        return self._other is not None and self._takeover is not None and self._takeover.is_taken

    @property
    def may_change(self) -> bool:
        """Whether another version may be brought now: there is something to count, and no change is past its middle."""
        return self.crashed_at is None and not (self.is_finished or self.is_taken)

    @property
    def coming_lane(self) -> ModelLane:
        """Of the branch that counts, or will when the change is done."""
        return self._other.lane if self._other is not None and not self.is_taken else self._primary.lane

    def change(self, plan: CameraPlan, lane: ModelLane) -> None:
        """Have another version take over; not while one does.

        Raises:
            InvalidInputError: the plan cannot be counted with this model.
        """
        old, spec = self._primary, counting_spec(plan.counting, lane.info.labels)
        if old.is_silent:  # there is nothing to take over
            self.unfollow()
            self._tail, self._takeover = Outlet(self._told), None
            self._replace_primary(Branch(plan, lane, spec, self, self._tail))
            self._tee.attach(self._primary.feeder)
            self._retire(old)
            return
        self.unfollow()
        new = Branch(plan, lane, spec, self, Outlet(NullSink()), after=old.runs.name, warms_up=True)
        out = Outlet(self._told)
        takeover = TakeOver(
            out,
            lambda: shared_places(old.spec, new.spec),
            old.identity,
            waits=plan.source.playback.is_finite,
            on_warm_at=old.end_paths_at,
            on_taken=lambda: self._taken(new),
            on_old_done=lambda: self._retire(old),
        )
        new.sink.sink, self._tail.sink = takeover.new, takeover.old
        self._before, self._tail = self._tail, out
        self._takeover, self._other = takeover, new
        self._tee.attach(new.feeder)
        _log.info("model.warming_up", camera=self.camera_id, model=lane.name, counting=old.lane.name)

    def _taken(self, new: Branch) -> None:
        self._other = self._primary
        self._replace_primary(new)
        new.own()

    def _replace_primary(self, new: Branch) -> None:
        _log.info("model.changed", camera=self.camera_id, model=new.lane.name, before=self._primary.lane.name)
        # Lines that were drawn since the change began are the camera's, not those that it began with.
        self._primary, self.plan = new, replace(new.plan, counting=self.plan.counting)

    def abandon_change(self) -> None:
        """Leave it at the version that counts; before the change only."""
        takeover, new = self._takeover, self._other
        assert takeover is not None
        assert not takeover.is_taken
        assert new is not None
        takeover.abandon()
        self._before.sink, self._tail = self._told, self._before
        self._takeover = self._other = None
        self._primary.keep_paths()
        self._retire(new)

    def _retire(self, branch: Branch) -> None:
        """Hand a branch no frame any more; `end_retired` ends it."""
        branch.halt()
        self._tee.detach(branch.feeder)
        if not branch.is_retired:
            branch.is_retired = True
            self._retired.append(branch)
            self._on_change()

    async def end_retired(self, timeout_s: float) -> list[ModelLane]:
        """End the branches that are not needed any more; returns their lanes, which the camera has left."""
        ended, self._retired = self._retired, []
        for branch in ended:
            await branch.stop(timeout_s, decide=True)
            if branch is self._other:
                self._other = None
                if self._takeover is not None:
                    self._takeover.old_gone()
        return [branch.lane for branch in ended]

    def _settle(self) -> None:
        """Once a change has no more to do with what is counted, the branch tells it without a detour."""
        if self._takeover is not None and self._other is None and self._takeover.is_over:
            self._primary.sink.sink = self._told
            self._before = self._tail = self._primary.sink
            self._takeover = None

    # A follower on trial ---------------------------------------------------------------------------------------------

    @property
    def follower_plan(self) -> FollowerPlan | None:
        """What follows now."""
        return self._trial.plan if self._trial is not None else None

    @property
    def may_follow(self) -> bool:
        """Whether a version may be set beside the one that counts now."""
        return self.may_change and not self.is_changing

    def follow(self, plan: FollowerPlan, lane: ModelLane) -> None:
        """Have a second version look at the same frames; not while one takes over.

        Raises:
            InvalidInputError: the lines cannot be counted with its classes.
        """
        spec = counting_spec(self.plan.counting, lane.info.labels)
        self._trial = Trial(self.camera_id, plan, self._primary.lane.name, lane.name, self._sink)
        self._follower = Branch(self.plan, lane, spec, self, Outlet(NullSink()))
        self._follower.sink.ear, self._primary.sink.ear = self._trial.following, self._trial.counting
        self._tee.attach(self._follower.feeder)
        _log.info("trial.following", camera=self.camera_id, trial=plan.trial_id, model=lane.name)

    def unfollow(self) -> None:
        """End the trial here."""
        follower, trial = self._follower, self._trial
        self._follower = self._trial = None
        if follower is None or trial is None:
            return
        trial.finish()
        self._primary.sink.ear, follower.sink.ear = NullSink(), NullSink()
        self._retire(follower)
        _log.info("trial.left", camera=self.camera_id, trial=trial.plan.trial_id)

    # -----------------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Once a second: end the run of a camera that has been silent for too long."""
        if self.crashed_at is None:
            self._safely(lambda: self._tick(now))

    def _tick(self, now: float) -> None:
        for branch in list(self._branches()):
            branch.tick(now)
        if self._takeover is not None:
            self._takeover.tick(now)
        self._settle()

    def reconfigure(self, counting: CountingPlan) -> None:
        """Count other lines and zones from the next frame on; the tracks go on.

        Raises:
            InvalidInputError: the branch that counts cannot count with them; there the old ones stay.
        """
        self.plan = replace(self.plan, counting=counting)
        unfit: InvalidInputError | None = None
        for branch in self._branches():
            try:
                branch.reconfigure(counting_spec(counting, branch.lane.info.labels))
            except InvalidInputError as error:
                unfit = error if branch is self._primary else unfit
        if self._takeover is not None:
            self._takeover.share()
        if unfit is not None:
            raise unfit

    def watch(self, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        self._watch.watch(until)

    def set_paused(self, fault: Fault | None) -> None:
        """Take no more frames, and say why; None: go on."""
        self._health.paused = fault
        if fault is None:
            self._reader.resume()
        else:
            self._reader.pause()

    @property
    def lanes(self) -> list[ModelLane]:
        """What its branches use, each as often as there are branches."""
        looking = [branch for branch in self._branches() if not branch.is_retired]
        return [branch.lane for branch in (*looking, *self._retired)]

    async def stop(self, timeout_s: float) -> None:
        """Stop reading, count what is with Triton, and decide what is open, except of a finite file."""
        self._reader.stop()
        if self._takeover is not None:
            self._takeover.source_is_over = True
        branches = [branch for branch in self._branches() if not branch.is_retired]
        for branch in branches:
            branch.halt()
        await self.end_retired(timeout_s)
        decide = not self.plan.source.playback.is_finite
        await asyncio.gather(*(branch.stop(timeout_s, decide=decide) for branch in branches))
        if self._takeover is not None:
            self._takeover.drain()
        if self._trial is not None:
            self._trial.finish()

    def condition(self) -> CameraCondition:
        """The camera at this moment."""
        branch, info, follower = self._primary, self._tee.info, self._follower
        duration_s = float(info.duration_s) if info and info.duration_s else 0.0
        return self._health.condition(
            branch.throughput,
            self._tee.meter,
            size_wh=branch.size_wh or ((info.width, info.height) if info else (0, 0)),
            progress=min(1.0, self._tee.position_s / duration_s) if duration_s else 0.0,
            model=branch.lane.name,
            follower_model=follower.lane.name if follower is not None else "",
            trouble=branch.lane.trouble,
        )


def _explained(error: Exception) -> CountlineError:
    if isinstance(error, CountlineError):
        return error
    fault = fault_of(error)
    return CountlineError(fault.message, hint=fault.hint)
