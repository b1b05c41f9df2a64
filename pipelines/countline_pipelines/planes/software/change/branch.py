"""One model's share of a camera: its frames into slots, answers into counts.

Everything but `Feeder.take` happens on the plane's event loop. Answers may come out of order, since several requests
are in flight; they are put back into the order in which the frames were sent.
"""

import asyncio
import itertools
import threading
import time
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.waiting import happens
from countline_counting import CameraCounter, CountingSpec, Identity
from countline_counting.explain.explainer import Journal
from countline_counting.frames import DetectionFrame
from countline_counting.rules import WARM_UP_S
from countline_counting.tracking import TrackerSettings
from countline_pipelines.planes.interface import CameraPlan, CountedFrame
from countline_pipelines.planes.meters import Throughput
from countline_pipelines.planes.run_counter import RunCounter
from countline_pipelines.planes.runs import Run, RunKeeper
from countline_pipelines.planes.software.change.outlet import Outlet
from countline_pipelines.planes.software.lane.lane import ModelLane, Ticket
from countline_pipelines.planes.software.source.feeder import Feeder

_log = get_logger(__name__)
_numbers: Final = itertools.count()


class Host(Protocol):
    """The camera, as its branches see it."""

    def wants_picture(self, branch: "Branch") -> bool:
        """Whether the present frame shall be kept; from the reader's thread."""
        ...

    def yields(self, branch: "Branch") -> bool:
        """Whether the branch does without the present frame; from the reader's thread."""
        ...

    def dropped(self, branch: "Branch", frames: int) -> None:
        """Frames were left out; from the reader's thread or the loop."""
        ...

    def fps(self) -> float:
        """What the source states, or is taken to have."""
        ...

    def counted(self, branch: "Branch", latency_s: float, counting_s: float) -> None:
        """A frame was counted."""
        ...

    def caught_up(self, branch: "Branch") -> None:
        """An answer was dealt with."""
        ...

    def skipped(self, branch: "Branch", t: float) -> None:
        """The frame captured at `t` will not be counted; told in the order of the others."""
        ...

    def failed(self, branch: "Branch", error: Exception, *, crashed: bool) -> None:
        """Triton refused a frame, or counting crashed by a fault of ours."""
        ...


