"""The rules by which cameras are given to workers, without IO and without a clock.

A camera stays where it is as long as its worker lives: moving it costs a gap. It gets a new epoch each time it is
given, except files that are played once, whose epoch is 0 so that playing one again gives the same ids. A camera whose
worker is gone waits for it as long as nobody else has room, since a worker that lost only its connection still counts.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import CameraError, CameraSpec, CameraStatus
from countline_common.errors import FieldProblem, InvalidInputError
from countline_control import names


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker as far as giving it cameras goes."""

    instance: str
    capacity: int
    alive: bool
    """Its lease has not run out."""


@dataclass(frozen=True, slots=True)
class Held:
    """Who has a camera, and under which epoch (0 for files that are played once)."""

    worker_id: str
    instance: str
    epoch: int


@dataclass(slots=True)
class Plan:
    """What has to change."""

    given: dict[str, str] = field(default_factory=dict)
    """camera → worker, each under a new epoch."""
    released: set[str] = field(default_factory=set)
    """Cameras that nobody should hold any more."""
    waiting: set[str] = field(default_factory=set)
    """Cameras that nobody has room for; nothing changes for them."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be written down."""
        return not self.given and not self.released


def plan(once: Mapping[str, bool], held: Mapping[str, Held], workers: Mapping[str, Candidate]) -> Plan:
    """What has to change so that every camera is held by a living worker with room for it.

    Args:
        once: every camera that should be processed → whether it is a file that is played once.
        held: camera → who holds it now.
        workers: everybody who ever reported.
    """
    result = Plan(released={camera_id for camera_id in held if camera_id not in once})
    load: Counter[str] = Counter()
    homeless: list[str] = []
    for camera_id in sorted(once):
        holder = held.get(camera_id)
        if holder is not None and _may_keep(holder, once=once[camera_id], workers=workers, load=load):
            load[holder.worker_id] += 1
        else:
            homeless.append(camera_id)
    # Those whose worker is still there, as a new process, go back to it before others take the room.
    homeless.sort(key=lambda camera_id: (not _has_home(held.get(camera_id), workers), camera_id))
    for camera_id in homeless:
        worker_id = _choose(held.get(camera_id), workers, load)
        if worker_id is None:
            result.waiting.add(camera_id)
        else:
            result.given[camera_id] = worker_id
            load[worker_id] += 1
    return result


def _may_keep(holder: Held, *, once: bool, workers: Mapping[str, Candidate], load: Counter[str]) -> bool:
    worker = workers.get(holder.worker_id)
    if worker is None or not worker.alive or worker.instance != holder.instance:
        return False
    return once == (holder.epoch == 0) and load[holder.worker_id] < worker.capacity


def _has_home(holder: Held | None, workers: Mapping[str, Candidate]) -> bool:
    worker = workers.get(holder.worker_id) if holder else None
    return worker is not None and worker.alive


def _choose(holder: Held | None, workers: Mapping[str, Candidate], load: Counter[str]) -> str | None:
    """The same worker again where it lives, else the one with the smallest share of its capacity in use."""
    free = [worker_id for worker_id, worker in workers.items() if worker.alive and load[worker_id] < worker.capacity]
    if holder is not None and holder.worker_id in free:
        return holder.worker_id
    return min(free, key=lambda worker_id: (load[worker_id] / workers[worker_id].capacity, worker_id), default=None)


def fingerprint(spec: CameraSpec) -> str:
    """A text that changes when what would be counted in a file changes; switching it off and on does not count.

    Nor does another model: what it would find has been counted already, and would be counted twice.
    """
    relevant = CameraSpec()
    relevant.CopyFrom(spec)
    relevant.ClearField("disabled")
    relevant.ClearField("model")
    return hashlib.sha256(relevant.SerializeToString(deterministic=True)).hexdigest()[:32]


def check_introduction(worker_id: str, instance: str, capacity: int) -> None:
    """Raise where a worker's first report cannot be used.

    Raises:
        InvalidInputError: with each field that is wrong.
    """
    problems = []
    if not names.is_worker_id(worker_id):
        problems.append(FieldProblem("worker_id", f"{worker_id[:80]!r} is no id; {names.WORKER_HINT}"))
    if not 0 < len(instance) <= 128:
        problems.append(FieldProblem("instance", "give 1 to 128 characters that are new at each start"))
    if capacity < 0:
        problems.append(FieldProblem("capacity", "is negative; give how many cameras the worker can hold"))
    if problems:
        raise InvalidInputError(f"the worker {worker_id[:80]!r} cannot be taken in", fields=tuple(problems))


def starting(holder: Held) -> CameraStatus:
    """The status of a camera that was given to a worker which has not spoken of it yet."""
    return CameraStatus(state=cameras_pb2.CAMERA_STATE_STARTING, worker_id=holder.worker_id, epoch=holder.epoch)


def worker_gone(holder: Held, silent_for_s: float) -> CameraStatus:
    """The status of a camera whose worker does not report while nobody else has room."""
    error = CameraError(
        code="worker_offline",
        message=f"its worker {holder.worker_id} has not reported for {silent_for_s:.0f} s and no other has room",
        hint="see `countline workers list`; start the worker again, or another one",
    )
    return CameraStatus(
        state=cameras_pb2.CAMERA_STATE_WAITING, worker_id=holder.worker_id, epoch=holder.epoch, error=error
    )


def nobody_has_room(alive: int, capacity: int) -> CameraStatus:
    """The status of a camera that no worker can take."""
    if not alive:
        error = CameraError(code="no_worker", message="no worker is online", hint="start one: countline worker")
    else:
        error = CameraError(
            code="no_capacity",
            message=f"all workers are full: {alive} online, for {capacity} cameras together",
            hint="start another worker, raise a worker's capacity, or disable a camera",
        )
    return CameraStatus(state=cameras_pb2.CAMERA_STATE_WAITING, error=error)
