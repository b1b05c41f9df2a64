"""Counts one video file or stream with the software plane, without services (`countline count`).

A frame goes the way that it goes in a worker: the same plane, tracker and counter. Only the sink differs.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from countline_common.errors import CountlineError, NotFoundError
from countline_common.files.output_files import OutputFile
from countline_common.triton.provider import PrivateTriton
from countline_counting.events import Event
from countline_counting.explain import Explainer, Journal
from countline_counting.identity import FiniteFile, Identity, file_run_name
from countline_counting.spec import CountingSpec
from countline_counting.trials import TrialSpan
from countline_pipelines.messages import class_name
from countline_pipelines.offline.annotate import Annotator
from countline_pipelines.offline.gaps import Absences, Interruptions, TritonSilence
from countline_pipelines.offline.reports.explained import explained
from countline_pipelines.offline.reports.summary import Summary
from countline_pipelines.offline.trajectory_files import TrajectoryFile
from countline_pipelines.planes.interface import CameraCondition, CameraPlan, CountedFrame, RunStarted, require_classes
from countline_pipelines.planes.software.plane import PlaneOptions, SoftwarePlane
from countline_pipelines.sources import Decoding, SourceSpec
from countline_pipelines.sources.content import content_of
from countline_pipelines.sources.errors import error_of
from countline_pipelines.sources.warnings import SourceWarning
from countline_pipelines.triton import Transport
from countline_pipelines.triton.client import TritonClient

CAMERA_ID: Final = "count"
CLOSE_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.1
Progress = Callable[[int, float, float], None]
"""Called with frames, share done (0..1) and frames a second."""


@dataclass(frozen=True, slots=True)
class CountOrder:
    """What to count, and how."""

    source: SourceSpec
    counting: CountingSpec
    decoding: Decoding
    seconds: float
    """Seconds after which to stop a stream; 0 for never."""
    reconnect_s: float
    """How long to try to open a broken stream again."""
    partial: bool
    """Whether a file that is cut off is no fault."""
    annotate: OutputFile | None
    """The annotated video."""
    explain: bool


@dataclass(frozen=True, slots=True)
class CountOutcome:
    """What was counted, and why no more was."""

    summary: dict[str, Any]
    """Ready for JSON, but for the warnings."""
    fault: CountlineError | None
    """Why the count ended early; None if it did not."""
    warnings: tuple[SourceWarning, ...]
    """About the source, counted or not."""
    keeps_files: bool
    """Whether the files of the count are complete: of a file that was counted to its end, or of a stream, which ends
    at any moment."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model and the Triton that serves it."""

    address: str
    transport: Transport
    model: str
    """As NAME@VERSION."""
    artifact: str
    """The model artifact, as `file_run_name` takes it: `NAME@VERSION`, or `file:HASH` of a model of this machine."""
    child: PrivateTriton | None = None
    """Where it was started for this count."""


class CountJob:
    """One count, from the start of the plane to the summary.

    Args:
        order: what to count.
        served: the Triton that serves the model.
        paths: gets the trajectories.
    """

    def __init__(self, order: CountOrder, served: ServedModel, paths: TrajectoryFile) -> None:
        self._order = order
        self._served = served
        run = _run_name(order, served.artifact)
        self._plan = CameraPlan(CAMERA_ID, order.source, served.model, order.counting, run=run)
        self._journal = Journal() if order.explain else None
        self._sink = _Sink(order, self._journal, paths)
        self._ended = threading.Event()
        self._gaps = Interruptions(order.reconnect_s)
        self._warnings: tuple[SourceWarning, ...] = ()
        """About the source, as its last condition has them."""

    def run(self, update: Progress) -> CountOutcome:
        """Count to the end of the source, until Ctrl-C, or until a fault ends the count.

        Args:
            update: called several times a second with frames, share done (0..1) and frames a second.
        """
        options = PlaneOptions(
            once=True,
            keep_pictures=self._order.annotate is not None,
            new_listener=partial(Explainer, self._journal) if self._journal is not None else None,
            decoding=self._order.decoding,
        )
        plane = SoftwarePlane(self._connect, self._sink, options, on_end=lambda *_: self._ended.set())
        plane.start()
        fault: CountlineError | None = None
        is_interrupted = False
        try:
            plane.add_camera(self._plan)
            fault = self._wait(plane, update)
        except CountlineError as error:
            fault = error
        except KeyboardInterrupt:
            is_interrupted = True
        finally:
            plane.close(CLOSE_TIMEOUT_S)
            self._sink.close()
        summary = self._summary()
        if is_interrupted:
            fault = InterruptedCountError(self._sink.frames)  # here, since the frames in flight are counted at the end
        if fault is None and not self._sink.frames:
            fault = NotFoundError("the source gave no frame", hint="check whether another player shows it")
        is_complete = fault is None or not self._order.source.playback.is_finite
        return CountOutcome(summary, fault, self._all_warnings(), keeps_files=is_complete and self._sink.frames > 0)

    def _summary(self) -> dict[str, Any]:
        summary = self._sink.summary()
        if self._order.source.playback.is_finite:
            return summary
        return {**summary, "interruptions": self._gaps.number, "interrupted_s": round(self._gaps.total_s, 3)}

    def _all_warnings(self) -> tuple[SourceWarning, ...]:
        absences = self._sink.absences
        if absences is None or self._order.source.playback.is_finite:  # a file names its holes itself
            return self._warnings
        absent = absences.warning(self._order.source.label, self._gaps.present_s)
        return self._warnings if absent is None else (*self._warnings, absent)

    async def _connect(self) -> TritonClient:
        return await TritonClient.connect(self._served.address, self._served.transport)

    def _wait(self, plane: SoftwarePlane, update: Progress) -> CountlineError | None:
        """Wait for the end, or until it is time to stop. Return the camera's fault at that moment.

        Raises:
            CountlineError: Triton ended, or does not answer.
            KeyboardInterrupt: the user stopped the count of a file.
        """
        began, silence = 0.0, TritonSilence()
        try:
            while not self._ended.wait(POLL_S):
                began = began or (time.monotonic() if self._sink.frames else 0.0)
                if self._served.child is not None and self._served.child.has_ended:
                    raise self._served.child.failure()
                condition = plane.conditions().get(CAMERA_ID)
                silence.look(self._sink.frames, condition)
                if condition is not None:
                    self._warnings = condition.warnings
                    update(self._sink.frames, condition.progress, condition.processed_fps)
                if self._gaps.look(self._sink.frames, condition):
                    break
                if began and 0 < self._order.seconds < time.monotonic() - began:
                    break
        except KeyboardInterrupt:
            if self._order.source.playback.is_finite:
                raise
        # A removed camera has no condition, so read it first.
        condition = plane.conditions().get(CAMERA_ID)
        if condition is not None:
            self._warnings = condition.warnings
            update(self._sink.frames, condition.progress, condition.processed_fps)
        if not self._ended.is_set():
            plane.remove_camera(CAMERA_ID)
        return self._fault_of(condition)

    def _fault_of(self, condition: CameraCondition | None) -> CountlineError | None:
        fault = condition.fault if condition is not None else None
        if fault is None or (fault.code == "truncated" and self._order.partial):
            return None
        return error_of(fault.code, fault.message, fault.hint)


