"""Workers and cameras as they are right now, in memory: who holds which camera, and each camera's last status.

No IO: `schedule` keeps the fleet in step with the database, `service` passes reports to it. All methods are called on
one event loop.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from countline_common.redaction import redact
from countline_control.cameras.domain import CameraObservation, ObservedState, plays_once
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.models.domain import ModelRouting
from countline_control.models.routing import choose
from countline_control.workers import domain
from countline_control.workers.domain import (
    AssignableCamera,
    Assignment,
    CameraReport,
    FinishedFile,
    Holder,
    StoredWorker,
    WorkerReport,
    WorkerView,
)
from countline_control.workers.finished import FinishedFiles
from countline_control.workers.placement.plan import AssignmentPlan
from countline_control.workers.placement.state import PlacementState
from countline_control.workers.registry import WorkerRegistry


class Fleet:
    """Workers, cameras, and the holder of each camera.

    Args:
        lease_s: how long a worker counts as alive after a report.
        clock: monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.registry = WorkerRegistry(lease_s, clock, wall)
        self._wall = wall
        self.placement = PlacementState(self.registry, clock, wall)
        self.cordons = self.placement.cordons
        self._finished = FinishedFiles(clock)
        self._cameras: dict[str, AssignableCamera] = {}
        self._held: dict[str, Holder] = {}
        self._observations: dict[str, CameraObservation] = {}
        self._routing = ModelRouting({})

    def seed(
        self, workers: Iterable[StoredWorker], held: Mapping[str, Holder], finished: Mapping[str, FinishedFile]
    ) -> None:
        """Load the state of the database, in place of all that was known of workers and assignments."""
        self.registry.seed(workers)
        self._held = dict(held)
        self._observations.clear()
        self.placement.forget_waiting()
        self._finished.seed(finished)

    def set_cameras(self, cameras: Iterable[AssignableCamera]) -> None:
        """Replace the list of all cameras."""
        new = {item.camera.camera_id: item for item in cameras}
        for camera_id, item in new.items():
            before = self._cameras.get(camera_id)
            if before and before.fingerprint != item.fingerprint:
                self._finished.unsettle(camera_id)
        self._cameras = new

    def set_routing(self, routing: ModelRouting) -> None:
        """Replace which versions of models are live and on trial."""
        self._routing = routing

    # Reports ---------------------------------------------------------------------------------------------------------

    def report(self, report: WorkerReport) -> bool:
        """Take a worker's report; return whether cameras may have to move because of it.

        Raises:
            ConflictError: another process has taken over the worker's name.
        """
        has_changed = self.registry.renew(report)
        for camera in report.cameras:
            self._take_status(report, camera)
        return has_changed or self.cordons.has_unsaved or bool(self.newly_finished())

    def _take_status(self, worker: WorkerReport, report: CameraReport) -> None:
        camera_id, observed, fault = report.camera_id, report.observed, report.observed.fault
        if self._held.get(camera_id) != Holder(worker.worker_id, worker.instance, report.epoch):
            return  # the report is about an assignment that is over, or still on its way
        if fault is not None:
            has_content = fault.code or fault.message
            fault = replace(fault, message=redact(fault.message)) if has_content else None
        self._observations[camera_id] = replace(
            observed,
            worker_id=worker.worker_id,
            epoch=report.epoch,
            fault=fault,
            reported_at=self._wall() if observed.reported_at is None else observed.reported_at,
        )
        self.cordons.observed(camera_id, report.epoch, observed.state)
        if observed.state is not ObservedState.FINISHED:
            self._finished.settle(camera_id)

    # Assignments -----------------------------------------------------------------------------------------------------

    def plan(self) -> AssignmentPlan:
        """Plan what has to change now."""
        wanted = {
            camera_id: plays_once(item.camera)
            for camera_id, item in self._cameras.items()
            if item.camera.status is WantedStatus.ACTIVE and self._finished_file(camera_id) is None
        }
        return self.placement.plan(wanted, self._held)

    @property
    def held(self) -> Mapping[str, Holder]:
        """The holder of each camera that has one."""
        return self._held

    def plays_once(self, camera_id: str) -> bool:
        """Whether a camera is a file that is played once."""
        return plays_once(self._cameras[camera_id].camera)

    def apply(self, given: Mapping[str, Holder], released: AbstractSet[str]) -> None:
        """Take over a plan that the database stored."""
        for camera_id in released:
            self._held.pop(camera_id, None)
        self._held.update(given)
        for camera_id in {*given, *released}:
            self._observations.pop(camera_id, None)
            self._finished.unsettle(camera_id)
        self._finished.settle_except(self._held.keys())

    def assignments_of(self, worker_id: str, instance: str) -> tuple[Assignment, ...]:
        """Return what a worker's process should hold now, by camera."""
        return tuple(
            self._assignment(self._cameras[camera_id], holder)
            for camera_id, holder in sorted(self._held.items())
            if (holder.worker_id, holder.instance) == (worker_id, instance) and camera_id in self._cameras
        )

    def _assignment(self, item: AssignableCamera, holder: Holder) -> Assignment:
        choice = choose(item.camera.camera_id, item.camera.spec.model, self._routing)
        return Assignment(item, holder.epoch, choice.model, choice.follower, holder.assigned_at)

    # Files that have ended -------------------------------------------------------------------------------------------

    def newly_finished(self) -> dict[str, FinishedFile]:
        """Return the files that workers reported as ended and that are not stored as finished yet."""
        found: dict[str, FinishedFile] = {}
        for camera_id, holder in self._held.items():
            status, item = self._observations.get(camera_id), self._cameras.get(camera_id)
            ended = status is not None and status.state is ObservedState.FINISHED
            if item and status and ended and holder.epoch == 0 and self._finished.is_settled(camera_id):
                found[camera_id] = FinishedFile(item.fingerprint, status)
        return {camera_id: done for camera_id, done in found.items() if self._finished_file(camera_id) is None}

    def outdated_finished(self) -> set[str]:
        """Return the finished files that changed since, or whose camera is gone."""
        return self._finished.outdated(self._cameras)

    def note_finished(self, done: Mapping[str, FinishedFile], outdated: AbstractSet[str]) -> None:
        """Take over the results of `newly_finished` and `outdated_finished`, once the database stored them."""
        self._finished.note(done, outdated)

    def _finished_file(self, camera_id: str) -> FinishedFile | None:
        return self._finished.find(camera_id, self._cameras.get(camera_id))

    # Views -----------------------------------------------------------------------------------------------------------

    def status(self, camera_id: str) -> CameraObservation:
        """Return the status of a camera's processing."""
        if (done := self._finished_file(camera_id)) is not None:
            return done.observed
        holder = self._held.get(camera_id)
        record = self.registry.get(holder.worker_id) if holder else None
        if holder is None or record is None:
            return self.placement.no_room(camera_id)
        if not self.registry.is_alive(record):
            return domain.worker_gone(holder, record.reported_at, self._wall())
        return self._observations.get(camera_id) or domain.taken(holder)

    def camera_ids(self) -> list[str]:
        """Return the ids of all cameras, sorted."""
        return sorted(self._cameras)

    def epoch_of(self, camera_id: str) -> int:
        """Return the epoch under which a camera is held; 0 if it is not held."""
        holder = self._held.get(camera_id)
        return holder.epoch if holder else 0

    def camera(self, camera_id: str) -> AssignableCamera | None:
        """Return a camera; None if there is none of this id."""
        return self._cameras.get(camera_id)

    def is_finished(self, camera_id: str) -> bool:
        """Whether a camera is a file that was played to its end."""
        return self._finished_file(camera_id) is not None

    def workers(self) -> list[WorkerView]:
        """Return every worker, by id."""
        cameras_of: dict[str, list[str]] = {}
        for camera_id, holder in self._held.items():
            cameras_of.setdefault(holder.worker_id, []).append(camera_id)
        return [replace(view, cordon=self.cordons.get(view.worker_id)) for view in self.registry.views(cameras_of)]

    def worker(self, worker_id: str) -> WorkerView | None:
        """Return one worker; None if there is none of this id."""
        return next((view for view in self.workers() if view.worker_id == worker_id), None)

    def forget_long_gone(self) -> set[str]:
        """Drop workers that have not reported for a week, hold nothing and are not cordoned; return their ids."""
        holders = {holder.worker_id for holder in self._held.values()}
        return self.registry.forget_long_gone(holders | self.cordons.worker_ids)
