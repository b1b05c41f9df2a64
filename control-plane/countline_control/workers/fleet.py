"""Everything known of workers and cameras right now, in memory: leases, who holds what, what they last said.

No IO: `schedule.py` keeps it in step with the database, `service.py` feeds it reports. Leases run on a monotonic clock;
wall time (Unix seconds) is only shown. All methods are called on one event loop.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from countline.v1 import cameras_pb2, workers_pb2
from countline.v1.cameras_pb2 import Camera, CameraStatus
from countline.v1.workers_pb2 import Assignment, CameraReport, ConnectRequest
from countline_common.errors import ConflictError
from countline_common.logs import redact
from countline_common.times import to_timestamp
from countline_control.cameras.domain import plays_once
from countline_control.models.domain import Serving, choose
from countline_control.workers import domain
from countline_control.workers.domain import Candidate, Held, Plan
from countline_control.workers.store import Finished, StoredWorker

FINISHED_SETTLES_S: Final = 3.0
"""A report that a file has ended may still speak of the spec before a change; after so long it does not."""
REMEMBERED_INSTANCES: Final = 16
FORGOTTEN_AFTER_S: Final = 7 * 86_400.0
"""Workers named anew at each start, as in a cluster, would else pile up."""


@dataclass(slots=True)
class WorkerRecord:
    """One worker, as it last described itself."""

    worker_id: str
    instance: str
    backend: str
    capacity: int
    version: str
    connected_at: float
    reported_at: float
    lease_until: float
    """On the monotonic clock."""
    spool_bytes: float = 0.0
    past_instances: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_INSTANCES))
    """Processes that were replaced; one that reports again all the same shares its name with another."""

    def stored(self) -> StoredWorker:
        """The part that is kept in the database."""
        return StoredWorker(
            self.worker_id,
            self.instance,
            self.backend,
            self.capacity,
            self.version,
            self.connected_at,
            self.reported_at,
        )


@dataclass(frozen=True, slots=True)
class AssignableCamera:
    """A camera as a worker needs it: credentials included, with its site's time zone."""

    camera: Camera
    time_zone: str


def replaced(worker_id: str) -> ConflictError:
    """The error for a process whose name another one has now."""
    return ConflictError(
        f"another process has taken over as {worker_id!r}",
        hint="give each worker a name of its own: COUNTLINE_WORKER_NAME",
    )


