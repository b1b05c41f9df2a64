"""One camera of the DeepStream plane: tables of tracked objects in, counts out. All of it on the plane's event loop.

The rules are those of the software plane: the same counter, the same runs (`software.runs`), the same states and
metrics. A source that is opened anew gets a new pad, and so a new tracker: a new run.
"""

import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from countline_common.logs import get_logger
from countline_common.triton import ModelInfo
from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing, Event
from countline_counting.frames import TrackedFrame
from countline_counting.rules import OBJECT_UNSEEN_S
from countline_counting.spec import CountingSpec
from countline_pipelines import metrics
from countline_pipelines.planes.deepstream.cameras.coordinates import clipped
from countline_pipelines.planes.deepstream.cameras.metadata import FrameTable
from countline_pipelines.planes.deepstream.cameras.passage import Entry
from countline_pipelines.planes.deepstream.gst.sources import Gate
from countline_pipelines.planes.interface import (
    CameraCondition,
    CameraPlan,
    CameraState,
    CountedFrame,
    Fault,
    PlaneSink,
    RunStarted,
    counting_spec,
    fault_of,
)
from countline_pipelines.planes.meters import LatencyMeter, RateMeter
from countline_pipelines.planes.runs import BREAK_KEEPS_RUN_S, Run, RunKeeper
from countline_pipelines.sources import Picture, Playback

SILENT_S: Final = 5.0
MEASURE_EVERY_S: Final = 0.8
_log = get_logger(__name__)


@dataclass(slots=True)
class _Opened:
    """One opening of the source."""

    gate: Gate
    era: int = 0
    next_ordinal: int = 0


class ScoreMemory:
    """The last score that the detector gave to each track: a box that the tracker predicts has none of its own.

    Tracks are forgotten once unseen for as long as an id stays the same object.
    """

    def __init__(self) -> None:
        self._scores: dict[int, tuple[float, float]] = {}
        self._swept_at = float("-inf")

    def completed(self, ids: NDArray[np.int64], scores: NDArray[np.float64], t: float) -> NDArray[np.float64]:
        """The scores, those below 0 replaced; 0 for a track that the detector never saw."""
        filled = scores.copy()
        for row, (track, score) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True)):
            known = score if score >= 0 else self._scores.get(track, (0.0, t))[0]
            filled[row], self._scores[track] = known, (known, t)
        if not self._swept_at <= t < self._swept_at + OBJECT_UNSEEN_S:
            self._swept_at = t
            self._scores = {track: last for track, last in self._scores.items() if abs(t - last[1]) <= OBJECT_UNSEEN_S}
        return filled

    def __len__(self) -> int:
        return len(self._scores)


