"""What the last plan found, and what the next one has to know, in memory."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from countline_control.cameras.domain import CameraObservation
from countline_control.workers import domain
from countline_control.workers.domain import Holder
from countline_control.workers.placement.cordons import CordonBook
from countline_control.workers.placement.plan import AssignableWorker, AssignmentPlan, plan_assignments
from countline_control.workers.registry import WorkerRecord, WorkerRegistry


class PlacementState:
    """Plans who holds which camera.

    Args:
        registry: knows the workers.
        clock: monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(self, registry: WorkerRegistry, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._registry = registry
        self._wall = wall
        self.cordons = CordonBook(clock, wall)
        self._waiting: dict[str, float] = {}
        """Since when each camera waits for room, Unix seconds."""
        self.stuck: AbstractSet[str] = frozenset()
        """Cameras of drained workers that no other worker has room for, as of the last plan."""

    def forget_waiting(self) -> None:
        """Forget since when cameras wait."""
        self._waiting.clear()

    def plan(self, wanted: Mapping[str, bool], held: Mapping[str, Holder]) -> AssignmentPlan:
        """Plan what has to change now.

        Args:
            wanted: every camera that should be processed → whether it is a file that is played once.
            held: camera → its holder.
        """
        result = plan_assignments(wanted, held, self.workers(held))
        now = self._wall()
        self.stuck = frozenset(result.stuck)
        self._waiting = {camera_id: self._waiting.get(camera_id, now) for camera_id in result.waiting}
        return result

    def workers(self, held: Mapping[str, Holder]) -> dict[str, AssignableWorker]:
        """Return every worker as the plan needs it, by id."""
        return {record.worker_id: self._worker(record, held) for record in self._registry.records()}

    def _worker(self, record: WorkerRecord, held: Mapping[str, Holder]) -> AssignableWorker:
        cordon = self.cordons.get(record.worker_id)
        return AssignableWorker(
            record.instance,
            record.capacity,
            self._registry.is_alive(record),
            cordoned=cordon is not None,
            drains=cordon is not None and cordon.drains,
            moves_now=self.cordons.moves_now(record.worker_id, held),
        )

    def wanted_holders(self, plan: AssignmentPlan, held: Mapping[str, Holder]) -> dict[str, Holder]:
        """Return the holder that a plan gives to each camera; the database decides on epoch and time."""
        wanted = {}
        for camera_id, worker_id in plan.given.items():
            former = held.get(camera_id)
            wanted[camera_id] = Holder(
                worker_id,
                self._registry.record(worker_id).instance,
                0,
                cause=plan.causes[camera_id],
                former_worker_id=former.worker_id if former else "",
            )
        return wanted

    @property
    def waiting(self) -> AbstractSet[str]:
        """Cameras that no worker has room for, as of the last plan."""
        return self._waiting.keys()

    def no_room(self, camera_id: str) -> CameraObservation:
        """Return the status of a camera that no worker holds."""
        alive = self._registry.online()
        open_to_all = [each.capacity for each in alive if self.cordons.get(each.worker_id) is None]
        cordoned = len(alive) - len(open_to_all)
        return domain.no_room(len(alive), sum(open_to_all), self._waiting.get(camera_id), cordoned)
