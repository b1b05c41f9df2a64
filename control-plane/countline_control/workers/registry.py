"""The workers that are known, in memory: who they are, and whether their leases hold.

Leases run on a monotonic clock; wall time (Unix seconds) is only shown.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from countline_common.errors import ConflictError
from countline_control.workers.domain import (
    StoredWorker,
    WorkerReport,
    WorkerView,
    check_introduction,
)

REMEMBERED_INSTANCES: Final = 16
FORGOTTEN_AFTER_S: Final = 7 * 86_400.0
"""In a cluster each start makes a new worker name: without a limit they would pile up."""


@dataclass(slots=True)
class WorkerRecord:
    """One worker, as its last report described it."""

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
    clock_offset_s: float = 0.0
    past_instances: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_INSTANCES))
    """Processes that were replaced. If one of them reports again, two processes share the name."""

    def stored(self) -> StoredWorker:
        """Return the part that the database keeps."""
        return StoredWorker(
            self.worker_id,
            self.instance,
            self.backend,
            self.capacity,
            self.version,
            self.connected_at,
            self.reported_at,
        )


def replaced(worker_id: str) -> ConflictError:
    """Build the error for a process whose name another process has now."""
    return ConflictError(
        f"another process has taken over as {worker_id!r}",
        hint="give each worker a name of its own: COUNTLINE_WORKER_NAME",
    )


class WorkerRegistry:
    """Registers workers and renews their leases.

    Args:
        lease_s: how long a worker counts as alive after a report.
        clock: monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._wall = wall
        self._workers: dict[str, WorkerRecord] = {}

    def seed(self, workers: Iterable[StoredWorker]) -> None:
        """Load the workers of the database. Each gets a whole lease to report: it may be alive and counting."""
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

    def renew_all(self) -> None:
        """Renew every lease, after an outage that is not the workers' fault."""
        until = self._clock() + self.lease_s
        for record in self._workers.values():
            record.lease_until = max(record.lease_until, until)

    def introduce(self, report: WorkerReport) -> WorkerRecord:
        """Register a worker that has connected; a new instance replaces the old one.

        Raises:
            InvalidInputError: the report does not describe a worker.
            ConflictError: another instance of the same name has replaced this one.
        """
        check_introduction(report)
        known = self._workers.get(report.worker_id)
        if known is not None and known.instance != report.instance:
            if report.instance in known.past_instances:
                raise replaced(known.worker_id)
            known.past_instances.append(known.instance)
        record = WorkerRecord(
            worker_id=report.worker_id,
            instance=report.instance,
            backend=report.backend,
            capacity=report.capacity,
            version=report.version,
            connected_at=self._wall(),
            reported_at=self._wall(),
            lease_until=self._clock() + self.lease_s,
        )
        if known is not None:
            record.past_instances = known.past_instances
        self._workers[record.worker_id] = record
        return record

    def renew(self, report: WorkerReport) -> bool:
        """Renew the lease of a worker that reports; return whether its cameras may have to move.

        Raises:
            ConflictError: another process has taken over the worker's name.
        """
        record = self._workers[report.worker_id]
        if record.instance != report.instance:
            raise replaced(report.worker_id)
        has_changed = not self.is_alive(record) or record.capacity != report.capacity
        record.capacity = report.capacity
        record.spool_bytes = report.spool_bytes
        record.clock_offset_s = report.clock_offset_s
        record.reported_at = self._wall()
        record.lease_until = self._clock() + self.lease_s
        return has_changed

    def end_lease(self, worker_id: str, instance: str) -> None:
        """End the lease of a worker that leaves: its cameras may move at once."""
        record = self._workers.get(worker_id)
        if record is not None and record.instance == instance:
            record.lease_until = self._clock()

    def forget_long_gone(self, holders: AbstractSet[str]) -> set[str]:
        """Drop workers that have not reported for a week, except `holders`; return their ids."""
        oldest = self._wall() - FORGOTTEN_AFTER_S
        gone = {
            worker_id
            for worker_id, record in self._workers.items()
            if record.reported_at < oldest and worker_id not in holders and not self.is_alive(record)
        }
        for worker_id in gone:
            del self._workers[worker_id]
        return gone

    def is_alive(self, record: WorkerRecord) -> bool:
        """Whether the worker's lease holds."""
        return self._clock() < record.lease_until

    def get(self, worker_id: str) -> WorkerRecord | None:
        """Return one worker, or None if it is unknown."""
        return self._workers.get(worker_id)

    def record(self, worker_id: str) -> WorkerRecord:
        """Return one registered worker."""
        return self._workers[worker_id]

    def online(self) -> list[WorkerRecord]:
        """Return the workers that are alive."""
        return [record for record in self._workers.values() if self.is_alive(record)]

    def records(self) -> list[WorkerRecord]:
        """Return every worker."""
        return list(self._workers.values())

    def views(self, cameras_of: Mapping[str, list[str]]) -> list[WorkerView]:
        """Return every worker as callers see it, by id.

        Args:
            cameras_of: worker → the cameras that it holds.
        """
        ids = sorted(self._workers)
        return [self._view(self._workers[worker_id], cameras_of.get(worker_id, [])) for worker_id in ids]

    def _view(self, record: WorkerRecord, camera_ids: Iterable[str]) -> WorkerView:
        return WorkerView(
            worker_id=record.worker_id,
            online=self.is_alive(record),
            backend=record.backend,
            capacity=record.capacity,
            camera_ids=tuple(sorted(camera_ids)),
            version=record.version,
            connected_at=record.connected_at,
            reported_at=record.reported_at,
            spool_bytes=record.spool_bytes,
            clock_offset_s=record.clock_offset_s,
        )