class DeepStreamCamera:
    """One camera.

    Args:
        plan: what to do.
        info: its model.
        sink: whom to tell.

    Raises:
        InvalidInputError: the plan cannot be counted with.
    """

    def __init__(self, plan: CameraPlan, info: ModelInfo, sink: PlaneSink) -> None:
        self.plan = plan
        self.info = info
        self._sink = sink
        self.spec = counting_spec(plan.counting, info.labels)
        self._runs = RunKeeper(plan.camera_id, plan.epoch, plan.run)
        self._opened: _Opened | None = None
        self._run: Run | None = None
        self._counter: CameraCounter | None = None
        self._scores = ScoreMemory()
        self._size_wh: tuple[int, int] = (0, 0)
        self.state = CameraState.STARTING
        self.fault: Fault | None = None
        self.crashed_at: float | None = None
        """Monotonic time at which counting failed by a fault of ours; the camera must be made anew."""
        self._paused: Fault | None = None
        self._watched_until = 0.0
        self._processed_meter, self._latency_meter = RateMeter(), LatencyMeter()
        self._measured_at = 0.0
        self._measures = (0.0, 0.0, 0.0)
        self._processed = self._dropped = self._dropped_before = 0
        self._metrics = metrics.CameraMetrics(plan.camera_id)
        self._last_counted_at = time.monotonic()
        self._last_t: float | None = None
        self._progress = 0.0

    @property
    def camera_id(self) -> str:
        """The camera's id."""
        return self.plan.camera_id

    @property
    def is_finite(self) -> bool:
        """Whether its source ends, and is counted anew where it was broken off."""
        return self.plan.source.playback.is_finite

    @property
    def gate(self) -> Gate | None:
        """Of the source as it is open now."""
        return self._opened.gate if self._opened is not None else None

    # The source's life -----------------------------------------------------------------------------------------------

    def opened(self, gate: Gate) -> None:
        """The source is being opened, on a pad that is new: what the tracker says from now on is a new run."""
        self._opened = _Opened(gate)
        if self._paused is not None:
            gate.pause()
        if self.state is not CameraState.RECONNECTING:
            self.state = CameraState.STARTING

    def closed(self, *, decide: bool) -> None:
        """The source is closed: its run ends. What comes of it still is not looked at.

        Args:
            decide: whether what is open is decided; a finite file that was broken off is counted anew instead.
        """
        self._opened = None
        self._end_run(decide=decide)
        self._runs.abandon()
        self._dropped_before = 0

    def lost(self, state: CameraState, fault: Fault) -> None:
        """There are no pictures, for this reason."""
        self.state, self.fault = state, fault
        metrics.SOURCE_FAILURES.labels(self.camera_id, fault.code).inc()

    def finished(self) -> None:
        """The finite file is over."""
        self.closed(decide=True)
        self.state, self.fault, self._progress = CameraState.FINISHED, None, 1.0

    def _drop(self, frames: int) -> None:
        """Frames were left out because counting is behind."""
        self._dropped += frames
        self._dropped_before += frames
        if frames:
            metrics.DROPPED.labels(self.camera_id).inc(frames)

    # Frames ----------------------------------------------------------------------------------------------------------

    def take(self, table: FrameTable) -> None:
        """Count a frame; a fault of ours ends this camera and no other one."""
        try:
            if self._opened is not None and self.crashed_at is None:
                self._take(table, self._opened)
        except Exception as error:  # noqa: BLE001  (one camera's crash must not take the others' frames with it)
            _log.exception("camera.crashed", camera=self.camera_id)
            self.crashed_at = time.monotonic()
            self.lost(CameraState.FAILED, fault_of(error))

    def _take(self, table: FrameTable, opened: _Opened) -> None:
        left = opened.gate.passage.leave(table.pts_ns, table.ntp_ns)
        if left is None:
            return
        entry, lost = left
        self._drop(lost)
        if entry.era != opened.era:  # the wall clock was set back
            opened.era = entry.era
            self._runs.abandon()
        skipped, opened.next_ordinal = entry.ordinal - opened.next_ordinal, entry.ordinal + 1
        picture = Picture(None, entry.t, table.source_wh, entry.ordinal, max(0, skipped))
        numbered = self._runs.number(picture)
        if numbered is not None:
            run, index = numbered
            self._count(table, entry, run, index, opened)

    def _count(self, table: FrameTable, entry: Entry, run: Run, index: int, opened: _Opened) -> None:
        began = time.monotonic()
        if run is not self._run:
            self._switch_run(run, opened.gate)
        assert self._counter is not None
        frame = TrackedFrame(
            camera_id=self.camera_id,
            index=index,
            t=entry.t,
            size_wh=table.source_wh,
            ids=table.ids,
            xyxy_px=clipped(table.xyxy_px, table.source_wh),
            scores=self._scores.completed(table.ids, table.scores, entry.t),
            classes=table.classes,
        )
        result = self._counter.update_tracked(frame)
        self._note_counted(entry, began, opened.gate)
        self._note_crossings(result.events)
        dropped, self._dropped_before = self._dropped_before, 0
        picture = self._picture(opened.gate, table.pts_ns)
        self._sink.frame_counted(run.identity, CountedFrame(result, dropped, picture))

    def _picture(self, gate: Gate, pts_ns: int) -> Any | None:
        return gate.preview.take(pts_ns) if gate.preview is not None else None

    def _note_crossings(self, events: tuple[Event, ...]) -> None:
        crossings = sum(isinstance(event, Crossing) for event in events)
        if crossings:
            self._metrics.crossings.inc(crossings)

    def _note_counted(self, entry: Entry, began: float, gate: Gate) -> None:
        now = time.monotonic()
        latency_s = now - entry.entered_at if self.is_finite else time.time() - entry.t
        self._latency_meter.record(now, latency_s)
        self._processed_meter.tick(now)
        self._processed += 1
        self._last_counted_at, self._last_t = now, entry.t
        self.state, self.fault = CameraState.RUNNING, None
        if gate.duration_s > 0:
            self._progress = min(1.0, entry.position_s / gate.duration_s)
        self._metrics.frames.inc()
        self._metrics.latency_s.observe(max(0.0, latency_s))
        self._metrics.counting_s.observe(now - began)

    def _switch_run(self, run: Run, gate: Gate) -> None:
        self._end_run(decide=not (self._run is not None and self._run.abandoned))
        self._run, self._size_wh = run, run.size_wh
        self._counter = CameraCounter(run.identity, self.spec, tracked=True, trajectories=True, labels=self.info.labels)
        self._scores = ScoreMemory()
        self._processed = self._dropped = 0
        metrics.RUNS.labels(self.camera_id).inc()
        width, height = run.size_wh
        _log.info("run.started", camera=self.camera_id, run=run.identity.run, size=f"{width}x{height}")
        period_s = self._period_s(gate.passage.fps)
        self._sink.run_started(RunStarted(run.identity, run.size_wh, self.info.labels, period_s, self.is_finite))

    def _period_s(self, fps: float) -> float:
        rate = self.plan.source.rate
        return 1.0 / (min(rate, fps) if rate > 0 else fps)

    def _end_run(self, *, decide: bool) -> None:
        run, counter = self._run, self._counter
        self._run = self._counter = None
        if run is None or counter is None:
            return
        self._runs.try_end(run)
        self._sink.run_ended(run.identity, counter.flush() if decide and self.crashed_at is None else None)

    # From outside ----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Once a second: end the run of a camera that has been silent for too long."""
        if not self.is_finite and now - self._last_counted_at > BREAK_KEEPS_RUN_S:
            self._end_run(decide=True)

    def reconfigure(self, counting: CountingSpec) -> None:
        """Count other lines and zones from the next frame on; the tracks go on.

        Raises:
            InvalidInputError: they cannot be counted with; the old ones stay.
        """
        self.spec = counting_spec(counting, self.info.labels)
        if self._counter is not None:
            self._counter.reconfigure(self.spec)

    def watch(self, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        self._watched_until = until

    def is_watched(self, now: float) -> bool:
        """Whether somebody wants pictures."""
        return now <= self._watched_until

    def set_paused(self, fault: Fault | None) -> None:
        """Take no more frames, and say why; None: go on."""
        self._paused = fault
        if self.gate is not None and fault is None:
            self.gate.resume()
        elif self.gate is not None:
            self.gate.pause()

    def condition(self) -> CameraCondition:
        """The camera at this moment."""
        now = time.monotonic()
        state, fault = self._shown_state(now)
        source_fps, processed_fps, latency_s = self._measured(now)
        return CameraCondition(
            state=state,
            fault=fault,
            size_wh=self._size_wh,
            source_fps=source_fps,
            processed_fps=processed_fps,
            latency_s=latency_s,
            frames_processed=self._processed,
            frames_dropped=self._dropped,
            last_frame_at=self._last_t,
            progress=self._progress if self.is_finite else 0.0,
            model=str(self.info.ref),
        )

    def _measured(self, now: float) -> tuple[float, float, float]:
        """Rates and latency; worked out anew every `MEASURE_EVERY_S`, since states are asked for more often."""
        if now - self._measured_at > MEASURE_EVERY_S:
            self._measured_at = now
            source_fps = self._opened.gate.meter.rate(now) if self._opened is not None else 0.0
            self._measures = (source_fps, self._processed_meter.rate(now), self._latency_meter.p95_s(now))
        return self._measures

    def _shown_state(self, now: float) -> tuple[CameraState, Fault | None]:
        if self._paused is not None and self.state is not CameraState.FINISHED:
            return CameraState.FAILED, self._paused
        silent_s = now - self._last_counted_at
        live = self.plan.source.playback is Playback.LIVE
        if self.state is CameraState.RUNNING and silent_s > SILENT_S and live:
            detail = f"{self.plan.source.label}: no picture for {silent_s:.0f} s"
            return CameraState.RECONNECTING, Fault("timed_out", detail, "see that the camera sends pictures")
        return self.state, self.fault