class Fleet:
    """Workers, cameras, and who holds which.

    Args:
        lease_s: how long after a report a worker counts as alive.
        clock: monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._wall = wall
        self._workers: dict[str, WorkerRecord] = {}
        self._cameras: dict[str, AssignableCamera] = {}
        self._held: dict[str, Held] = {}
        self._finished: dict[str, Finished] = {}
        self._statuses: dict[str, CameraStatus] = {}
        self._unsettled: dict[str, float] = {}
        """Files whose worker has not been seen playing since they were given or changed → when that was."""
        self._waiting: AbstractSet[str] = frozenset()
        self._serving = Serving({})

    def seed(self, workers: Iterable[StoredWorker], held: Mapping[str, Held], finished: Mapping[str, Finished]) -> None:
        """Take over what the database knows. Each worker gets a whole lease to report: it may be alive and counting."""
        until = self._clock() + self.lease_s
        self._workers = {
            row.worker_id: WorkerRecord(
                row.worker_id,
                row.instance,
                row.backend,
                row.capacity,
                row.version,
                row.connected_at,
                row.reported_at,
                until,
            )
            for row in workers
        }
        self._held = dict(held)
        self._finished = dict(finished)

    def renew_all(self) -> None:
        """Let no lease run out for something that is not the workers' fault."""
        until = self._clock() + self.lease_s
        for record in self._workers.values():
            record.lease_until = max(record.lease_until, until)

    def set_cameras(self, cameras: Iterable[AssignableCamera]) -> None:
        """Take over the list of cameras, all of them."""
        new = {item.camera.camera_id: item for item in cameras}
        for camera_id, item in new.items():
            before = self._cameras.get(camera_id)
            if before and domain.fingerprint(before.camera.spec) != domain.fingerprint(item.camera.spec):
                self._unsettled[camera_id] = self._clock()
        self._cameras = new

    def set_serving(self, serving: Serving) -> None:
        """Take over which versions of models are live and on trial."""
        self._serving = serving

    def introduce(self, request: ConnectRequest) -> WorkerRecord:
        """Take in a worker that has connected; a new instance takes the place of the old one.

        Raises:
            InvalidInputError: it does not say who it is.
            ConflictError: the instance was replaced by another one that has the same name.
        """
        domain.check_introduction(request.worker_id, request.instance, request.capacity)
        known = self._workers.get(request.worker_id)
        if known is not None and known.instance != request.instance:
            self._refuse_replaced(known, request.instance)
            known.past_instances.append(known.instance)
        record = WorkerRecord(
            worker_id=request.worker_id,
            instance=request.instance,
            backend=request.backend,
            capacity=request.capacity,
            version=request.version,
            connected_at=self._wall(),
            reported_at=self._wall(),
            lease_until=self._clock() + self.lease_s,
        )
        if known is not None:
            record.past_instances = known.past_instances
        self._workers[record.worker_id] = record
        return record

    @staticmethod
    def _refuse_replaced(known: WorkerRecord, instance: str) -> None:
        if instance in known.past_instances:
            raise replaced(known.worker_id)

    def report(self, request: ConnectRequest) -> bool:
        """Take in what a worker says; returns whether cameras may have to move because of it.

        Raises:
            ConflictError: another process has taken over the worker's name.
        """
        record = self._workers[request.worker_id]
        if record.instance != request.instance:
            raise replaced(request.worker_id)
        before = record.capacity
        was_alive = self._is_alive(record)
        record.capacity = request.capacity
        record.spool_bytes = request.spool_bytes
        record.reported_at = self._wall()
        record.lease_until = self._clock() + self.lease_s
        for camera in request.cameras:
            self._take_status(record, camera)
        return not was_alive or before != record.capacity or bool(self.newly_finished())

    def _take_status(self, record: WorkerRecord, report: CameraReport) -> None:
        camera_id = report.camera_id
        holder = self._held.get(camera_id)
        if holder != Held(record.worker_id, record.instance, report.epoch):
            return  # it speaks of an assignment that is over, or under way
        status = CameraStatus()
        status.CopyFrom(report.status)
        status.worker_id, status.epoch = record.worker_id, report.epoch
        status.error.message = redact(status.error.message)
        if not status.error.code and not status.error.message:
            status.ClearField("error")
        if not status.HasField("reported_at"):
            status.reported_at.CopyFrom(to_timestamp(self._wall()))
        self._statuses[camera_id] = status
        if status.state != cameras_pb2.CAMERA_STATE_FINISHED:
            self._unsettled.pop(camera_id, None)

    def end_lease(self, worker_id: str, instance: str) -> None:
        """A worker said that it leaves: its cameras may move at once."""
        record = self._workers.get(worker_id)
        if record is not None and record.instance == instance:
            record.lease_until = self._clock()

    def plan(self) -> Plan:
        """What has to change now."""
        workers = {
            worker_id: Candidate(record.instance, record.capacity, self._is_alive(record))
            for worker_id, record in self._workers.items()
        }
        wanted = {
            camera_id: plays_once(item.camera.spec)
            for camera_id, item in self._cameras.items()
            if not item.camera.spec.disabled and not self._has_finished(camera_id)
        }
        result = domain.plan(wanted, self._held, workers)
        self._waiting = frozenset(result.waiting)
        return result

    def instance_of(self, worker_id: str) -> str:
        """The process that has the name now."""
        return self._workers[worker_id].instance

    def plays_once(self, camera_id: str) -> bool:
        """Whether a camera is a file that is played once."""
        return plays_once(self._cameras[camera_id].camera.spec)

    def took(self, given: Mapping[str, Held], released: AbstractSet[str]) -> None:
        """A plan has been written down."""
        for camera_id in released:
            self._held.pop(camera_id, None)
        self._held.update(given)
        for camera_id in {*given, *released}:
            self._statuses.pop(camera_id, None)
            self._unsettled[camera_id] = self._clock()
        for camera_id in self._unsettled.keys() - self._held.keys():
            del self._unsettled[camera_id]

    def newly_finished(self) -> dict[str, Finished]:
        """Files that were reported as played to their end, and are not yet noted so."""
        found: dict[str, Finished] = {}
        for camera_id, holder in self._held.items():
            status, item = self._statuses.get(camera_id), self._cameras.get(camera_id)
            ended = status is not None and status.state == cameras_pb2.CAMERA_STATE_FINISHED
            if item and status and ended and holder.epoch == 0 and self._is_settled(camera_id):
                found[camera_id] = Finished(domain.fingerprint(item.camera.spec), status)
        return {camera_id: done for camera_id, done in found.items() if not self._has_finished(camera_id)}

    def outdated_finished(self) -> set[str]:
        """Files noted as played to their end that changed since, or are gone."""
        return {camera_id for camera_id in self._finished if not self._has_finished(camera_id)}

    def note_finished(self, done: Mapping[str, Finished], outdated: AbstractSet[str]) -> None:
        """What `newly_finished` and `outdated_finished` named has been written down."""
        for camera_id in outdated:
            self._finished.pop(camera_id, None)
        self._finished.update(done)

    def _has_finished(self, camera_id: str) -> bool:
        done, item = self._finished.get(camera_id), self._cameras.get(camera_id)
        return done is not None and item is not None and done.fingerprint == domain.fingerprint(item.camera.spec)

    def _is_settled(self, camera_id: str) -> bool:
        return self._clock() - self._unsettled.get(camera_id, float("-inf")) >= FINISHED_SETTLES_S

    def assignments_of(self, worker_id: str, instance: str) -> list[Assignment]:
        """What a worker's process should hold now, by camera."""
        return [
            self._assignment(self._cameras[camera_id], holder.epoch)
            for camera_id, holder in sorted(self._held.items())
            if (holder.worker_id, holder.instance) == (worker_id, instance) and camera_id in self._cameras
        ]

    def _assignment(self, item: AssignableCamera, epoch: int) -> Assignment:
        choice = choose(item.camera.camera_id, item.camera.spec.model, self._serving)
        return Assignment(
            camera=item.camera, epoch=epoch, time_zone=item.time_zone, model=choice.model, follower=choice.follower
        )

    def status(self, camera_id: str) -> CameraStatus:
        """Where the processing of a camera stands."""
        if self._has_finished(camera_id):
            return self._finished[camera_id].status
        holder = self._held.get(camera_id)
        record = self._workers.get(holder.worker_id) if holder else None
        if holder is None or record is None:
            alive = [worker for worker in self._workers.values() if self._is_alive(worker)]
            return domain.nobody_has_room(len(alive), sum(worker.capacity for worker in alive))
        if not self._is_alive(record):
            return domain.worker_gone(holder, self._wall() - record.reported_at)
        return self._statuses.get(camera_id) or domain.starting(holder)

    def camera_ids(self) -> list[str]:
        """Every camera."""
        return sorted(self._cameras)

    def epoch_of(self, camera_id: str) -> int:
        """The epoch under which a camera is held; 0 where it is not."""
        holder = self._held.get(camera_id)
        return holder.epoch if holder else 0

    def workers(self) -> list[workers_pb2.Worker]:
        """Everybody, by id."""
        return [self._message(self._workers[worker_id]) for worker_id in sorted(self._workers)]

    def online(self) -> int:
        """How many workers are alive."""
        return sum(self._is_alive(record) for record in self._workers.values())

    @property
    def waiting(self) -> AbstractSet[str]:
        """Cameras that nobody has room for, as of the last plan."""
        return self._waiting

    def record(self, worker_id: str) -> WorkerRecord:
        """One worker."""
        return self._workers[worker_id]

    def forget_long_gone(self) -> set[str]:
        """Drop workers that have not reported for a week and hold nothing; returns which."""
        holders = {holder.worker_id for holder in self._held.values()}
        oldest = self._wall() - FORGOTTEN_AFTER_S
        gone = {
            worker_id
            for worker_id, record in self._workers.items()
            if record.reported_at < oldest and worker_id not in holders and not self._is_alive(record)
        }
        for worker_id in gone:
            del self._workers[worker_id]
        return gone

    def _is_alive(self, record: WorkerRecord) -> bool:
        return self._clock() < record.lease_until

    def _message(self, record: WorkerRecord) -> workers_pb2.Worker:
        held = (camera_id for camera_id, holder in self._held.items() if holder.worker_id == record.worker_id)
        return workers_pb2.Worker(
            worker_id=record.worker_id,
            state=workers_pb2.WORKER_STATE_ONLINE if self._is_alive(record) else workers_pb2.WORKER_STATE_OFFLINE,
            backend=record.backend,
            capacity=record.capacity,
            camera_ids=sorted(held),
            version=record.version,
            connected_at=to_timestamp(record.connected_at),
            reported_at=to_timestamp(record.reported_at),
            spool_bytes=record.spool_bytes,
        )