class InterruptedCountError(CountlineError):
    """The user stopped the count of a file before its end."""

    code = "CANCELLED"

    def __init__(self, frames: int) -> None:
        super().__init__(f"interrupted after {frames} frames", hint="count the file again for all of it")


def _run_name(order: CountOrder, model: str) -> str:
    """Return the name of the run of a finite file; empty for a stream, whose runs get new names."""
    source = order.source
    if not source.playback.is_finite:
        return ""
    return file_run_name(FiniteFile(content_of(source), source.rate, source.recorded_at), model, order.counting)


class _Sink:
    """Adds up the events of a count, and draws the annotated video."""

    def __init__(self, order: CountOrder, journal: Journal | None, paths: TrajectoryFile) -> None:
        self._order = order
        self._paths = paths
        self._labels: tuple[str, ...] = ()
        self._journal = journal
        self._spec = order.counting
        self._summary = Summary(self._spec)
        self._has_begun = False
        self._annotator: Annotator | None = None
        self.absences: Absences | None = None
        """None before the first run."""
        self.frames = 0
        self._first_t = self._last_t = 0.0
        self._period_s = 0.0

    def run_started(self, run: RunStarted) -> None:
        """Begin with the first run; a later run (another picture size) adds to the same sums."""
        self._period_s = run.period_s
        self._labels = run.labels
        if self._has_begun:
            return
        self._has_begun = True
        self.absences = Absences(run.period_s)
        self._spec = spec = require_classes(self._order.counting, run.labels)
        self._summary = Summary(spec, lambda class_id: class_name(run.labels, class_id))
        if self._order.annotate is not None:
            self._annotator = Annotator(self._order.annotate, spec, run.labels, 1.0 / run.period_s)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """Add a frame."""
        tracked, events = counted.result.tracked, counted.result.events
        self._summary.add(events)
        self._paths.write(events, identity, self._labels)
        self._first_t = tracked.t if self.frames == 0 else self._first_t
        self._last_t = tracked.t
        self.frames += 1
        if self.absences is not None:
            self.absences.frame_counted(tracked.t)
        if self._annotator is not None and counted.picture is not None:
            self._annotator.add(counted.picture, tracked, events)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:  # noqa: ARG002
        """Add events of an old model; there is none, because one model counts here."""
        self._summary.add(events)

    def span_compared(self, camera_id: str, span: TrialSpan) -> None:
        """Ignore it: no second model follows here."""

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """Add the events that were decided at the end of a run."""
        self._paths.write(events or (), identity, self._labels)
        self._summary.end_run(events or (), self._last_t + self._period_s)

    def close(self) -> None:
        """Finish the annotated video."""
        if self._annotator is not None:
            self._annotator.close()

    def summary(self) -> dict[str, Any]:
        """Return the summary, ready for JSON."""
        summary = self._summary.as_dict(frames=self.frames, duration_s=self._last_t - self._first_t + self._period_s)
        return summary if self._journal is None else {**summary, "explain": explained(self._journal, self._spec)}
