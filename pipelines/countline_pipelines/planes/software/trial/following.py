"""A trial on one camera: the branch that counts and its follower, each heard as it counts, compared span by span."""

from collections.abc import Callable, Iterable, Sequence

from countline_common.logs import get_logger
from countline_counting.events import Event
from countline_counting.identity import Identity
from countline_counting.trials import TrialComparison, TrialRole, TrialSpan
from countline_pipelines.planes.interface import CountedFrame, FollowerPlan, PlaneSink, RunStarted

_log = get_logger(__name__)


class Trial:
    """Hears two branches.

    Args:
        camera_id: of both.
        plan: of the follower.
        counting_model, following_model: as NAME@VERSION.
        sink: told of the spans.
    """

    def __init__(
        self, camera_id: str, plan: FollowerPlan, counting_model: str, following_model: str, sink: PlaneSink
    ) -> None:
        self.plan = plan
        self._camera_id = camera_id
        self._sink = sink
        following = TrialRole.CHALLENGER if plan.is_challenger else TrialRole.INCUMBENT
        models = {following: following_model, following.other: counting_model}
        self._comparison = TrialComparison(plan.trial_id, models, following.other)
        self._broken = False
        self.counting = Ear(self, following.other)
        self.following = Ear(self, following)

    def frame(self, role: TrialRole, t: float, events: Sequence[Event]) -> None:
        """Take a counted frame."""
        self._tell(lambda: self._comparison.frame(role, t, events))

    def run_ended(self, role: TrialRole, events: Sequence[Event] | None) -> None:
        """Take the end of a run."""
        self._tell(lambda: self._comparison.run_ended(role, events))

    def finish(self) -> None:
        """Tell what is left to tell."""
        self._tell(self._comparison.finish)

    def _tell(self, step: Callable[[], Iterable[TrialSpan]]) -> None:
        if self._broken:
            return
        try:
            for span in step():
                self._sink.span_compared(self._camera_id, span)
        except Exception:  # noqa: BLE001  (what is wrong with a trial must not stop the count)
            _log.exception("trial.crashed", camera=self._camera_id, trial=self.plan.trial_id)
            self._broken = True


class Ear:
    """Hears one of the two; a `FrameSink`."""

    def __init__(self, trial: Trial, role: TrialRole) -> None:
        self._trial = trial
        self._role = role

    def run_started(self, run: RunStarted) -> None:
        """Its first frame says so."""

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:  # noqa: ARG002
        """See `FrameSink`."""
        self._trial.frame(self._role, counted.result.tracked.t, counted.result.events)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """No branch says this by itself."""

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:  # noqa: ARG002
        """See `FrameSink`."""
        self._trial.run_ended(self._role, events)
