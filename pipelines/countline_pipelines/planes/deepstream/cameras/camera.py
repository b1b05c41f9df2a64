"""One camera of the DeepStream plane: tables of tracked objects in, counts out. All of it on the plane's event loop.

Counting, runs, states and metrics are those of the software plane. A source that is opened again gets a new pad, and so
a new tracker: a new run.
"""

import time
from dataclasses import dataclass

from countline_common.logs import get_logger
from countline_common.triton import ModelInfo
from countline_counting.counter import CameraCounter
from countline_counting.frames import TrackedFrame
from countline_counting.spec import CountingSpec
from countline_pipelines import metrics
from countline_pipelines.planes.deepstream.cameras.coordinates import clipped
from countline_pipelines.planes.deepstream.cameras.metadata import FrameTable
from countline_pipelines.planes.deepstream.cameras.scores import ScoreMemory
from countline_pipelines.planes.deepstream.cameras.transit import TransitFrame
from countline_pipelines.planes.deepstream.cameras.valve import SourceValve
from countline_pipelines.planes.health import CameraHealth
from countline_pipelines.planes.interface import (
    CameraCondition,
    CameraPlan,
    CameraState,
    CountedFrame,
    Fault,
    PlaneSink,
    require_classes,
)
from countline_pipelines.planes.meters import DropCounter, Throughput
from countline_pipelines.planes.previews import PreviewWatch
from countline_pipelines.planes.run_counter import RunCounter
from countline_pipelines.planes.runs import Run, RunKeeper
from countline_pipelines.planes.sinks import MeasuredSink
from countline_pipelines.planes.stamps import StampWatch
from countline_pipelines.sources import Picture

_log = get_logger(__name__)


@dataclass(slots=True)
class _OpenSource:
    """One opening of the source."""

    valve: SourceValve
    era: int = 0
    next_ordinal: int = 0


