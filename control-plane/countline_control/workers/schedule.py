"""Keeps the fleet in step with the database and tells each connected worker what it should hold.

One task does all of it, one step after the other, so that no two decisions overlap. It acts within milliseconds when
something is said to have changed, and looks by itself every half second for leases that ran out. While the database is
away nothing moves: workers go on with what they hold, and get a whole lease anew once it is back.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, Protocol

from google.protobuf.duration_pb2 import Duration
from prometheus_client import Counter, Gauge

from countline.v1.cameras_pb2 import CameraStatus
from countline.v1.workers_pb2 import ConnectResponse
from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.times import to_datetime
from countline_common.waiting import happens
from countline_control.database import Database, is_away
from countline_control.models.domain import Serving
from countline_control.workers import store
from countline_control.workers.domain import Held, Plan
from countline_control.workers.fleet import AssignableCamera, Fleet

LEASE_S: Final = 10.0
TICK_S: Final = 0.5
FORGET_PERIOD_S: Final = 3600.0

ASSIGNED: Final = Counter("countline_assignments_total", "Cameras given to workers")
ONLINE: Final = Gauge("countline_workers_online", "Workers whose lease holds")
WAITING: Final = Gauge("countline_cameras_waiting", "Cameras that no worker has room for")

_log = get_logger(__name__)


class CameraDirectory(Protocol):
    """Knows the cameras; the service of cameras does, here or elsewhere."""

    poll_period_s: float
    """How often to ask again although nothing was said to have changed."""

    async def cameras(self) -> list[AssignableCamera]:
        """All of them. Raises `CountlineError` while it cannot say."""
        ...


class ModelDirectory(Protocol):
    """Knows which version of each model is live or on trial; the service of models does, here or elsewhere."""

    poll_period_s: float
    """How often to ask again although nothing was said to have changed."""

    async def serving(self) -> Serving:
        """What decides which version counts a camera. Raises `CountlineError` while it cannot say."""
        ...


class NoModels:
    """Nobody knows of versions: workers take what cameras name."""

    poll_period_s = float("inf")

    async def serving(self) -> Serving:
        """Nothing is known to be live."""
        return Serving({})


class Session:
    """One worker's open stream: holds the newest directions until they are sent."""

    def __init__(self, worker_id: str, instance: str, lease_s: float) -> None:
        self.worker_id = worker_id
        self.instance = instance
        self._lease = Duration()
        self._lease.FromNanoseconds(round(lease_s * 1e9))
        self._pending: ConnectResponse | None = None
        self._sent: bytes | None = None
        self._ended: CountlineError | None = None
        self._over = False
        self._changed = asyncio.Event()

    def direct(self, response: ConnectResponse) -> None:
        """Replace what should be sent next; the same as before is not sent again."""
        response.lease.CopyFrom(self._lease)
        packed = response.SerializeToString(deterministic=True)
        if packed != self._sent:
            self._sent, self._pending = packed, response
            self._changed.set()

    def end(self, error: CountlineError | None = None) -> None:
        """End the stream, with an error or because the worker closed its side."""
        self._over, self._ended = True, error
        self._changed.set()

    async def next(self) -> ConnectResponse | None:
        """The next directions; None when the worker has closed its side.

        Raises:
            CountlineError: the stream was ended with it.
        """
        while True:
            if self._ended is not None:
                raise self._ended
            if self._over:
                return None
            if self._pending is not None:
                response, self._pending = self._pending, None
                return response
            self._changed.clear()
            await self._changed.wait()


