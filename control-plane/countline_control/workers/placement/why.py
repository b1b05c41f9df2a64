"""Explains which worker counts a camera, and why this one and no other. Pure.

It uses what the plan uses: who is online and cordoned, who has room, and which share of a capacity is in use.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from countline_common.errors import NotFoundError
from countline_control.cameras.domain import CameraObservation
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.workers.domain import Cordon, Holder
from countline_control.workers.fleet import Fleet
from countline_control.workers.placement.plan import AssignableWorker, has_room, least_loaded


class CandidateVerdict(StrEnum):
    """What the schedule says of a worker for a camera."""

    HOLDS = "holds"
    NEXT = "next"
    BUSIER = "busier"
    FULL = "full"
    CORDONED = "cordoned"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class WorkerCandidate:
    """A worker, as the schedule sees it for a camera."""

    worker_id: str
    verdict: CandidateVerdict
    cameras: int
    capacity: int
    explanation: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Which worker counts a camera, and why."""

    camera_id: str
    holder: Holder | None
    observed: CameraObservation | None
    """None if no worker should hold the camera."""
    not_wanted: str
    """Why no worker should hold it; empty if one should."""
    candidates: tuple[WorkerCandidate, ...]
    """Every worker, the holder first, then by id."""


def explain(fleet: Fleet, camera_id: str) -> Placement:
    """Explain the placement of a camera.

    Raises:
        NotFoundError: there is no such camera.
    """
    item = fleet.camera(camera_id)
    if item is None:
        raise NotFoundError(f"there is no camera {camera_id!r}", hint="list the cameras: countline cameras list")
    holder = fleet.held.get(camera_id)
    status = item.camera.status
    not_wanted = status.value if status is not WantedStatus.ACTIVE else "finished" * fleet.is_finished(camera_id)
    workers = fleet.placement.workers(fleet.held)
    cordons = {worker_id: fleet.cordons.get(worker_id) for worker_id in workers}
    load = Counter(each.worker_id for each in fleet.held.values())
    return Placement(
        camera_id,
        holder,
        None if status is not WantedStatus.ACTIVE else fleet.status(camera_id),
        not_wanted,
        candidates(holder, workers, cordons, load),
    )


def candidates(
    holder: Holder | None,
    workers: Mapping[str, AssignableWorker],
    cordons: Mapping[str, Cordon | None],
    load: Mapping[str, int],
) -> tuple[WorkerCandidate, ...]:
    """Judge every worker for a camera.

    Args:
        holder: of the camera; None if no worker holds it.
        workers: every known worker.
        cordons: worker → its cordon, if any.
        load: worker → cameras that it holds.
    """
    holder_id = holder.worker_id if holder is not None else ""
    others = {worker_id: worker for worker_id, worker in workers.items() if worker_id != holder_id}
    following = least_loaded(others, load)
    found = []
    for worker_id in sorted(workers, key=lambda worker_id: (worker_id != holder_id, worker_id)):
        verdict = _verdict(worker_id, holder_id, following, workers, load)
        worker, count = workers[worker_id], load.get(worker_id, 0)
        words = _words(verdict, worker, cordons.get(worker_id), count)
        found.append(WorkerCandidate(worker_id, verdict, count, worker.capacity, words))
    return tuple(found)


def _verdict(
    worker_id: str,
    holder_id: str,
    following: str | None,
    workers: Mapping[str, AssignableWorker],
    load: Mapping[str, int],
) -> CandidateVerdict:
    worker = workers[worker_id]
    if worker_id == holder_id:
        return CandidateVerdict.HOLDS
    if not worker.alive:
        return CandidateVerdict.OFFLINE
    if worker.cordoned:
        return CandidateVerdict.CORDONED
    if not has_room(worker_id, workers, load):
        return CandidateVerdict.FULL
    return CandidateVerdict.NEXT if worker_id == following else CandidateVerdict.BUSIER


def _words(verdict: CandidateVerdict, worker: AssignableWorker, cordon: Cordon | None, count: int) -> str:
    share = f"{count / worker.capacity:.0%} of its capacity is in use" if worker.capacity else "its capacity is 0"
    if verdict is CandidateVerdict.HOLDS:
        return _words_of_holder(worker, cordon)
    if verdict is CandidateVerdict.CORDONED and cordon is not None:
        because = f": {cordon.reason}" if cordon.reason else ""
        return f"{cordon.by} has {'drained' if cordon.drains else 'cordoned'} it{because}"
    return {
        CandidateVerdict.OFFLINE: "it has stopped reporting",
        CandidateVerdict.CORDONED: "it is cordoned",
        CandidateVerdict.FULL: f"{share}",
        CandidateVerdict.NEXT: f"it gets the camera if the camera has to move: {share}, the smallest share of all",
        CandidateVerdict.BUSIER: f"it has room, and another has a smaller share in use: {share}",
    }[verdict]


def _words_of_holder(worker: AssignableWorker, cordon: Cordon | None) -> str:
    if not worker.alive:
        return "it has stopped reporting; the camera moves as soon as another worker has room"
    if cordon is not None and cordon.drains:
        return f"{cordon.by} drains it; the camera moves when its turn comes and another worker has room"
    return "a camera stays with its worker while the worker reports"
