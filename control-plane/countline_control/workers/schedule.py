"""Keeps the fleet in step with the database, and directs each connected worker.

One task does all of this, one step after another, so that no two decisions overlap. It acts within milliseconds after
an announced change, and looks for expired leases every half second. While the database is away nothing moves: workers
keep their cameras, and get a whole lease once the database is back.

Of several copies of the service, only the one that holds the lease of `lease` does this. A copy that gets the lease
reads everything anew; a copy that loses it ends the streams of its workers, which then reach the new holder.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.data.database import is_away
from countline_common.data.outbox import Outbox
from countline_common.errors import CountlineError, UnavailableError
from countline_common.logs import get_logger
from countline_common.waiting import happens
from countline_control.cameras.domain import CameraObservation
from countline_control.database import Database
from countline_control.workers import store
from countline_control.workers.fleet import Fleet
from countline_control.workers.forwarding import no_holder
from countline_control.workers.inputs import CameraInventory, NoRouting, Poll, RoutingSource
from countline_control.workers.lease import LeaseLostError, SchedulingLease
from countline_control.workers.placement.writing import PlacementWriter
from countline_control.workers.saving import WorkerRows
from countline_control.workers.streams import WorkerStream, WorkerStreams

LEASE_S: Final = 10.0
TICK_S: Final = 0.5

ONLINE: Final = Gauge("countline_workers_online", "Workers whose lease holds")
WAITING: Final = Gauge("countline_cameras_waiting", "Cameras that no worker has room for")

_log = get_logger(__name__)


class Schedule:
    """The task that decides which worker holds which camera.

    Args:
        database: holds the schema `workers`.
        lease: the right to schedule; every write carries its number.
        fleet: workers and cameras.
        outbox: events of workers leave through it.
        cameras: lists the cameras.
        models: knows which versions are live; None for a system without the service of models.
    """

    def __init__(
        self,
        database: Database,
        lease: SchedulingLease,
        fleet: Fleet,
        outbox: Outbox,
        cameras: CameraInventory,
        models: RoutingSource | None = None,
    ) -> None:
        models = models or NoRouting()
        self._database = database
        self._lease = lease
        self._number = 0
        self._fleet = fleet
        self._cameras = Poll(cameras.cameras, cameras.poll_period_s)
        self._models = Poll(models.routing, models.poll_period_s)
        self._wake = asyncio.Event()
        self._rows = WorkerRows(lease, fleet)
        self._writer = PlacementWriter(lease, fleet, outbox)
        self._deciding = asyncio.Lock()
        self._database_was_away = False
        self._problem = ""
        self._stopping = False
        self.streams = WorkerStreams()
        self.loaded = asyncio.Event()
        """Set while this copy schedules: it holds the lease and has read the database and the cameras."""
        lease.on_change = self.wake

    # Announcements ---------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Announce a change of workers: decide now."""
        self._wake.set()

    def cameras_changed(self) -> None:
        """Announce a change of cameras: read them and decide now."""
        self._cameras.announce()
        self._wake.set()

    def models_changed(self) -> None:
        """Announce a change of live versions or trials: read them and direct workers now."""
        self._models.announce()
        self._wake.set()

    def opened(self, stream: WorkerStream) -> None:
        """Take over the stream of a worker that has connected; it replaces the worker's former one."""
        self.streams.open(stream)
        self._rows.changed(stream.worker_id)
        self._wake.set()

    def closed(self, stream: WorkerStream) -> None:
        """Drop the stream of a worker that has disconnected."""
        self.streams.close(stream)
        self._rows.changed(stream.worker_id)
        self._wake.set()

    @asynccontextmanager
    async def deciding(self) -> AsyncIterator[None]:
        """Let a caller decide in place of the task, which waits meanwhile: no camera moves.

        Raises:
            UnavailableError: this copy does not schedule.
        """
        async with self._deciding:
            if not self.loaded.is_set():
                raise no_holder()
            yield
        self.wake()

    @asynccontextmanager
    async def change_cordons(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that changes cordons; call it while `deciding`.

        Raises:
            LeaseLostError: another copy has taken the lease.
        """
        try:
            async with self._lease.begin(self._number) as connection:
                yield connection
        except BaseException:
            self._writer.doubt_cordons()
            raise

    async def observations(self, camera_ids: Sequence[str] | None) -> dict[str, CameraObservation]:
        """Return the observations of cameras, or of all if None; of none before everything has been read."""
        if not self.loaded.is_set():
            return {}
        if camera_ids is None:
            camera_ids = self._fleet.camera_ids()
        return {camera_id: self._fleet.status(camera_id) for camera_id in camera_ids}

    # The task --------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Let `run` end after the current step."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Decide until `stop` is called."""
        while not self._stopping:
            try:
                if self._number != self._lease.number:
                    self._step_down()
                if self._lease.is_certain:
                    async with self._deciding:
                        if not self.loaded.is_set():
                            await self._load()
                        await self._step()
            except Exception as error:  # noqa: BLE001  (no error may end the one task that directs workers)
                self._note_failure(error)
            await happens(self._wake, TICK_S)
            self._wake.clear()

    def _step_down(self) -> None:
        """Forget what this copy knew under another number of the lease, or before it held one."""
        self._number = self._lease.number
        if self.loaded.is_set():
            self.loaded.clear()
            self.streams.end_all(UnavailableError("another copy of the control-plane schedules", hint="connect again"))

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, LeaseLostError):
            return  # the lease logs it
        if is_away(error):
            if not self._database_was_away:
                _log.warning("schedule.database_away")
            self._database_was_away = True
        elif isinstance(error, CountlineError):
            self._note_problem(error.message)
        else:
            _log.error("schedule.fault", exc_info=error)

    def _note_problem(self, problem: str) -> None:
        if problem and problem != self._problem:
            _log.warning("schedule.waits", error=problem)
        self._problem = problem

    async def _load(self) -> None:
        async with self._lease.begin(self._number) as connection:
            workers = await store.all_workers(connection)
            held = await store.all_held(connection)
            finished = await store.all_finished(connection)
            await self._writer.load_cordons(connection)
        self._rows.reset()
        self._fleet.seed(workers, held, finished)
        self._fleet.set_cameras(await self._cameras.read())
        # Before the first directions: otherwise a camera would begin without a version and change to it a moment later.
        self._fleet.set_routing(await self._models.read())
        self.loaded.set()
        _log.info("schedule.loaded", workers=len(workers), held=len(held), cameras=len(self._fleet.camera_ids()))

    async def _step(self) -> None:
        if self._database_was_away:
            await self._database.check()
            self._fleet.registry.renew_all()
            self._database_was_away = False
            _log.info("schedule.database_back")
        if self._cameras.is_due:
            await self._read_cameras()
        if self._models.is_due:
            await self._read_models()
        await self._writer.ensure_cordons(self._number)
        await self._writer.write_finished(self._number)
        await self._writer.follow(self._number, self._fleet.plan())
        await self._writer.note_drains(self._number)
        await self._rows.save(self._number)
        if self._lease.is_certain:
            self.streams.direct_all(self._fleet.assignments_of)
        ONLINE.set(len(self._fleet.registry.online()))
        WAITING.set(len(self._fleet.placement.waiting))

    async def _read_cameras(self) -> None:
        try:
            self._fleet.set_cameras(await self._cameras.read())
            self._note_problem("")
        except CountlineError as error:
            # Workers come and go while the service of cameras is away: continue with the known cameras.
            self._note_problem(error.message)

    async def _read_models(self) -> None:
        try:
            self._fleet.set_routing(await self._models.read())
        except CountlineError as error:
            # Cameras continue with the known versions.
            self._note_problem(error.message)
