"""What the service knows of workers and cameras. Pure: no IO, no clock, no protobuf.

Each time a worker gets a camera, the camera gets a new epoch. Files that are played once are the exception: their epoch
is 0, so that another run gives the same ids.

Times are Unix seconds.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from countline_common.errors import FieldProblem, InvalidInputError
from countline_control import names
from countline_control.cameras.domain import Camera, CameraFault, CameraObservation, ObservedState
from countline_control.models.domain import Follower

# Cordons -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cordon:
    """Keeps new cameras away from a worker."""

    worker_id: str
    drains: bool
    """The worker's cameras move to others."""
    reason: str
    by: str
    """Name of the caller."""
    since: float
    at_once: bool = False
    """All cameras move at the same time; otherwise a camera waits until the one before it is counted again."""
    drained_at: float | None = None
    """When the drain had moved the last camera."""


@dataclass(frozen=True, slots=True)
class CameraMove:
    """A camera that a drain has moved."""

    camera_id: str
    former_worker_id: str
    worker_id: str
    """The worker that has got it."""
    epoch: int
    moved_at: float
    counting_at: float | None = None
    """When the control-plane learned that the new worker counts the camera."""

    @property
    def lost_s(self) -> float:
        """Coverage that the move has cost. A file that is played once loses none: it is played again."""
        return max(0.0, self.counting_at - self.moved_at) if self.epoch and self.counting_at is not None else 0.0


# Workers -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredWorker:
    """A worker as the database keeps it."""

    worker_id: str
    instance: str
    """New at each start of the process."""
    backend: str
    capacity: int
    version: str
    connected_at: float
    reported_at: float


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as callers see it."""

    worker_id: str
    online: bool
    backend: str
    capacity: int
    camera_ids: tuple[str, ...]
    version: str
    connected_at: float
    reported_at: float
    spool_bytes: float
    clock_offset_s: float = 0.0
    cordon: Cordon | None = None


@dataclass(frozen=True, slots=True)
class CameraReport:
    """What a worker reports of one camera."""

    camera_id: str
    epoch: int
    observed: CameraObservation


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker reports of itself and its cameras."""

    worker_id: str
    instance: str
    backend: str
    capacity: int
    version: str
    spool_bytes: float
    cameras: tuple[CameraReport, ...]
    clock_offset_s: float = 0.0
    """How far the worker's clock is ahead of that of NATS."""


MAX_LABEL: Final = 128
"""Characters of the backend and the version of a worker."""


def check_introduction(report: WorkerReport) -> None:
    """Check a worker's first report.

    Raises:
        InvalidInputError: names each field that cannot be used.
    """
    problems = []
    if not names.is_worker_id(report.worker_id):
        problems.append(FieldProblem("worker_id", f"{report.worker_id[:80]!r} is not an id; {names.WORKER_HINT}"))
    if not 0 < len(report.instance) <= 128:
        problems.append(FieldProblem("instance", "give 1 to 128 characters that are new at each start"))
    problems += [
        FieldProblem(field, f"has {len(text)} characters; {MAX_LABEL} is the limit")
        for field, text in (("backend", report.backend), ("version", report.version))
        if len(text) > MAX_LABEL
    ]
    if report.capacity < 0:
        problems.append(FieldProblem("capacity", "is negative; give the number of cameras that the worker can hold"))
    if problems:
        raise InvalidInputError(f"worker {report.worker_id[:80]!r} cannot be registered", fields=tuple(problems))


# Cameras -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssignableCamera:
    """A camera as a worker needs it."""

    camera: Camera
    """Credentials included."""
    time_zone: str
    """Of its site."""
    fingerprint: str
    """Changes if and only if the file would be counted differently; see `messages.fingerprint`."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A camera that a worker holds."""

    item: AssignableCamera
    epoch: int
    model: str
    """`NAME@VERSION`; empty where no version is known."""
    follower: Follower | None
    assigned_at: float | None = None


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """A file that was played to its end."""

    fingerprint: str
    observed: CameraObservation


# Who holds a camera ---------------------------------------------------------------------------------------------------


class AssignmentCause(StrEnum):
    """Why a worker got a camera."""

    UNSPECIFIED = ""
    """A release that did not record it stored the assignment."""
    NEW = "new"
    """No worker held the camera."""
    RESTARTED = "restarted"
    """Its worker started again as a new process."""
    GONE = "gone"
    """Its former worker stopped reporting, or left."""
    FULL = "full"
    """Its former worker lowered its capacity."""
    DRAINED = "drained"
    """Its former worker was drained."""
    CHANGED = "changed"
    """A stream became a file that is played once, or the other way round."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The worker process that holds a camera, and the epoch under which it does (0 for files that are played once)."""

    worker_id: str
    instance: str
    epoch: int
    assigned_at: float | None = field(default=None, compare=False)
    """Unix seconds; None for a file that is played once."""
    cause: AssignmentCause = field(default=AssignmentCause.UNSPECIFIED, compare=False)
    former_worker_id: str = field(default="", compare=False)
    """The worker that held the camera before; may be the same one."""


# Statuses of cameras without a report --------------------------------------------------------------------------------


def taken(holder: Holder) -> CameraObservation:
    """Return what is known of a camera whose worker has not reported it yet."""
    return CameraObservation(ObservedState.PROBING, worker_id=holder.worker_id, epoch=holder.epoch)


def worker_gone(holder: Holder, silent_since: float, now: float) -> CameraObservation:
    """Status of a camera whose worker is silent while no other worker has room."""
    silent_for = f"{now - silent_since:.0f} s"
    fault = CameraFault(
        code="worker_offline",
        message=f"worker {holder.worker_id} has not reported for {silent_for} and no other worker has room",
        hint="see `countline workers list`; start this worker again, or another one",
    )
    return CameraObservation(
        ObservedState.WAITING, worker_id=holder.worker_id, epoch=holder.epoch, fault=fault, since=silent_since
    )


def no_room(alive: int, capacity: int, since: float | None, cordoned: int = 0) -> CameraObservation:
    """Status of a camera that no worker can take.

    Args:
        alive: number of workers online.
        capacity: cameras that they can hold together, without those that are cordoned.
        since: when the camera began to wait; None if it is not planned yet.
        cordoned: workers online that get no new cameras.
    """
    if not alive:
        fault = CameraFault(code="no_worker", message="no worker is online", hint="start one: countline worker")
    elif cordoned == alive:
        fault = CameraFault(
            code="no_capacity",
            message=f"all workers that are online are cordoned: {cordoned}",
            hint="uncordon one: countline workers uncordon WORKER; or start another worker",
        )
    else:
        besides = f", and {cordoned} more that are cordoned" if cordoned else ""
        fault = CameraFault(
            code="no_capacity",
            message=f"all workers are full: {alive - cordoned} online, for {capacity} cameras together{besides}",
            hint="start another worker, raise a worker's capacity, or disable a camera",
        )
    return CameraObservation(ObservedState.WAITING, fault=fault, since=since)
