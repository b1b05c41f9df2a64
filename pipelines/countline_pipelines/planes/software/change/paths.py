"""Which part of the paths of objects a branch reports, so that each moment is on the paths of one branch only."""

from countline_counting.counter import CameraCounter
from countline_counting.rules import WARM_UP_S


class PathShare:
    """The time in which a branch reports paths; in capture time.

    Args:
        warms_up: True for a branch that will take over: it reports no paths until `WARM_UP_S` after its run began.
    """

    def __init__(self, *, warms_up: bool) -> None:
        self._warms_up = warms_up
        self._begin_at: float | None = None
        self._end_at = float("inf")

    @property
    def are_of_another(self) -> bool:
        """Whether another branch reports the paths, until `own` is called."""
        return self._warms_up

    def begin_run(self, t: float) -> bool:
        """A run begins at `t`. Return whether its counter reports paths from its first frame on."""
        self._begin_at = t + WARM_UP_S if self._warms_up else None
        return not self._warms_up

    def advance(self, counter: CameraCounter, t: float) -> None:
        """Begin or end the counter's paths if that is due at the frame captured at `t`; called before it is counted."""
        if self._begin_at is not None and t >= self._begin_at:
            self._begin_at = None
            counter.begin_paths()
        if t >= self._end_at:
            self._end_at = float("inf")
            counter.end_paths()

    def own(self, counter: CameraCounter | None) -> None:
        """From now on, all paths are the branch's: runs that begin later do not warm up."""
        self._warms_up = False
        if self._begin_at is not None and counter is not None:  # it counts before it is warm, and no other branch does
            self._begin_at = None
            counter.begin_paths()

    def end_at(self, t: float, counter: CameraCounter | None) -> None:
        """End the paths before the frame captured at `t`: another branch reports them from there on."""
        self.keep(counter)
        self._end_at = t

    def keep(self, counter: CameraCounter | None) -> None:
        """Undo `end_at`."""
        self._end_at = float("inf")
        if counter is not None:
            counter.begin_paths()