class DeepStreamCamera:
    """One camera.

    Args:
        plan: its source and what to count.
        info: its model.
        sink: receives runs and counted frames.

    Raises:
        InvalidInputError: the plan cannot be counted with this model.
    """

    def __init__(self, plan: CameraPlan, info: ModelInfo, sink: PlaneSink) -> None:
        self.plan = plan
        self._info = info
        self._spec = require_classes(plan.counting, info.labels)
        self._open: _OpenSource | None = None
        self._scores = ScoreMemory()
        self._watch = PreviewWatch()
        self._progress = 0.0
        self._metrics = metrics.CameraMetrics(plan.camera_id)
        self._health = CameraHealth(plan.camera_id, plan.source)
        self._stamps = StampWatch(plan.camera_id, plan.source)
        self._drops = DropCounter()
        self._throughput = Throughput(self._drops, finite=self.is_finite)
        self._runs = RunKeeper(plan.camera_id, plan.epoch, plan.run)
        self._counter = RunCounter(
            self._runs,
            MeasuredSink(sink, self._metrics),
            self._throughput,
            self._new_counter,
            self._period_s,
            labels=info.labels,
            model=str(info.ref),
            finite=self.is_finite,
        )

    @property
    def camera_id(self) -> str:
        """The camera's id."""
        return self.plan.camera_id

    @property
    def is_finite(self) -> bool:
        """Whether the source ends; if it was interrupted, it is counted again from its start."""
        return self.plan.source.playback.is_finite

    @property
    def is_finished(self) -> bool:
        """Whether the finite file was counted to its end."""
        return self._health.state is CameraState.FINISHED

    @property
    def crashed_at(self) -> float | None:
        """Monotonic time at which a bug in Countline stopped this camera; None while it runs.

        The plane then creates the camera again.
        """
        return self._health.crashed_at

    @property
    def valve(self) -> SourceValve | None:
        """Of the present opening of the source; None while the source is closed."""
        return self._open.valve if self._open is not None else None

    # The source's life -----------------------------------------------------------------------------------------------

    def opened(self, valve: SourceValve) -> None:
        """The source is being opened on a new pad: its tracker starts a new run."""
        self._open = _OpenSource(valve)
        self._stamps.opened()
        if self._health.paused is not None:
            valve.pause()
        if self._health.state is not CameraState.OFFLINE:
            self._health.state = CameraState.STARTING

    def closed(self, *, decide: bool) -> None:
        """The source is closed: its run ends, and frames that still arrive are ignored.

        Args:
            decide: whether open visits and crossings are decided. An interrupted finite file decides none, because it
                is counted again.
        """
        self._open = None
        self._counter.end(decide=decide and not self._health.is_crashed)
        self._runs.abandon()
        self._drops.forget_pending()

    def lost(self, state: CameraState, fault: Fault) -> None:
        """The source delivers no frames, for this reason."""
        self._health.lose_source(state, fault)

    def finished(self) -> None:
        """The finite file has ended."""
        self.closed(decide=True)
        self._health.set(CameraState.FINISHED)

    # Frames ----------------------------------------------------------------------------------------------------------

    def take(self, table: FrameTable) -> None:
        """Count a frame. An exception ends this camera and no other."""
        try:
            if self._open is not None and not self._health.is_crashed:
                self._take(table, self._open)
        except Exception as error:  # noqa: BLE001  (the batch has frames of other cameras, which must be counted)
            _log.exception("camera.crashed", camera=self.camera_id)
            self._health.crash(error)

    def _take(self, table: FrameTable, source: _OpenSource) -> None:
        left = source.valve.transit.leave(table.pts_ns, table.ntp_ns)
        if left is None:
            return
        frame, lost = left
        self._stamps.observe(source.valve.transit.stamps)
        if lost:
            self._drops.add(lost)
            self._metrics.dropped.inc(lost)
        if frame.era != source.era:  # the wall clock was set back
            source.era = frame.era
            self._runs.abandon()
        skipped, source.next_ordinal = frame.ordinal - source.next_ordinal, frame.ordinal + 1
        picture = Picture(None, frame.t, table.source_wh, frame.ordinal, max(0, skipped), 0.0, source.valve.orientation)
        numbered = self._runs.number(picture)
        if numbered is not None:
            run, index = numbered
            self._count(table, frame, run, index, source.valve)

    def _count(self, table: FrameTable, frame: TransitFrame, run: Run, index: int, valve: SourceValve) -> None:
        began = time.monotonic()
        counter = self._counter.counter_for(run, frame.t)
        tracked = TrackedFrame(
            camera_id=self.camera_id,
            index=index,
            t=frame.t,
            size_wh=table.source_wh,
            ids=table.ids,
            xyxy_px=clipped(table.xyxy_px, table.source_wh),
            scores=self._scores.completed(table.ids, table.scores, frame.t),
            classes=table.classes,
        )
        result = counter.update_tracked(tracked)
        latency_s = self._throughput.record(frame.t, frame.entered_at)
        self._metrics.latency_s.observe(max(0.0, latency_s))
        self._metrics.counting_s.observe(time.monotonic() - began)
        self._health.set(CameraState.RUNNING)
        if valve.duration_s > 0:
            self._progress = min(1.0, frame.position_s / valve.duration_s)
        picture = valve.preview.take(table.pts_ns) if valve.preview is not None else None
        self._counter.report(run, CountedFrame(result, self._drops.take_pending(), picture))

    def _new_counter(self, run: Run, _: float) -> CameraCounter:
        self._scores = ScoreMemory()
        return CameraCounter(run.identity, self._spec, tracked=True, trajectories=True, labels=self._info.labels)

    def _period_s(self) -> float:
        assert self._open is not None, "a run starts with a frame of an open source"
        return self.plan.source.period_s(self._open.valve.transit.fps)

    # From outside ----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Once a second: end the run of a camera that has been silent for too long."""
        if not self._health.is_crashed:
            self._counter.end_if_silent(now)

    def reconfigure(self, counting: CountingSpec) -> None:
        """Count other lines and zones from the next frame on; tracks continue.

        Raises:
            InvalidInputError: they cannot be counted with; the old ones stay.
        """
        self._spec = require_classes(counting, self._info.labels)
        self._counter.reconfigure(self._spec)

    def watch(self, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        self._watch.watch(until)

    def is_watched(self, now: float) -> bool:
        """Whether the sink wants pictures at monotonic time `now`."""
        return self._watch.is_watched(now)

    def set_paused(self, fault: Fault | None) -> None:
        """Take no more frames, for this reason; None: go on."""
        self._health.paused = fault
        if self.valve is not None and fault is None:
            self.valve.resume()
        elif self.valve is not None:
            self.valve.pause()

    def condition(self) -> CameraCondition:
        """The camera at this moment; may be called from any thread."""
        return self._health.condition(
            self._throughput,
            valve.meter if (valve := self.valve) is not None else None,
            picture=self._counter.picture,
            progress=self._progress,
            model=str(self._info.ref),
            warnings=self._stamps.warnings,
        )
