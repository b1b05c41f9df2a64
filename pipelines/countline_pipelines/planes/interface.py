"""What a data plane does, whatever it runs on: holds cameras, turns their sources into counted frames.

The software plane (`countline_pipelines.planes.software`) decodes with FFmpeg and infers through Triton; a plane on
DeepStream does both inside GStreamer. Both take the same plans, end in the same `CameraCounter`, and report to the same
sink.

    worker or `countline count`  --plans-->  Plane  --runs, counted frames-->  PlaneSink
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from countline_common.errors import CountlineError, FieldProblem, InvalidInputError
from countline_counting.counter import FrameResult
from countline_counting.errors import SpecError
from countline_counting.events import Event
from countline_counting.identity import Identity
from countline_counting.spec import CountingSpec
from countline_counting.trials import TrialSpan
from countline_pipelines.sources import SourceSpec


@dataclass(frozen=True, slots=True)
class FollowerPlan:
    """A second model version on the frames of a camera. Its events are compared with the counts, then discarded."""

    trial_id: str
    model: str
    is_challenger: bool
    """Whether it is the new version (of a shadow) and not the old one (of a canary)."""


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """Everything that a plane needs to count one camera."""

    camera_id: str
    source: SourceSpec
    model: str
    counting: CountingSpec
    epoch: int = 0
    run: str = ""
    """Name of the run of a finite file (`identity.file_run_name`). Empty: the plane makes a new name at every start."""
    content: str = ""
    """Of a finite file: the hash of its bytes, or its address on a network."""
    follower: FollowerPlan | None = None

    def goes_over_to(self, other: "CameraPlan") -> bool:
        """Return whether `other` differs at most in what may change while the source stays open.

        That is model, follower and counting.

        The lines of a finite file do not change while it is counted. The file is counted again from its first frame, so
        that a new line counts all of it, under the same run name, so that the other crossings keep their ids. The model
        does change while it is counted: another model means another run name, so counting the file again would count
        every crossing twice.
        """
        changed = replace(self, model=other.model, run=other.run, follower=other.follower)
        return (changed if self.source.playback.is_finite else replace(changed, counting=other.counting)) == other


class CameraState(StrEnum):
    """Where a camera's processing stands."""

    STARTING = "starting"
    RUNNING = "running"
    RECONNECTING = "reconnecting"
    FAILED = "failed"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that a person can act on."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class CameraCondition:
    """A camera at this moment."""

    state: CameraState
    fault: Fault | None = None
    size_wh: tuple[int, int] = (0, 0)
    source_fps: float = 0.0
    processed_fps: float = 0.0
    latency_s: float = 0.0
    """From capture (files: from decoding) to the finished count, 95th percentile of the last seconds."""
    frames_processed: int = 0
    frames_dropped: int = 0
    last_frame_at: float | None = None
    progress: float = 0.0
    """0..1, for finite files."""
    model: str = ""
    """What counts now, as NAME@VERSION; while a version takes over from another, the old one before the change."""
    follower_model: str = ""
    """What runs beside it on trial."""


OnEnd = Callable[[CameraPlan, CameraState], None]
"""Told from the plane's thread of a camera whose source is over, or that gives up: by which plan it was counted, which
may not be what is wanted by now, and how it stands."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A camera's tracker begins."""

    identity: Identity
    size_wh: tuple[int, int]
    labels: tuple[str, ...]
    period_s: float
    """Expected time between processed frames."""
    finite: bool
    since: float | None = None
    """Capture time of the last frame of the run from which this one takes over; None where it follows none at once."""


@dataclass(frozen=True, slots=True)
class CountedFrame:
    """A frame at the end of its way."""

    result: FrameResult
    dropped: int
    """Frames that were left out just before it."""
    picture: Any | None
    """av.VideoFrame where somebody wants to see it."""


class PlaneSink(Protocol):
    """Whom a plane tells; called from the plane's own thread, for each camera in order, and must not block."""

    def run_started(self, run: RunStarted) -> None:
        """Before the run's first frame."""
        ...

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """After each frame."""
        ...

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """What a run decides at capture time `t` of earlier frames, after another has taken its frames over."""
        ...

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """After the run's last frame, with what was decided at its end; None: broken off, to be counted anew."""
        ...

    def span_compared(self, camera_id: str, span: TrialSpan) -> None:
        """What two versions made of the same span of a camera's frames."""
        ...


class Plane(Protocol):
    """A data plane. Methods may be called from any thread and do not block."""

    def add_camera(self, plan: CameraPlan) -> None:
        """Begin with a camera."""
        ...

    def update_camera(self, plan: CameraPlan) -> None:
        """Change a camera: its lines, its model and its follower while it runs, anything else by a new camera."""
        ...

    def remove_camera(self, camera_id: str) -> None:
        """Stop a camera; what it had open is decided, except of finite files, which would be counted anew."""
        ...

    def conditions(self) -> dict[str, CameraCondition]:
        """Every camera that the plane holds, by id."""
        ...

    def watch(self, camera_id: str, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        ...

    def pause(self, fault: Fault) -> None:
        """Take no more frames: files wait, live cameras stop (their coverage shows it) and say why."""
        ...

    def resume(self) -> None:
        """Undo `pause`."""
        ...

    def close(self, timeout_s: float) -> None:
        """Stop every camera and wait for it."""
        ...


def fault_of(error: Exception, code: str = "") -> Fault:
    """An error as a camera's status tells it; `code` where the error itself has no word that fits."""
    if isinstance(error, CountlineError):
        return Fault(code or str(getattr(error, "failure", error.code.lower())), error.message, error.hint)
    return Fault("internal", f"{type(error).__name__}: {error}", "this is a fault of ours; see the worker's log")


def counting_spec(spec: CountingSpec, labels: Sequence[str]) -> CountingSpec:
    """Return the spec of a camera once it is known that a model has all of its classes.

    Raises:
        InvalidInputError: a line or zone names a class that is not in the model's labels.
    """
    try:
        spec.resolve(labels)
    except SpecError as error:
        raise unusable_spec(error) from error
    return spec


def unusable_spec(error: SpecError) -> InvalidInputError:
    """Return a fault of a spec, or of the text of one, as an error that a command line and gRPC can report."""
    return InvalidInputError(str(error), hint=error.hint, fields=(FieldProblem(error.field, error.problem),))
