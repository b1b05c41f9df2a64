"""What a data plane does on every backend: it holds cameras, and turns their sources into counted frames.

The software plane (`countline_pipelines.planes.software`) decodes with FFmpeg and infers through Triton. The DeepStream
plane does both inside GStreamer. Both take the same plans, count with the same `CameraCounter`, and report to the same
sink.

    worker or `countline count`  --plans-->  Plane  --runs, counted frames-->  PlaneSink
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from countline_common.errors import CountlineError, FieldProblem, InvalidInputError
from countline_counting import (
    CountingSpec,
    Event,
    FrameResult,
    GeometryError,
    GroundPlane,
    Identity,
    Line,
    Zone,
)
from countline_counting.spec import Mask, MaskKind
from countline_counting.trials import TrialSpan
from countline_pipelines.sources import SourceSpec

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class LinePlan:
    """A line as a person drew it: classes by name."""

    id: str
    points: Points
    version: int = 1
    classes: tuple[str, ...] = ()
    """Empty for every class."""


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """A zone as a person drew it."""

    id: str
    polygon: Points
    version: int = 1
    classes: tuple[str, ...] = ()
    queue: bool = False
    """Whether objects in it wait."""


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """A mask as a person drew it."""

    id: str
    polygon: Points
    kind: MaskKind


@dataclass(frozen=True, slots=True)
class CountingPlan:
    """What is counted; may change while the camera runs."""

    lines: tuple[LinePlan, ...] = ()
    zones: tuple[ZonePlan, ...] = ()
    anchor: tuple[float, float] = (0.5, 1.0)
    min_score: float = 0.0
    """Detections below are not used. The threshold that a model ships with decides besides which may begin a track."""
    min_track_age_s: float = 0.0
    """An object that was seen for less time than this crosses nothing."""
    min_track_score: float = 0.0
    """Nor does one whose mean score is below this."""
    masks: tuple[MaskPlan, ...] = ()
    ground: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = ()
    """Four points of the picture, 0..1, each with its place on the ground in metres; empty for none."""


@dataclass(frozen=True, slots=True)
class FollowerPlan:
    """A second version of the model on a camera's frames; its counts are compared and thrown away."""

    trial_id: str
    model: str
    is_challenger: bool
    """True if it is the new version (in a shadow trial); False if it is the old one (in a canary trial)."""


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """What a plane has to know of one camera."""

    camera_id: str
    source: SourceSpec
    model: str
    counting: CountingPlan
    epoch: int = 0
    run: str = ""
    """Of a finite file: the name of its run, computed from content and plan. Empty: a new name at every start."""
    content: str = ""
    """Of a finite file: a hash of its content."""
    follower: FollowerPlan | None = None

    def goes_over_to(self, other: "CameraPlan") -> bool:
        """Whether `other` differs only in what may change while the source stays open: model, follower, counting.

        A finite file is counted anew from its first frame when its lines change, so that a new line counts the whole
        file; under the same name, so that the crossings of the other lines do not count twice. Its model changes while
        it is read: counting it anew with another model, under another name, would count everything twice.
        """
        changed = replace(self, model=other.model, run=other.run, follower=other.follower)
        return (changed if self.source.playback.is_finite else replace(changed, counting=other.counting)) == other


class CameraState(StrEnum):
    """The state of a camera's processing."""

    STARTING = "starting"
    RUNNING = "running"
    RECONNECTING = "reconnecting"
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
    size_wh: tuple[int, int] = (0, 0)
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


OnEnd = Callable[[CameraPlan, CameraState], None]
"""Called from the plane's thread when a camera's source is over, or the camera gives up. Gets the plan by which the
camera was counted, which may not be the wanted one any more, and the camera's state."""


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
            events: what was decided at the end; None if the run was broken off and will be counted anew.
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
        """Change a camera: lines, model and follower while it runs, anything else by making it anew."""
        ...

    def remove_camera(self, camera_id: str) -> None:
        """Stop a camera, and decide what it has open, except of a finite file, which would be counted anew."""
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


def counting_spec(plan: CountingPlan, labels: Sequence[str]) -> CountingSpec:
    """A plan with class names resolved and geometry checked.

    Raises:
        InvalidInputError: a class that the model does not have, or geometry that cannot be counted with.
    """
    try:
        return CountingSpec(
            lines=tuple(Line(p.id, p.points, p.version, class_ids(p.classes, labels, p.id)) for p in plan.lines),
            zones=tuple(
                Zone(p.id, p.polygon, p.version, class_ids(p.classes, labels, p.id), p.queue) for p in plan.zones
            ),
            anchor=plan.anchor,
            min_score=plan.min_score,
            min_track_age_s=plan.min_track_age_s,
            min_track_score=plan.min_track_score,
            masks=tuple(Mask(p.id, p.polygon, p.kind) for p in plan.masks),
            ground=GroundPlane(plan.ground) if plan.ground else None,
        )
    except GeometryError as error:
        raise InvalidInputError(
            str(error), hint=error.hint, fields=(FieldProblem(error.field, error.problem),)
        ) from error


def class_ids(names: Sequence[str], labels: Sequence[str], where: str) -> frozenset[int] | None:
    """Class numbers of names (or of numbers as text); None, meaning every class, for no names.

    Raises:
        InvalidInputError: the model has no such class.
    """
    if not names:
        return None
    return frozenset(_class_id(name, labels, where) for name in names)


def _class_id(name: str, labels: Sequence[str], where: str) -> int:
    lowered = [label.lower() for label in labels]
    if name.lower() in lowered:
        return lowered.index(name.lower())
    if name.isdigit() and (not labels or int(name) < len(labels)):
        return int(name)
    known = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
    raise InvalidInputError(
        f"{where}: the model has no class {name!r}",
        hint=f"choose from: {known}" if labels else "give the number of the class; this model names none",
        fields=(FieldProblem(f"{where}.classes", f"no class {name!r}"),),
    )
