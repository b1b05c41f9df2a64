"""What a data plane does on every backend: it holds cameras, and turns their sources into counted frames.

The software plane (`countline_pipelines.planes.software`) decodes with FFmpeg and infers through Triton. The DeepStream
plane does both inside GStreamer. Both take the same plans, count with the same `CameraCounter`, and report to the same
sink.

    worker or `countline count`  --plans-->  Plane  --runs, counted frames-->  PlaneSink
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from countline_common.display import PictureShape
from countline_common.errors import CountlineError, FieldProblem, InvalidInputError
from countline_counting.counter import FrameResult
from countline_counting.errors import SpecError
from countline_counting.events import Event
from countline_counting.identity import Identity
from countline_counting.spec import CountingSpec
from countline_counting.trials import TrialSpan
from countline_pipelines.sources import SourceSpec, SourceWarning


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
    picture: PictureShape | None = field(default=None, compare=False)
    """The displayed picture on which the lines and zones count; None if it is not known. It is what the source showed
    last, so another value alone changes nothing."""

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
    """The state of a camera's processing."""

    PROBING = "probing"
    """No picture has come yet."""
    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    """Counts, and so few of the frames that crossings may be missed."""
    OFFLINE = "offline"
    FAILED = "failed"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault on which a person can act."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class CameraCondition:
    """A camera at this moment."""

    state: CameraState
    fault: Fault | None = None
    picture: PictureShape | None = None
    """As displayed; None before the first. Of a file: the first one."""
    source_fps: float = 0.0
    processed_fps: float = 0.0
    latency_s: float = 0.0
    """From capture (of files: from decoding) to the finished count; 95th percentile of the last seconds."""
    frames_processed: int = 0
    frames_dropped: int = 0
    last_frame_at: float | None = None
    progress: float = 0.0
    """0..1 of a finite file; else 0."""
    model: str = ""
    """The version that counts now, as NAME@VERSION. During a change, the old version until the new one takes over."""
    follower_model: str = ""
    """The version that follows on trial, as NAME@VERSION; empty for none."""
    warnings: tuple[SourceWarning, ...] = ()
    """What a person should know about the source, though it is read."""


OnEnd = Callable[[CameraPlan, CameraState], None]
"""Called from the plane's thread when a camera's source is over, or the camera gives up. Gets the plan by which the
camera was counted, which may no longer be the wanted one, and the camera's state."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run of a camera starts."""

    identity: Identity
    size_wh: tuple[int, int]
    labels: tuple[str, ...]
    period_s: float
    """Expected time between processed frames."""
    finite: bool
    since: float | None = None
    """Capture time of the last frame of the run from which this run takes over; None if it takes over from none."""


@dataclass(frozen=True, slots=True)
class CountedFrame:
    """A frame that was counted."""

    result: FrameResult
    dropped: int
    """Frames that were left out just before it."""
    picture: Any | None
    """av.VideoFrame, if somebody watches; else None."""


class FrameSink(Protocol):
    """Takes what runs of a camera count, in order: a run's start, its frames, its end. Methods must not block."""

    def run_started(self, run: RunStarted) -> None:
        """A run starts; called before its first frame."""
        ...

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """A frame was counted."""
        ...

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """A run decided these events of earlier frames at capture time `t`, after another run took its frames over."""
        ...

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """A run ended; called after its last frame.

        Args:
            identity: of the run.
            events: what was decided at the end; None if the run was broken off and will be counted again.
        """
        ...


class PlaneSink(FrameSink, Protocol):
    """Takes what a plane counts. The plane calls it from its own thread, in order for each camera."""

    def span_compared(self, camera_id: str, span: TrialSpan) -> None:
        """Two versions of a model were compared over a span of a camera's frames."""
        ...


class Plane(Protocol):
    """A data plane. Methods may be called from any thread and do not block."""

    def add_camera(self, plan: CameraPlan) -> None:
        """Start a camera."""
        ...

    def update_camera(self, plan: CameraPlan) -> None:
        """Change a camera: lines, model and follower while it runs, anything else by making it again."""
        ...

    def remove_camera(self, camera_id: str) -> None:
        """Stop a camera and decide its open events.

        A finite file is counted again from its start, so nothing of it is decided.
        """
        ...

    def conditions(self) -> dict[str, CameraCondition]:
        """Every camera that the plane holds, by id."""
        ...

    def watch(self, camera_id: str, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        ...

    def pause(self, fault: Fault) -> None:
        """Take no more frames: files wait, live cameras stop (their coverage shows it). Conditions show the reason."""
        ...

    def resume(self) -> None:
        """Undo `pause`."""
        ...

    def close(self, timeout_s: float) -> None:
        """Stop every camera and wait for it."""
        ...


def fault_of(error: Exception, code: str = "") -> Fault:
    """An error as a camera's status shows it; `code` overrides the code of the error."""
    if isinstance(error, CountlineError):
        return Fault(code or str(getattr(error, "failure", error.code.lower())), error.message, error.hint)
    return Fault("internal", f"{type(error).__name__}: {error}", "this is a bug in Countline; see the worker's log")


def require_classes(spec: CountingSpec, labels: Sequence[str]) -> CountingSpec:
    """Check that a model has all classes that a spec names. Return the spec.

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
