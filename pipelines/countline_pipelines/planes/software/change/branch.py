"""One model's share of a camera: its frames go into slots, Triton's answers become counts.

Everything but `Feeder.take` happens on the plane's event loop. Several requests are in flight, so answers may come out
of order; the branch puts them back into the order in which the frames were sent.
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
from countline_counting.counter import CameraCounter
from countline_counting.frames import DetectionFrame
from countline_counting.identity import Identity
from countline_counting.rule.facts import NewListener
from countline_counting.spec import CountingSpec
from countline_counting.tracking import TrackerSettings
from countline_pipelines.planes.interface import CameraPlan, CountedFrame
from countline_pipelines.planes.meters import Throughput
from countline_pipelines.planes.run_counter import RunCounter
from countline_pipelines.planes.runs import Run, RunKeeper
from countline_pipelines.planes.software.change.outlet import Outlet
from countline_pipelines.planes.software.change.paths import PathShare
from countline_pipelines.planes.software.lane.answers import AnswerOrder
from countline_pipelines.planes.software.lane.lane import ModelLane
from countline_pipelines.planes.software.lane.ticket import Ticket
from countline_pipelines.planes.software.source.feeder import CameraFeed, Feeder

_log = get_logger(__name__)
_numbers: Final = itertools.count()


class BranchListener(Protocol):
    """Learns what becomes of a branch's frames, in their order; called on the plane's event loop."""

    def frame_counted(self, branch: "Branch", latency_s: float, counting_s: float) -> None:
        """A frame was counted so long after its capture (of a file: after its decoding), in so much time."""
        ...

    def frame_skipped(self, branch: "Branch", t: float) -> None:
        """The frame captured at `t` will not be counted."""
        ...

    def answer_handled(self, branch: "Branch") -> None:
        """An answer of Triton was handled. Perhaps no frame is in flight now."""
        ...

    def branch_failed(self, branch: "Branch", error: Exception, *, crashed: bool) -> None:
        """Triton refused a frame, or counting crashed because of a bug in Countline."""
        ...


class Branch:
    """The frames of one camera for one version of a model.

    Args:
        plan: of the camera, for this model.
        lane: of the model.
        spec: what is counted.
        feed: of the camera.
        listener: learns what becomes of the frames.
        outlet: takes what is counted.
        after: of a finite file, the name of the run from which this branch takes over.
        warms_up: True for a branch that will take over: another branch reports its first frames.
        follows: True for a follower on trial.
        new_listener: makes the listener of each counter, one for each run; None for no listener.
    """

    def __init__(
        self,
        plan: CameraPlan,
        lane: ModelLane,
        spec: CountingSpec,
        feed: CameraFeed,
        listener: BranchListener,
        outlet: Outlet,
        *,
        after: str = "",
        warms_up: bool = False,
        follows: bool = False,
        new_listener: NewListener | None = None,
    ) -> None:
        self.plan = plan
        self.lane = lane
        self.spec = spec
        self.outlet = outlet
        self.owner = f"{plan.camera_id}#{next(_numbers)}"
        self._listener = listener
        self._new_listener = new_listener
        self.runs = RunKeeper(plan.camera_id, plan.epoch, plan.run, after)
        self._stop = threading.Event()
        finite = plan.source.playback.is_finite
        self.feeder = Feeder(feed, self, lane, self.runs, self._stop, waits=finite, follows=follows)
        self._answers = AnswerOrder()
        self.throughput = Throughput(self.feeder.drops, finite=finite)
        self._counting = RunCounter(
            self.runs,
            outlet,
            self.throughput,
            self._new_counter,
            lambda: plan.source.period_s(feed.stated_fps),
            labels=lane.info.labels,
            model=lane.name,
            finite=finite,
        )
        self._paths = PathShare(warms_up=warms_up)
        self._follows = follows
        self._drained = asyncio.Event()
        self._closed = False
        self._crashed = False
        self.is_retired = False
        """True once it gets no more frames and will be stopped."""

    @property
    def identity(self) -> Identity | None:
        """Of the present run; None between two runs."""
        return self._counting.run.identity if self._counting.run is not None else None

    @property
    def is_silent(self) -> bool:
        """Whether it has neither a run nor a frame in flight."""
        return self._counting.run is None and self.runs.is_idle()

    # Paths -----------------------------------------------------------------------------------------------------------

    def end_paths_at(self, t: float) -> None:
        """Report no paths from the frame captured at `t` on: another branch does."""
        self._paths.end_at(t, self._counting.counter)

    def keep_paths(self) -> None:
        """Undo `end_paths_at`."""
        self._paths.keep(self._counting.counter)

    def own_paths(self) -> None:
        """Report all paths from now on: the branch counts for the camera."""
        self._paths.own(self._counting.counter)

    # Answers ---------------------------------------------------------------------------------------------------------

    @property
    def is_counting(self) -> bool:
        """Whether the camera's counts are this branch's: it neither warms up nor is on trial."""
        return not self._follows and not self._paths.are_of_another

    def next_sequence(self) -> int:
        """Number of the next frame that goes to Triton, from 0."""
        return self._answers.next_sequence()

    def arrived(self, ticket: Ticket, detections: NDArray[np.float32]) -> None:
        """Count a frame, after all frames before it."""
        self._answers.put(ticket, detections)
        self.feeder.landed()
        self._catch_up()

    def refused(self, ticket: Ticket, error: CountlineError) -> None:
        """Skip a frame that Triton refuses."""
        self._answers.put(ticket, None)
        self.runs.leave(ticket.run)
        self.feeder.landed()
        self._listener.branch_failed(self, error, crashed=False)
        self._catch_up()

    def _catch_up(self) -> None:
        for ticket, detections in self._answers.due():
            if detections is None:
                self._listener.frame_skipped(self, ticket.t)
            else:
                self._count_safely(ticket, detections)
        if self._stop.is_set() and self.runs.is_idle():
            self._drained.set()
        self._listener.answer_handled(self)

    def _count_safely(self, ticket: Ticket, detections: NDArray[np.float32]) -> None:
        try:
            if not self._crashed and not self._closed:
                self._count(ticket, detections)
        except Exception as error:  # noqa: BLE001  (one camera's crash must not take the others' answers with it)
            _log.exception("camera.crashed", camera=self.plan.camera_id, model=self.lane.name)
            self._crashed = True
            self._stop.set()
            self._listener.branch_failed(self, error, crashed=True)
        finally:
            self.runs.leave(ticket.run)

    def _count(self, ticket: Ticket, detections: NDArray[np.float32]) -> None:
        # Frames are counted in the order in which they were sent, so no frame of an earlier run is in flight.
        counter = self._counting.counter_for(ticket.run, ticket.t)
        self._paths.advance(counter, ticket.t)
        rows = ticket.box.to_source(detections[detections[:, 4] > 0])
        frame = DetectionFrame(self.plan.camera_id, ticket.index, ticket.t, ticket.run.size_wh, rows)
        began = time.monotonic()
        result = counter.update(frame)
        counting_s = time.monotonic() - began
        self._listener.frame_counted(self, self.throughput.record(ticket.t, ticket.taken_at), counting_s)
        self._counting.report(ticket.run, CountedFrame(result, ticket.dropped, ticket.picture))

    def _new_counter(self, run: Run, t: float) -> CameraCounter:
        tracking = TrackerSettings(high_score=self.lane.info.score_threshold)
        trajectories = self._paths.begin_run(t)
        listener = self._new_listener() if self._new_listener is not None else None
        return CameraCounter(
            run.identity,
            self.spec,
            tracking,
            listener=listener,
            trajectories=trajectories,
            labels=self.lane.info.labels,
        )

    # From the camera -------------------------------------------------------------------------------------------------

    def end_run(self, *, decide: bool) -> bool:
        """End the current run; `decide`: decide open events. Return False while frames are in flight."""
        return self._counting.end(decide=decide)

    def tick(self, now: float) -> None:
        """End the run of a live camera that was silent for too long; called once a second with monotonic time."""
        self._counting.end_if_silent(now)

    def reconfigure(self, spec: CountingSpec) -> None:
        """Count other lines and zones from the next frame on; the tracks go on."""
        self.spec = spec
        self._counting.reconfigure(spec)

    def halt(self) -> None:
        """Send no more frames."""
        self._stop.set()

    async def stop(self, timeout_s: float, *, decide: bool) -> None:
        """Count the frames that are with Triton, for at most `timeout_s`, and end. Called at most once."""
        self._stop.set()
        for ticket in self.lane.batcher.drop_all(self.owner):
            self.runs.leave(ticket.run)
            self.feeder.landed()
        if not self.runs.is_idle():
            await happens(self._drained, timeout_s)  # after that, Triton is away: its frames are given up
        self._closed = True
        if self._crashed:
            self._break_off(decide=decide)
        else:
            self._counting.end_at_once(decide=decide)

    def _break_off(self, *, decide: bool) -> None:
        try:
            self._counting.break_off(decide=decide)
        except Exception:  # noqa: BLE001  (the crash may come from the sink, and the branch must end)
            _log.exception("camera.crashed_at_end", camera=self.plan.camera_id, model=self.lane.name)
