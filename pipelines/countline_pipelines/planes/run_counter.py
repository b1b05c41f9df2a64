"""Counts one camera's frames, run after run: which tracker is at work, and what a sink learns of its beginning and end.

`runs.RunKeeper` decides to which run a frame belongs. A `RunCounter` has the counter of the present run: the first
frame of another run ends the present one and starts the next.
"""

from collections.abc import Callable

from countline_common.display import PictureShape
from countline_common.logs import get_logger
from countline_counting.counter import CameraCounter
from countline_counting.spec import CountingSpec
from countline_pipelines.planes.interface import CountedFrame, FrameSink, RunStarted
from countline_pipelines.planes.meters import Throughput
from countline_pipelines.planes.runs import BREAK_KEEPS_RUN_S, Run, RunKeeper

_log = get_logger(__name__)

NewCounter = Callable[[Run, float], CameraCounter]
"""Makes the counter of a run, given the capture time of the run's first frame."""


class RunCounter:
    """The present run of a camera and its counter; used on the plane's event loop.

    Args:
        runs: the runs of the camera.
        sink: learns of runs and frames.
        throughput: of the camera's frames; begins again with each run.
        new_counter: makes the counter of a run.
        period_s: returns the expected seconds between processed frames.
        labels: class names of the model.
        model: NAME@VERSION, for logs.
        finite: True for a finite file.
    """

    def __init__(
        self,
        runs: RunKeeper,
        sink: FrameSink,
        throughput: Throughput,
        new_counter: NewCounter,
        period_s: Callable[[], float],
        *,
        labels: tuple[str, ...],
        model: str,
        finite: bool,
    ) -> None:
        self._runs = runs
        self._sink = sink
        self._throughput = throughput
        self._new_counter = new_counter
        self._period_s = period_s
        self._labels = labels
        self._model = model
        self._finite = finite
        self.run: Run | None = None
        self.counter: CameraCounter | None = None
        self.picture: PictureShape | None = None
        """Displayed picture of the last run; None before the first."""

    def counter_for(self, run: Run, t: float) -> CameraCounter:
        """The counter of a frame's run; ends the present run and starts this one if they differ.

        Frames must come in the order in which `RunKeeper` numbered them, so that no frame of the present run is left
        when it ends.

        Args:
            run: of the frame.
            t: capture time of the frame.
        """
        if run is not self.run or self.counter is None:
            self._switch(run, t)
        assert self.counter is not None
        return self.counter

    def _switch(self, run: Run, t: float) -> None:
        if self.run is not None:
            self._close(decide=not self.run.abandoned)
        self.run, self.picture = run, PictureShape(run.size_wh, run.orientation)
        self.counter = self._new_counter(run, t)
        self._throughput.begin_run()
        identity, (width, height) = run.identity, run.size_wh
        _log.info(
            "run.started", camera=identity.camera_id, run=identity.run, size=f"{width}x{height}", model=self._model
        )
        self._sink.run_started(RunStarted(identity, run.size_wh, self._labels, self._period_s(), finite=self._finite))

    def report(self, run: Run, counted: CountedFrame) -> None:
        """Report a counted frame to the sink."""
        self._sink.frame_counted(run.identity, counted)

    def end(self, *, decide: bool) -> bool:
        """End the present run, if there is one.

        Args:
            decide: whether what is open is decided; an abandoned run is broken off instead, in any case.

        Returns:
            False while frames are in flight; then nothing changes.
        """
        if self.run is None:
            return self._runs.is_idle()
        if not self._runs.try_end(self.run):
            return False
        self._close(decide=decide and not self.run.abandoned)
        return True

    def end_at_once(self, *, decide: bool) -> None:
        """End the present run, if there is one, though frames may be in flight; the caller counts none of them."""
        if self.run is not None:
            self._close(decide=decide)

    def end_if_silent(self, now: float) -> None:
        """End the run of a live camera if no frame was counted for `BREAK_KEEPS_RUN_S` before monotonic time `now`."""
        if now - self._throughput.last_counted_at > BREAK_KEEPS_RUN_S and not self._finite:
            self.end(decide=True)

    def break_off(self, *, decide: bool) -> None:
        """End the present run, if there is one, without its counter, which crashed.

        Args:
            decide: whether what the run reported so far counts; an abandoned run's does not, in any case.
        """
        run, self.run, self.counter = self.run, None, None
        if run is not None:
            self._sink.run_ended(run.identity, () if decide and not run.abandoned else None)

    def _close(self, *, decide: bool) -> None:
        run, counter = self.run, self.counter
        self.run = self.counter = None
        assert run is not None
        assert counter is not None
        self._sink.run_ended(run.identity, counter.flush() if decide else None)

    def reconfigure(self, spec: CountingSpec) -> None:
        """Count other lines and zones from the next frame on; the tracks go on."""
        if self.counter is not None:
            self.counter.reconfigure(spec)
