"""The rules by which workers get cameras. Pure: no IO, no clock, no protobuf.

A camera stays with its worker as long as the worker is alive: a move costs a gap in its counts. If a camera's worker is
gone and no other worker has room, the camera waits for its worker: a worker that lost only its connection still counts.

A cordoned worker keeps its cameras, also when it starts again, and gets no others. A worker that is drained gives its
cameras to others that have room; a camera for which none has room stays. Cameras that no worker counts get the room
first.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from countline_control.workers.domain import AssignmentCause, Holder


@dataclass(frozen=True, slots=True)
class AssignableWorker:
    """What the plan needs to know of a worker."""

    instance: str
    capacity: int
    alive: bool
    """Its lease holds."""
    cordoned: bool = False
    drains: bool = False
    """Only if it is cordoned."""
    moves_now: int = 0
    """Cameras that a drain may move away from it by this plan."""


@dataclass(slots=True)
class AssignmentPlan:
    """What has to change."""

    given: dict[str, str] = field(default_factory=dict)
    """camera → worker, each under a new epoch."""
    causes: dict[str, AssignmentCause] = field(default_factory=dict)
    """Why, for each camera of `given`."""
    released: set[str] = field(default_factory=set)
    """Cameras that no worker should hold any more."""
    waiting: set[str] = field(default_factory=set)
    """Cameras that no worker has room for; nothing changes for them."""
    stuck: set[str] = field(default_factory=set)
    """Cameras of drained workers that no other worker has room for; nothing changes for them."""

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
    kept: list[str] = []
    unplaced: list[str] = []
    for camera_id in sorted(once):
        holder = held.get(camera_id)
        if holder is not None and _may_keep(holder, once=once[camera_id], workers=workers, load=load):
            load[holder.worker_id] += 1
            kept.append(camera_id)
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
            result.causes[camera_id] = _cause(held.get(camera_id), worker_id, once=once[camera_id], workers=workers)
            load[worker_id] += 1
    _drain(result, [(camera_id, held[camera_id].worker_id) for camera_id in kept], workers, load)
    return result


def _drain(
    result: AssignmentPlan,
    kept: list[tuple[str, str]],
    workers: Mapping[str, AssignableWorker],
    load: Counter[str],
) -> None:
    """Add the moves of drains to a plan.

    Args:
        result: the plan so far.
        kept: cameras with their workers, in the order in which they move.
        workers: every known worker.
        load: worker → cameras that it will hold; kept up to date.
    """
    moved: Counter[str] = Counter()
    for camera_id, worker_id in kept:
        worker = workers[worker_id]
        if not worker.drains:
            continue
        target = least_loaded(workers, load)
        if target is None:
            result.stuck.add(camera_id)
        elif moved[worker_id] < worker.moves_now:
            moved[worker_id] += 1
            result.given[camera_id], result.causes[camera_id] = target, AssignmentCause.DRAINED
            load[target] += 1
            load[worker_id] -= 1


def _may_keep(holder: Holder, *, once: bool, workers: Mapping[str, AssignableWorker], load: Counter[str]) -> bool:
    worker = workers.get(holder.worker_id)
    if worker is None or not worker.alive or worker.instance != holder.instance:
        return False
    return once == (holder.epoch == 0) and load[holder.worker_id] < worker.capacity


def _worker_lives(holder: Holder | None, workers: Mapping[str, AssignableWorker]) -> bool:
    worker = workers.get(holder.worker_id) if holder else None
    return worker is not None and worker.alive


def _choose(holder: Holder | None, workers: Mapping[str, AssignableWorker], load: Counter[str]) -> str | None:
    """Choose the camera's former worker if it has room, else the worker with the smallest share of capacity in use.

    A former worker that is drained comes last.
    """
    former = holder.worker_id if holder is not None and has_room(holder.worker_id, workers, load) else None
    if former is not None and not workers[former].drains:
        return former
    return least_loaded(workers, load) or former


def has_room(worker_id: str, workers: Mapping[str, AssignableWorker], load: Mapping[str, int]) -> bool:
    """Whether a worker is alive and could hold another camera, cordoned or not."""
    worker = workers.get(worker_id)
    return worker is not None and worker.alive and load.get(worker_id, 0) < worker.capacity


def least_loaded(workers: Mapping[str, AssignableWorker], load: Mapping[str, int]) -> str | None:
    """Return the worker that gets the next camera: the smallest share of its capacity is in use. None: none has room.

    Args:
        workers: every known worker.
        load: worker → cameras that it holds.
    """
    free = [
        worker_id for worker_id, worker in workers.items() if not worker.cordoned and has_room(worker_id, workers, load)
    ]

    def share(worker_id: str) -> float:
        return load.get(worker_id, 0) / workers[worker_id].capacity

    return min(free, key=lambda worker_id: (share(worker_id), worker_id), default=None)


def _cause(
    holder: Holder | None, chosen: str, *, once: bool, workers: Mapping[str, AssignableWorker]
) -> AssignmentCause:
    """Return why a camera that its worker cannot keep gets the chosen one."""
    if holder is None:
        return AssignmentCause.NEW
    worker = workers.get(holder.worker_id)
    if worker is None or not worker.alive:
        return AssignmentCause.GONE
    if worker.drains and chosen != holder.worker_id:
        return AssignmentCause.DRAINED
    if worker.instance != holder.instance:
        return AssignmentCause.RESTARTED if chosen == holder.worker_id else AssignmentCause.FULL
    return AssignmentCause.CHANGED if once != (holder.epoch == 0) else AssignmentCause.FULL
