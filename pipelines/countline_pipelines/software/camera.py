"""One camera of the software plane: its reader, its feeder, its runs, its counter.

Everything but the reader's thread happens on the plane's event loop. Answers may come out of order, since several
requests are in flight; they are put back into the order in which the frames were sent.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_pipelines import metrics
from countline_pipelines.counting import CameraCounter, Crossing
from countline_pipelines.counting.explain import Journal
from countline_pipelines.plane import (
    CameraCondition,
    CameraPlan,
    CameraState,
    CountedFrame,
    CountingPlan,
    Fault,
    PlaneSink,
    RunStarted,
    counting_spec,
    fault_of,
)
from countline_pipelines.software.feeder import Feeder
from countline_pipelines.software.lane import ModelLane, Ticket
from countline_pipelines.software.meters import LatencyMeter, RateMeter
from countline_pipelines.software.reader import ReadState, SourceReader
from countline_pipelines.software.runs import BREAK_KEEPS_RUN_S, Run, RunKeeper
from countline_pipelines.sources import Playback
from countline_pipelines.tracking import TrackerSettings
from countline_pipelines.types import DetectionFrame

PREVIEW_EVERY_S: Final = 0.2
MEASURE_EVERY_S: Final = 0.8
SILENT_S: Final = 5.0
"""A live camera without a frame for so long is not running, whatever its reader believes."""
_log = get_logger(__name__)

_STATES: Final = {
    ReadState.OPENING: CameraState.STARTING,
    ReadState.PLAYING: CameraState.RUNNING,
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
        on_end: called on the loop when a finite file is finished, or the camera gives up.
        once: give up at the first failure that ends the source.
        keep_pictures: hand the picture of every frame to the sink.
        journal: gets the reason of each crossing and near-crossing.

    Raises:
        InvalidInputError: the plan cannot be counted with.
    """

    def __init__(
        self,
        plan: CameraPlan,
        lane: ModelLane,
        sink: PlaneSink,
        on_end: Callable[[str], None],
        *,
        once: bool,
        keep_pictures: bool,
        journal: Journal | None = None,
    ) -> None:
        self.plan = plan
        self.lane = lane
        self._sink = sink
        self._on_end = on_end
        self._keep_pictures = keep_pictures
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._spec = counting_spec(plan.counting, lane.info.labels)
        self._runs = RunKeeper(plan.camera_id, plan.epoch, plan.run)
        self._stop = threading.Event()
        self._feeder = Feeder(
            self, plan.source, lane, self._runs, self._stop, self._wants_picture, self._read_state_changed
        )
        self._reader = SourceReader(plan.camera_id, plan.source, self._feeder, once=once)
        self._sequence = 0
        self._expected = 0
        self._early: dict[int, tuple[Ticket, NDArray[np.float32]] | None] = {}
        self._run: Run | None = None
        self._size_wh: tuple[int, int] | None = None
        self._counter: CameraCounter | None = None
        self._state = CameraState.STARTING
        self._fault: Fault | None = None
        self.crashed = False
        """Counting failed by a fault of ours; the camera must be made anew."""
        self._crashed_at = 0.0
        self._finishing = False
        self._drained = asyncio.Event()
        self._paused: Fault | None = None
        self._read_state = ReadState.OPENING
        self._watched_until = 0.0
        self._picture_at = 0.0
        self._processed_meter = RateMeter()
        self._latency_meter = LatencyMeter()
        self._measured_at = 0.0
        self._measures = (0.0, 0.0, 0.0)
        self._processed = 0
        self._dropped_before_run = 0
        self._metrics = metrics.CameraMetrics(plan.camera_id)
        self._last_counted_at = time.monotonic()
        self._last_t: float | None = None

    @property
    def camera_id(self) -> str:
        """The camera's id."""
        return self.plan.camera_id

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    # From the reader's thread ----------------------------------------------------------------------------------------

    def _wants_picture(self, _: float) -> bool:
        if self._keep_pictures:
            return True
        now = time.monotonic()
        if now > self._watched_until or now - self._picture_at < PREVIEW_EVERY_S:
            return False
        self._picture_at = now
        return True

    def _read_state_changed(self, state: ReadState, error: CountlineError | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the plane has ended
            self._loop.call_soon_threadsafe(self._note_read_state, state, error)

    # On the event loop -----------------------------------------------------------------------------------------------

    def _note_read_state(self, state: ReadState, error: CountlineError | None) -> None:
        self._read_state = state
        self._fault = None if error is None else fault_of(error)
        if self._fault is not None:
            metrics.SOURCE_FAILURES.labels(self.camera_id, self._fault.code).inc()
        if state is ReadState.FINISHED or (state is ReadState.FAILED and self._reader.gave_up):
            self._finishing = True
            self._finish_when_idle()
        else:
            self._state = _STATES[state]

    def _finish_when_idle(self) -> None:
        """The source is over; its last frames may still be on their way."""
        if not self._runs.is_idle() or not self._end_run(decide=self._read_state is ReadState.FINISHED):
            return
        self._finishing = False
        self._state = _STATES[self._read_state]
        if self._fault is not None and self._read_state is ReadState.FINISHED:
            self._state = CameraState.FAILED
        self._on_end(self.camera_id)

    def next_sequence(self) -> int:
        """Number of the next frame that sets out to Triton."""
        self._sequence += 1
        return self._sequence - 1

    def arrived(self, ticket: Ticket, detections: NDArray[np.float32]) -> None:
        """Count a frame, once those before it have been."""
        self._early[ticket.sequence] = (ticket, detections)
        self._feeder.landed()
        self._catch_up()

    def refused(self, ticket: Ticket, error: CountlineError) -> None:
        """Do without a frame that Triton refuses, and say so."""
        self._early[ticket.sequence] = None
        self._runs.leave(ticket.run)
        self._feeder.landed()
        self._fault, self._state = Fault("model", error.message, error.cure), CameraState.FAILED
        self._catch_up()

    def _catch_up(self) -> None:
        while self._expected in self._early:
            answer = self._early.pop(self._expected)
            self._expected += 1
            if answer is not None:
                self._count_safely(*answer)
        if self._finishing:
            self._finish_when_idle()
        if self._stop.is_set() and self._runs.is_idle():
            self._drained.set()

    def _count_safely(self, ticket: Ticket, detections: NDArray[np.float32]) -> None:
        try:
            if not self.crashed:
                self._count(ticket, detections)
        except Exception as error:  # noqa: BLE001  (one camera's crash must not take the others' answers with it)
            _log.exception("camera.crashed", camera=self.camera_id)
            self._crash(error)
        finally:
            self._runs.leave(ticket.run)

    @property
    def crashed_for_s(self) -> float:
        """Seconds since the crash."""
        return time.monotonic() - self._crashed_at if self.crashed else 0.0

    def _crash(self, error: Exception) -> None:
        self.crashed, self._crashed_at = True, time.monotonic()
        self._fault, self._state = fault_of(error), CameraState.FAILED
        self._reader.stop()
        self._stop.set()
        self._on_end(self.camera_id)

    def _count(self, ticket: Ticket, detections: NDArray[np.float32]) -> None:
        if ticket.run is not self._run:
            self._switch_run(ticket.run)
        assert self._counter is not None
        rows = ticket.box.to_source(detections[detections[:, 4] > 0])
        frame = DetectionFrame(self.camera_id, ticket.index, ticket.t, ticket.run.size_wh, rows)
        began = time.monotonic()
        result = self._counter.update(frame)
        self._note_counted(ticket, began)
        crossings = sum(isinstance(event, Crossing) for event in result.events)
        if crossings:
            self._metrics.crossings.inc(crossings)
        self._sink.frame_counted(ticket.run.identity, CountedFrame(result, ticket.dropped, ticket.picture))

    def _note_counted(self, ticket: Ticket, began: float) -> None:
        now = time.monotonic()
        live = not self.plan.source.playback.is_finite
        latency_s = time.time() - ticket.t if live else now - ticket.taken_at
        self._latency_meter.note(now, latency_s)
        self._processed_meter.tick(now)
        self._processed += 1
        self._last_counted_at, self._last_t = now, ticket.t
        if self._state in {CameraState.STARTING, CameraState.RECONNECTING}:
            self._state, self._fault = CameraState.RUNNING, None
        self._metrics.frames.inc()
        self._metrics.latency_s.observe(max(0.0, latency_s))
        self._metrics.counting_s.observe(now - began)

    def _switch_run(self, run: Run) -> None:
        if self._run is not None:
            # Frames are counted in the order they were sent, so none of the old run is on its way any more.
            self._close_counter(decide=not self._run.abandoned)
        self._run, self._size_wh = run, run.size_wh
        tracking = TrackerSettings(high_score=self.lane.info.score_threshold)
        self._counter = CameraCounter(run.identity, self._spec, tracking, journal=self._journal, trajectories=True)
        self._processed, self._dropped_before_run = 0, self._feeder.dropped
        metrics.RUNS.labels(self.camera_id).inc()
        _log.info("run.started", camera=self.camera_id, run=run.identity.run, size=f"{run.size_wh[0]}x{run.size_wh[1]}")
        source = self.plan.source
        self._sink.run_started(
            RunStarted(run.identity, run.size_wh, self.lane.info.labels, self._period_s(), source.playback.is_finite)
        )

    def _period_s(self) -> float:
        fps = self._feeder.info.fps if self._feeder.info else 25.0
        rate = self.plan.source.rate
        return 1.0 / (min(rate, fps) if rate > 0 else fps)

    def _end_run(self, *, decide: bool) -> bool:
        """End the present run; false while it has frames on their way."""
        if self._run is None:
            return True
        if not self._runs.try_end(self._run):
            return False
        self._close_counter(decide=decide and not self._run.abandoned)
        return True

    def _close_counter(self, *, decide: bool) -> None:
        assert self._run is not None
        assert self._counter is not None
        self._sink.run_ended(self._run.identity, self._counter.flush() if decide else None)
        self._run, self._counter = None, None

    def tick(self) -> None:
        """Once a second: end the run of a camera that has been silent for too long."""
        silent_s = time.monotonic() - self._last_counted_at
        broken = self._paused is not None or self._read_state is not ReadState.OPENING
        if broken and silent_s > BREAK_KEEPS_RUN_S and not self.plan.source.playback.is_finite:
            self._end_run(decide=True)

    def reconfigure(self, counting: CountingPlan) -> None:
        """Count other lines and zones from the next frame on; the tracks go on.

        Raises:
            InvalidInputError: they cannot be counted with; the old ones stay.
        """
        self._spec = counting_spec(counting, self.lane.info.labels)
        if self._counter is not None:
            self._counter.reconfigure(self._spec)

    def watch(self, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        self._watched_until = until

    def pause(self, fault: Fault) -> None:
        """Take no more frames, and say why."""
        self._paused = fault
        self._reader.pause()

    def resume(self) -> None:
        """Go on."""
        self._paused = None
        self._reader.resume()

    async def stop(self, timeout_s: float) -> None:
        """Stop reading, count what is with Triton, and decide what is open, except of a finite file."""
        self._stop.set()
        self._reader.stop()
        for ticket in self.lane.batcher.drop_all(self.camera_id):
            self._runs.leave(ticket.run)
            self._feeder.landed()
        if not self._runs.is_idle():
            with suppress(TimeoutError):  # Triton is away: what it has is given up
                await asyncio.wait_for(self._drained.wait(), timeout_s)
        if self._run is not None and not self.crashed:
            self._close_counter(decide=not self.plan.source.playback.is_finite)

    def condition(self) -> CameraCondition:
        """The camera at this moment."""
        now = time.monotonic()
        state, fault = self._shown_state(now)
        info = self._feeder.info
        size = self._size_wh or ((info.width, info.height) if info else (0, 0))
        duration = float(info.duration_s) if info and info.duration_s else 0.0
        finite = self.plan.source.playback.is_finite
        progress = min(1.0, self._feeder.position_s / duration) if finite and duration else 0.0
        source_fps, processed_fps, latency_s = self._measured(now)
        return CameraCondition(
            state=state,
            fault=fault,
            size_wh=size,
            source_fps=source_fps,
            processed_fps=processed_fps,
            latency_s=latency_s,
            frames_processed=self._processed,
            frames_dropped=self._feeder.dropped - self._dropped_before_run,
            last_frame_at=self._last_t,
            progress=1.0 if state is CameraState.FINISHED else progress,
        )

    def _measured(self, now: float) -> tuple[float, float, float]:
        """Rates and latency; worked out anew every `MEASURE_EVERY_S`, since states are asked for more often."""
        if now - self._measured_at > MEASURE_EVERY_S:
            self._measured_at = now
            rates = (self._feeder.source_meter.rate(now), self._processed_meter.rate(now))
            self._measures = (*rates, self._latency_meter.p95_s(now))
        return self._measures

    def _shown_state(self, now: float) -> tuple[CameraState, Fault | None]:
        if self._paused is not None and self._state is not CameraState.FINISHED:
            return CameraState.FAILED, self._paused
        if self._state is CameraState.RUNNING and now - self._last_counted_at > SILENT_S:
            if self.lane.trouble is not None:
                return CameraState.RECONNECTING, fault_of(self.lane.trouble)
            if self.plan.source.playback is Playback.LIVE:
                silence = f"{self.plan.source.label}: no picture for {now - self._last_counted_at:.0f} s"
                return CameraState.RECONNECTING, Fault("timed_out", silence, "see that the camera sends pictures")
        return self._state, self._fault