class Schedule:
    """The task that decides.

    Args:
        database: with the schema `workers`.
        fleet: what is decided upon.
        directory: where cameras come from.
        models: where their models do.
    """

    def __init__(
        self, database: Database, fleet: Fleet, directory: CameraDirectory, models: ModelDirectory | None = None
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._directory = directory
        self._models: ModelDirectory = models or NoModels()
        self._models_changed = True
        self._models_asked_at = float("-inf")
        self._sessions: dict[str, Session] = {}
        self._wake = asyncio.Event()
        self._cameras_changed = True
        self._asked_at = float("-inf")
        self._forgot_at = time.monotonic()
        self._unsaved: set[str] = set()
        self._database_was_away = False
        self._problem = ""
        self._stopping = False
        self.loaded = asyncio.Event()
        """Set once the database and the cameras have been read; before that nobody can be directed."""

    def wake(self) -> None:
        """Something about workers changed: decide now."""
        self._wake.set()

    def cameras_changed(self) -> None:
        """Cameras changed: read them and decide now."""
        self._cameras_changed = True
        self._wake.set()

    def models_changed(self) -> None:
        """What is live or on trial changed: read it and tell workers now."""
        self._models_changed = True
        self._wake.set()

    def opened(self, session: Session) -> None:
        """A worker has connected; a stream that it had before is replaced."""
        self._sessions[session.worker_id] = session
        self._unsaved.add(session.worker_id)
        self._wake.set()

    def closed(self, session: Session) -> None:
        """A worker's stream is over."""
        if self._sessions.get(session.worker_id) is session:
            del self._sessions[session.worker_id]
        self._unsaved.add(session.worker_id)
        self._wake.set()

    def session_of(self, worker_id: str) -> Session | None:
        """The open stream of a worker."""
        return self._sessions.get(worker_id)

    def end_all(self, error: CountlineError) -> None:
        """End every stream, so that the server can stop."""
        for session in list(self._sessions.values()):
            session.end(error)

    def stop(self) -> None:
        """Let `run` end after the step that is under way."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Decide until `stop`."""
        while not self._stopping:
            try:
                if not self.loaded.is_set():
                    await self._load()
                await self._step()
            except Exception as error:  # noqa: BLE001  (nothing may end the one task that directs workers)
                self._note_failure(error)
            await happens(self._wake, TICK_S)
            self._wake.clear()

    def _note_failure(self, error: Exception) -> None:
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
        async with self._database.begin() as connection:
            workers = await store.all_workers(connection)
            held = await store.all_held(connection)
            finished = await store.all_finished(connection)
        self._fleet.seed(workers, held, finished)
        await self._read_cameras()
        # Not before: a camera that began without a version would be handed over to it a moment later.
        await self._read_models()
        self.loaded.set()
        _log.info("schedule.loaded", workers=len(workers), held=len(held), cameras=len(self._fleet.camera_ids()))

    async def _read_cameras(self) -> None:
        self._cameras_changed = False
        try:
            self._fleet.set_cameras(await self._directory.cameras())
        except Exception:
            self._cameras_changed = True
            raise
        self._asked_at = time.monotonic()

    async def _read_models(self) -> None:
        self._models_changed = False
        try:
            self._fleet.set_serving(await self._models.serving())
        except Exception:
            self._models_changed = True
            raise
        self._models_asked_at = time.monotonic()

    async def _look_for_models(self) -> None:
        try:
            await self._read_models()
        except CountlineError as error:
            # Cameras go on with the versions that are known.
            self._note_problem(error.message)

    async def _step(self) -> None:
        if self._database_was_away:
            await self._database.check()
            self._fleet.renew_all()
            self._database_was_away = False
            _log.info("schedule.database_back")
        if self._cameras_changed or time.monotonic() - self._asked_at > self._directory.poll_period_s:
            await self._look_for_cameras()
        if self._models_changed or time.monotonic() - self._models_asked_at > self._models.poll_period_s:
            await self._look_for_models()
        await self._write_finished()
        await self._follow(self._fleet.plan())
        await self._save_workers()
        self._direct_all()
        ONLINE.set(self._fleet.online())
        WAITING.set(len(self._fleet.waiting))

    async def _look_for_cameras(self) -> None:
        try:
            await self._read_cameras()
            self._note_problem("")
        except CountlineError as error:
            # Workers come and go while nobody tells us of cameras: go on with those that are known.
            self._note_problem(error.message)

    async def _write_finished(self) -> None:
        done, outdated = self._fleet.newly_finished(), self._fleet.outdated_finished()
        if not done and not outdated:
            return
        now = to_datetime(time.time())
        async with self._database.begin() as connection:
            await store.forget_finished(connection, outdated)
            for camera_id, finished in done.items():
                await store.save_finished(connection, camera_id, finished, now)
        self._fleet.note_finished(done, outdated)
        for camera_id in done:
            _log.info("camera.finished", camera_id=camera_id)

    async def _follow(self, plan: Plan) -> None:
        if plan.is_empty:
            return
        now = to_datetime(time.time())
        # The process that has the name may change while the database works: it is that of the plan that is written.
        instances = {worker_id: self._fleet.instance_of(worker_id) for worker_id in plan.given.values()}
        given: dict[str, Held] = {}
        async with self._database.begin() as connection:
            await store.release(connection, plan.released)
            for camera_id, worker_id in sorted(plan.given.items()):
                once = self._fleet.plays_once(camera_id)
                given[camera_id] = await store.give(
                    connection, camera_id, worker_id, instances[worker_id], once=once, now=now
                )
        self._fleet.took(given, plan.released)
        ASSIGNED.inc(len(given))
        for camera_id, holder in given.items():
            _log.info("camera.assigned", camera_id=camera_id, worker_id=holder.worker_id, epoch=holder.epoch)
        for camera_id in sorted(plan.released):
            _log.info("camera.released", camera_id=camera_id)

    async def _save_workers(self) -> None:
        unsaved, self._unsaved = self._unsaved, set()
        gone = set()
        if time.monotonic() - self._forgot_at > FORGET_PERIOD_S:
            gone, self._forgot_at = self._fleet.forget_long_gone(), time.monotonic()
        if not unsaved and not gone:
            return
        try:
            async with self._database.begin() as connection:
                for worker_id in sorted(unsaved - gone):
                    await store.save_worker(connection, self._fleet.record(worker_id).stored())
                await store.forget_workers(connection, gone)
        except Exception:
            self._unsaved |= unsaved - gone
            raise

    def _direct_all(self) -> None:
        for session in self._sessions.values():
            assignments = self._fleet.assignments_of(session.worker_id, session.instance)
            session.direct(ConnectResponse(assignments=assignments))

    async def statuses(self, camera_ids: Sequence[str]) -> dict[str, CameraStatus]:
        """Where the processing of cameras stands; of none before everything has been read."""
        if not self.loaded.is_set():
            return {}
        return {camera_id: self._fleet.status(camera_id) for camera_id in camera_ids}
