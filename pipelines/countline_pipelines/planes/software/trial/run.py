"""A trial on one camera: a second version on the same frames, whose counts are compared and thrown away.

    reader ─ tee ─┬─ branch that counts ─┬─ sink
                  │                      └─ observer ─┐
                  └─ follower ─ observer ─────────────┴─ comparison ─ spans ─ sink

An observer passes what its branch counts to the comparison.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

from countline_common.logs import get_logger
from countline_counting.events import Event
from countline_counting.identity import Identity
from countline_counting.trials import TrialComparison, TrialRole, TrialSpan
from countline_pipelines.planes.interface import CountedFrame, FollowerPlan, PlaneSink, RunStarted
from countline_pipelines.planes.sinks import NullSink
from countline_pipelines.planes.software.change.branch import Branch
from countline_pipelines.planes.states import StateMachine

_log = get_logger(__name__)


class TrialState(StrEnum):
    """How a trial is."""

    COMPARING = "comparing"
    BROKEN = "broken"
    """Comparing crashed; the follower goes on without a comparison."""
    ENDED = "ended"


_LEGAL: Final = {
    TrialState.COMPARING: frozenset({TrialState.BROKEN, TrialState.ENDED}),
    TrialState.BROKEN: frozenset({TrialState.ENDED}),
    TrialState.ENDED: frozenset[TrialState](),
}


class TrialRun:
    """One trial on one camera, from its first frame to its last; used on the plane's event loop.

        COMPARING ──a crash of the comparison──> BROKEN
            └──end──> ENDED <──end──────────────────┘

    Args:
        plan: of the trial.
        follower: the branch on trial; its outlet leads nowhere.
        counting: the branch that counts.
        sink: takes the spans.
    """

    def __init__(self, plan: FollowerPlan, follower: Branch, counting: Branch, sink: PlaneSink) -> None:
        self.plan = plan
        self.follower = follower
        self._counting = counting
        self._camera_id = follower.plan.camera_id
        self._sink = sink
        self._machine = StateMachine("a trial", TrialState.COMPARING, _LEGAL)
        role = TrialRole.CHALLENGER if plan.is_challenger else TrialRole.INCUMBENT
        models = {role: follower.lane.name, role.other: counting.lane.name}
        self._comparison = TrialComparison(plan.trial_id, models, role.other)
        follower.outlet.observer = TrialObserver(self, role)
        counting.outlet.observer = TrialObserver(self, role.other)
        _log.info("trial.following", camera=self._camera_id, trial=plan.trial_id, model=follower.lane.name)

    @property
    def state(self) -> TrialState:
        """How the trial is."""
        return self._machine.state

    def frame_counted(self, role: TrialRole, t: float, events: Sequence[Event]) -> None:
        """One of the two versions counted the frame captured at `t`."""
        self._compare(lambda: self._comparison.frame(role, t, events))

    def run_ended(self, role: TrialRole, events: Sequence[Event] | None) -> None:
        """A run of one of the two versions ended."""
        self._compare(lambda: self._comparison.run_ended(role, events))

    def end(self) -> None:
        """Report the last spans and stop comparing; the caller stops the follower."""
        self._compare(self._comparison.finish)
        self._machine.move(TrialState.ENDED)
        self._counting.outlet.observer = self.follower.outlet.observer = NullSink()
        _log.info("trial.left", camera=self._camera_id, trial=self.plan.trial_id)

    def _compare(self, step: Callable[[], Iterable[TrialSpan]]) -> None:
        if self.state is not TrialState.COMPARING:
            return
        try:
            for span in step():
                self._sink.span_compared(self._camera_id, span)
        except Exception:  # noqa: BLE001  (what is wrong with a trial must not stop the count)
            _log.exception("trial.crashed", camera=self._camera_id, trial=self.plan.trial_id)
            self._machine.move(TrialState.BROKEN)


class TrialObserver:
    """A `FrameSink` that passes what one branch counts to the trial."""

    def __init__(self, trial: TrialRun, role: TrialRole) -> None:
        self._trial = trial
        self._role = role

    def run_started(self, run: RunStarted) -> None:
        """Do nothing: the run's first frame shows its start."""

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:  # noqa: ARG002
        """Pass the frame on."""
        self._trial.frame_counted(self._role, counted.result.tracked.t, counted.result.events)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """Do nothing: a branch decides all events of a run with the run's frames or at its end."""

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:  # noqa: ARG002
        """Pass the end on."""
        self._trial.run_ended(self._role, events)
