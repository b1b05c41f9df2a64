"""The rules by which workers get cameras, and what the service knows of both. Pure: no IO, no clock, no protobuf.

A camera stays with its worker as long as the worker is alive: a move costs a gap in its counts. Each time a worker gets
a camera, the camera gets a new epoch. Files that are played once are the exception: their epoch is 0, so that another
run gives the same ids. If a camera's worker is gone and no other worker has room, the camera waits for its worker: a
worker that lost only its connection still counts.

Times are Unix seconds.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from countline_common.errors import FieldProblem, InvalidInputError
from countline_control import names
from countline_control.cameras.domain import Camera, CameraFault, CameraObservation, ObservedState
from countline_control.models.domain import Follower

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


# Who gets which camera -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssignableWorker:
    """What the plan needs to know of a worker."""

    instance: str
    capacity: int
    alive: bool
    """Its lease holds."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The worker process that holds a camera, and the epoch under which it does (0 for files that are played once)."""

    worker_id: str
    instance: str
    epoch: int
    assigned_at: float | None = field(default=None, compare=False)
    """Unix seconds; None for a file that is played once."""


@dataclass(slots=True)
class AssignmentPlan:
    """What has to change."""

    given: dict[str, str] = field(default_factory=dict)
    """camera → worker, each under a new epoch."""
    released: set[str] = field(default_factory=set)
    """Cameras that no worker should hold any more."""
    waiting: set[str] = field(default_factory=set)
    """Cameras that no worker has room for; nothing changes for them."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not self.given and not self.released


def plan_assignments(
    once: Mapping[str, bool], held: Mapping[str, Holder], workers: Mapping[str, AssignableWorker]
) -> AssignmentPlan:
    """Plan the changes after which a living worker with room holds every camera.

    Args:
        once: every camera that should be processed → whether it is a file that is played once.
        held: camera → its holder now.
        workers: every known worker, alive or not.
    """
    result = AssignmentPlan(released={camera_id for camera_id in held if camera_id not in once})
    load: Counter[str] = Counter()
    unplaced: list[str] = []
    for camera_id in sorted(once):
        holder = held.get(camera_id)
        if holder is not None and _may_keep(holder, once=once[camera_id], workers=workers, load=load):
            load[holder.worker_id] += 1
        else:
            unplaced.append(camera_id)
    # Cameras whose worker is alive again as a new process return to it before other cameras take its room.
    unplaced.sort(key=lambda camera_id: (not _worker_lives(held.get(camera_id), workers), camera_id))
    for camera_id in unplaced:
        worker_id = _choose(held.get(camera_id), workers, load)
        if worker_id is None:
            result.waiting.add(camera_id)
        else:
            result.given[camera_id] = worker_id
            load[worker_id] += 1
    return result


def _may_keep(holder: Holder, *, once: bool, workers: Mapping[str, AssignableWorker], load: Counter[str]) -> bool:
    worker = workers.get(holder.worker_id)
    if worker is None or not worker.alive or worker.instance != holder.instance:
        return False
    return once == (holder.epoch == 0) and load[holder.worker_id] < worker.capacity


def _worker_lives(holder: Holder | None, workers: Mapping[str, AssignableWorker]) -> bool:
    worker = workers.get(holder.worker_id) if holder else None
    return worker is not None and worker.alive


def _choose(holder: Holder | None, workers: Mapping[str, AssignableWorker], load: Counter[str]) -> str | None:
    """Choose the camera's former worker if it has room, else the worker with the smallest share of capacity in use."""
    free = [worker_id for worker_id, worker in workers.items() if worker.alive and load[worker_id] < worker.capacity]
    if holder is not None and holder.worker_id in free:
        return holder.worker_id
    return min(free, key=lambda worker_id: (load[worker_id] / workers[worker_id].capacity, worker_id), default=None)


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


def no_room(alive: int, capacity: int, since: float | None) -> CameraObservation:
    """Status of a camera that no worker can take.

    Args:
        alive: number of workers online.
        capacity: cameras that they can hold together.
        since: when the camera began to wait; None if it is not planned yet.
    """
    if not alive:
        fault = CameraFault(code="no_worker", message="no worker is online", hint="start one: countline worker")
    else:
        fault = CameraFault(
            code="no_capacity",
            message=f"all workers are full: {alive} online, for {capacity} cameras together",
            hint="start another worker, raise a worker's capacity, or disable a camera",
        )
    return CameraObservation(ObservedState.WAITING, fault=fault, since=since)