class Branch:
    """See the module.

    Args:
        plan: of the camera, for this model.
        lane: of the model.
        spec: what is counted.
        host: the camera.
        sink: whom to tell.
        after: of a finite file, the run from which this branch takes over.
        warms_up: whether what it counts at first is another branch's business.
        journal: gets the reason of each crossing and near-crossing.
    """

    def __init__(
        self,
        plan: CameraPlan,
        lane: ModelLane,
        spec: CountingSpec,
        host: Host,
        sink: Outlet,
        *,
        after: str = "",
        warms_up: bool = False,
        journal: Journal | None = None,
    ) -> None:
        self.plan = plan
        self.lane = lane
        self.spec = spec
        self.sink = sink
        self.owner = f"{plan.camera_id}#{next(_numbers)}"
        self._host = host
        self._journal = journal
        self._waits = plan.source.playback.is_finite
        self.runs = RunKeeper(plan.camera_id, plan.epoch, plan.run, after)
        self._stop = threading.Event()
        self.feeder = Feeder(
            self,
            lane,
            self.runs,
            self._stop,
            waits=self._waits,
            wants_picture=lambda: host.wants_picture(self),
            on_dropped=lambda frames: host.dropped(self, frames),
            yields=lambda: host.yields(self),
        )
        self._sequence = 0
        self._expected = 0
        self._early: dict[int, tuple[Ticket, NDArray[np.float32] | None]] = {}
        self.throughput = Throughput(self.feeder.drops, finite=self._waits)
        self._runs = RunCounter(
            self.runs,
            sink,
            self.throughput,
            self._new_counter,
            lambda: plan.source.period_s(host.fps()),
            labels=lane.info.labels,
            model=lane.name,
            finite=self._waits,
        )
        self._paths_from: float | None = None
        self._paths_until = float("inf")
        self._warms_up = warms_up
        self._drained = asyncio.Event()
        self._closed = False
        self.crashed = False
        self.is_retired = False
        """It gets no frames any more, and will be stopped."""

    @property
    def identity(self) -> Identity | None:
        """Of the run that goes on."""
        return self._runs.run.identity if self._runs.run is not None else None

    @property
    def size_wh(self) -> tuple[int, int] | None:
        """Of the pictures of the last run; None before the first."""
        return self._runs.size_wh

    @property
    def is_silent(self) -> bool:
        """Whether it has neither a run nor a frame on its way."""
        return self._runs.run is None and self.runs.is_idle()

    def end_paths_at(self, t: float) -> None:
        """From the frame captured at `t` on, say no more where objects are: another branch does."""
        self.keep_paths()
        self._paths_until = t

    def keep_paths(self) -> None:
        """Undo `end_paths_at`."""
        self._paths_until = float("inf")
        if self._runs.counter is not None:
            self._runs.counter.begin_paths()

    def own(self) -> None:
        """What follows is not another branch's business any more: the next run warms up for nobody."""
        self._warms_up = False
        counter = self._runs.counter
        if self._paths_from is not None and counter is not None:  # it counts before it is warm: nobody else does
            self._paths_from = None
            counter.begin_paths()

    def next_sequence(self) -> int:
        """See `Traveller`."""
        self._sequence += 1
        return self._sequence - 1

    def arrived(self, ticket: Ticket, detections: NDArray[np.float32]) -> None:
        """Count a frame, once those before it have been."""
        self._early[ticket.sequence] = (ticket, detections)
        self.feeder.landed()
        self._catch_up()

    def refused(self, ticket: Ticket, error: CountlineError) -> None:
        """Do without a frame that Triton refuses."""
        self._early[ticket.sequence] = (ticket, None)
        self.runs.leave(ticket.run)
        self.feeder.landed()
        self._host.failed(self, error, crashed=False)
        self._catch_up()

    def _catch_up(self) -> None:
        while self._expected in self._early:
            ticket, detections = self._early.pop(self._expected)
            self._expected += 1
            if detections is None:
                self._host.skipped(self, ticket.t)
            else:
                self._count_safely(ticket, detections)
        if self._stop.is_set() and self.runs.is_idle():
            self._drained.set()
        self._host.caught_up(self)

    def _count_safely(self, ticket: Ticket, detections: NDArray[np.float32]) -> None:
        try:
            if not self.crashed and not self._closed:
                self._count(ticket, detections)
        except Exception as error:  # noqa: BLE001  (one camera's crash must not take the others' answers with it)
            _log.exception("camera.crashed", camera=self.plan.camera_id, model=self.lane.name)
            self.crashed = True
            self._stop.set()
            self._host.failed(self, error, crashed=True)
        finally:
            self.runs.leave(ticket.run)

    def _count(self, ticket: Ticket, detections: NDArray[np.float32]) -> None:
        counter = self._runs.counter_for(ticket.run, ticket.t)
        self._mind_paths(counter, ticket.t)
        rows = ticket.box.to_source(detections[detections[:, 4] > 0])
        frame = DetectionFrame(self.plan.camera_id, ticket.index, ticket.t, ticket.run.size_wh, rows)
        began = time.monotonic()
        result = counter.update(frame)
        self._note_counted(ticket, time.monotonic() - began)
        self._runs.report(ticket.run, CountedFrame(result, ticket.dropped, ticket.picture))

    def _mind_paths(self, counter: CameraCounter, t: float) -> None:
        """Each moment is on the paths of one branch."""
        if self._paths_from is not None and t >= self._paths_from:
            self._paths_from = None
            counter.begin_paths()
        if t >= self._paths_until:
            self._paths_until = float("inf")
            counter.end_paths()

    def _note_counted(self, ticket: Ticket, counting_s: float) -> None:
        latency_s = self.throughput.record(ticket.t, ticket.taken_at)
        self._host.counted(self, latency_s, counting_s)

    def _new_counter(self, run: Run, t: float) -> CameraCounter:
        tracking = TrackerSettings(high_score=self.lane.info.score_threshold)
        self._paths_from = t + WARM_UP_S if self._warms_up else None
        return CameraCounter(run.identity, self.spec, tracking, journal=self._journal, trajectories=not self._warms_up)

    def end_run(self, *, decide: bool) -> bool:
        """End the present run; false while it has frames on their way."""
        return self._runs.end(decide=decide)

    def tick(self, now: float) -> None:
        """Once a second: end the run of a live camera that has been silent for too long."""
        self._runs.end_if_silent(now)

    def reconfigure(self, spec: CountingSpec) -> None:
        """Count other lines and zones from the next frame on; the tracks go on."""
        self.spec = spec
        self._runs.reconfigure(spec)

    def halt(self) -> None:
        """Send no frame any more."""
        self._stop.set()

    async def stop(self, timeout_s: float, *, decide: bool) -> None:
        """Count what is with Triton, and end; at most once."""
        self._stop.set()
        for ticket in self.lane.batcher.drop_all(self.owner):
            self.runs.leave(ticket.run)
            self.feeder.landed()
        if not self.runs.is_idle():
            await happens(self._drained, timeout_s)  # Triton is away: what it has is given up
        self._closed = True
        if self.crashed:
            self._break_off(decide=decide)
        else:
            self._runs.end_at_once(decide=decide)

    def _break_off(self, *, decide: bool) -> None:
        """End the run of a branch that crashed, with what it has said so far."""
        try:
            self._runs.break_off(decide=decide)
        except Exception:  # noqa: BLE001  (it may be what the crash came from, and the branch must end)
            _log.exception("camera.crashed_at_end", camera=self.plan.camera_id, model=self.lane.name)
