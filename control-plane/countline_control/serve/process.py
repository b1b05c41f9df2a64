"""The composition root of `countline serve`: builds the services that were asked for, runs them, and takes them down.

Each service has its database and its address. In one process they talk directly; apart, over gRPC with a token.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, Self

import grpc
from nats.aio.client import Client
from nats.js import JetStreamContext

from countline_common.data import bus
from countline_common.data.database import migrate
from countline_common.errors import CountlineError, InvalidInputError, UnavailableError
from countline_common.grpc.server import CALL_LIMIT_S, GrpcServer, Service
from countline_common.grpc.tokens import TokenSigner, TokenVerifier
from countline_common.http.health import Check, HealthServer
from countline_common.logs import get_logger
from countline_common.waiting import happens
from countline_control.auth.service import AuthService
from countline_control.cameras.service import CameraService, StatusSource
from countline_control.database import Database, translate
from countline_control.models.artifacts import open_store
from countline_control.models.deployment import Deployer
from countline_control.models.repository import Repository
from countline_control.models.service import ModelService
from countline_control.models.tables import outbox as model_events
from countline_control.models.trial_feed import TrialFeed
from countline_control.models.upkeep import Upkeep
from countline_control.outbox import Outbox, OutboxRelay
from countline_control.serve.directory import (
    LocalDirectory,
    LocalModels,
    LocalStatuses,
    NamedModels,
    RemoteDirectory,
    RemoteModels,
    RemoteStatuses,
    service_metadata,
)
from countline_control.settings import ControlSettings, missing
from countline_control.workers.fleet import Fleet
from countline_control.workers.schedule import CameraDirectory, ModelDirectory, NoModels, Schedule
from countline_control.workers.service import WorkerService
from countline_models.deploy import Limits

SERVICES: Final = ("auth", "cameras", "models", "workers")
RETRY_S: Final = 1.0
TASK_GRACE_S: Final = 4.0
"""Within what a supervisor allows, beside the grace of the servers."""
TOLD_EACH_S: Final = 10.0
MODEL_CALL_LIMIT_S: Final = 240.0
"""Calls that have Triton load a model: on a GPU that may build an engine."""

_log = get_logger(__name__)


class BackgroundBus:
    """A connection to NATS that is made in the background: no service waits for it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None
        self._stopping = asyncio.Event()

    @property
    def jetstream(self) -> JetStreamContext | None:
        """Where to publish; None while NATS is away."""
        client = self._client
        return client.jetstream() if client is not None and client.is_connected else None

    async def run(self) -> None:
        """Connect, however long it takes, and stay connected until stopped."""
        try:
            await self._connect()
            await self._stopping.wait()
        finally:
            if self._client is not None:
                await self._client.close()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def _connect(self) -> None:
        told_at = float("-inf")
        while not self._stopping.is_set():
            try:
                self._client = self._client or await bus.connect(self._url, "countline-control")
                await bus.ensure_streams(self._client.jetstream())
            except Exception as error:  # noqa: BLE001  (NATS may be away, or still starting its JetStream)
                if time.monotonic() - told_at > TOLD_EACH_S:
                    told_at = time.monotonic()
                    _log.warning("serve.bus_away", error=str(error))
                await happens(self._stopping, RETRY_S)
            else:
                return


class ControlPlane:
    """The services that one process runs.

    Args:
        settings: see `ControlSettings`.
        wanted: some of `SERVICES`.
    """

    def __init__(self, settings: ControlSettings, wanted: Collection[str]) -> None:
        self._settings = settings
        self._wanted = frozenset(wanted)
        self._servers = AsyncExitStack()
        self._resources = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._stops: list[Callable[[], None]] = []
        """Asks each task to end."""
        self._checks: dict[str, Check] = {}
        self._statuses = LocalStatuses()
        self._cameras: CameraService | None = None
        self._models: ModelService | None = None
        self._schedule: Schedule | None = None
        self._bus: BackgroundBus | None = None
        self.addresses: dict[str, str] = {}
        """Where each service listens."""
        self.health_port: int | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def failed(self) -> None:
        """Wait until a background task ends, which none should; raises what it raised."""
        if not self._tasks:
            await asyncio.Event().wait()
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise RuntimeError("a background task has ended")

    async def _start(self) -> None:
        verifier = _verifier(self._settings)
        if self._settings.health_address:
            checks = {name: partial(self._check, name) for name in sorted(self._wanted)}
            health = HealthServer(self._settings.health_address, checks)
            self.health_port = (await self._servers.enter_async_context(health)).port
        if url := self._settings.nats_url.get_secret_value():
            self._bus = BackgroundBus(url)
            self._spawn("bus", self._bus.run(), self._bus.stop)
        if "auth" in self._wanted:
            await self._start_auth(verifier)
        if "cameras" in self._wanted:
            await self._start_cameras(verifier)
        if "models" in self._wanted:
            await self._start_models(verifier)
        if "workers" in self._wanted:
            await self._start_workers(verifier)

    async def _stop(self) -> None:
        # What is under way may still need the tasks, and the tasks need the databases.
        await self._servers.aclose()
        for stop in self._stops:
            stop()
        if self._tasks:
            # Cancelling in the middle of connecting to PostgreSQL would leave it half a connection.
            await asyncio.wait(self._tasks, timeout=TASK_GRACE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._resources.aclose()

    async def _start_auth(self, verifier: TokenVerifier) -> None:
        settings = self._settings
        if settings.token_private_key_file is None:
            raise missing("COUNTLINE_TOKEN_PRIVATE_KEY_FILE", "/path/to/token-key.pem")
        signer = TokenSigner.from_file(settings.token_private_key_file)
        database = await self._database("auth")
        service = AuthService(database, signer, trusted_proxies=settings.proxy_networks())
        await _ensure_admin(service, settings)
        self._relay(database, service.outbox, "auth")
        await self._listen("auth", settings.auth_address, service.as_service(), verifier)

    async def _start_cameras(self, verifier: TokenVerifier) -> None:
        database = await self._database("cameras")
        service = CameraService(database, await self._status_source(), self._cameras_changed)
        self._cameras = service
        self._relay(database, service.outbox, "cameras")
        await self._listen("cameras", self._settings.cameras_address, service.as_service(), verifier)

    async def _start_models(self, verifier: TokenVerifier) -> None:
        settings = self._settings
        database = await self._database("models")
        repository = Repository(settings.repository_folder, settings.triton_address)
        artifacts = open_store(settings.model_store, self._jetstream)
        limits = Limits(max_bytes=settings.model_max_bytes, check_timeout_s=settings.model_check_timeout_s)
        outbox = Outbox(model_events)
        deployer = Deployer(
            database, repository, artifacts, settings.work_folder, limits, outbox, settings.model_most_deployments
        )
        cameras = NamedModels(await self._camera_directory(), await self._status_source())
        service = ModelService(
            database, repository, artifacts, deployer, cameras, settings.default_model, outbox, self._models_changed
        )
        upkeep = Upkeep(database, repository, artifacts, settings.work_folder)
        await upkeep.begin()
        self._models = service
        self._spawn("upkeep of models", upkeep.run(), upkeep.stop)
        self._spawn("trials", service.trials.run(), service.trials.stop)
        if self._bus is not None:
            feed = TrialFeed(self._bus, service.trials)
            self._spawn("feed of trials", feed.run(), feed.stop)
        self._relay(database, service.outbox, "models")
        await self._listen("models", settings.models_address, service.as_service(), verifier)

    def _jetstream(self) -> JetStreamContext | None:
        return self._bus.jetstream if self._bus is not None else None

    async def _status_source(self) -> StatusSource:
        if "workers" in self._wanted:
            return self._statuses
        channel = await self._channel(self._settings.workers_address)
        return RemoteStatuses(channel, service_metadata(self._settings.service_token_file))

    async def _camera_directory(self) -> CameraDirectory:
        if self._cameras is not None:
            return LocalDirectory(self._cameras)
        channel = await self._channel(self._settings.cameras_address)
        return RemoteDirectory(channel, service_metadata(self._settings.service_token_file))

    async def _model_directory(self) -> ModelDirectory:
        if self._models is not None:
            return LocalModels(self._models)
        if not self._settings.models_address:
            return NoModels()
        channel = await self._channel(self._settings.models_address)
        metadata = service_metadata(self._settings.service_token_file)
        return RemoteModels(channel, metadata, self._settings.default_model)

    async def _start_workers(self, verifier: TokenVerifier) -> None:
        database = await self._database("workers")
        fleet = Fleet(self._settings.lease_s, time.monotonic, time.time)
        directory, models = await self._camera_directory(), await self._model_directory()
        self._schedule = self._statuses.schedule = Schedule(database, fleet, directory, models)
        service = WorkerService(fleet, self._schedule)
        self._spawn("schedule", self._schedule.run(), self._schedule.stop)
        address = self._settings.workers_address
        await self._listen("workers", address, service.as_service(), verifier, service)

    async def _check(self, name: str) -> None:
        check = self._checks.get(name)
        if check is None:
            raise UnavailableError("waits for its database")
        await check()

    def _cameras_changed(self) -> None:
        if self._schedule is not None:
            self._schedule.cameras_changed()

    def _models_changed(self) -> None:
        if self._schedule is not None:
            self._schedule.models_changed()

    async def _database(self, service: str) -> Database:
        dsn = self._settings.dsn_of(service)
        await _migrated(dsn, service)
        database = Database(dsn)
        self._resources.push_async_callback(database.close)
        return database

    async def _channel(self, address: str) -> grpc.aio.Channel:
        return await self._resources.enter_async_context(grpc.aio.insecure_channel(address))

    async def _listen(
        self,
        name: str,
        address: str,
        service: Service,
        verifier: TokenVerifier,
        streams: WorkerService | None = None,
    ) -> None:
        before_stop = streams.end_streams if streams is not None else lambda: None
        limit_s = MODEL_CALL_LIMIT_S if name == "models" else CALL_LIMIT_S
        server = GrpcServer(
            address, (service,), verifier, translate=translate, before_stop=before_stop, call_limit_s=limit_s
        )
        self.addresses[name] = (await self._servers.enter_async_context(server)).address
        self._checks[name] = service.check
        _log.info("serve.listening", service=name, address=self.addresses[name])

    def _relay(self, database: Database, outbox: Outbox, name: str) -> None:
        if self._bus is not None:
            relay = OutboxRelay(database, outbox, self._bus)
            self._spawn(f"outbox of {name}", relay.run(), relay.stop)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None], stop: Callable[[], None]) -> None:
        self._stops.append(stop)
        self._tasks.append(asyncio.create_task(work, name=name))


def _verifier(settings: ControlSettings) -> TokenVerifier:
    if settings.token_public_key_file is None:
        raise missing("COUNTLINE_TOKEN_PUBLIC_KEY_FILE", "/path/to/token-key.pub.pem")
    return TokenVerifier.from_file(settings.token_public_key_file)


async def _migrated(dsn: str, service: str) -> None:
    """Bring a service's schema up to date, waiting for the database as long as it takes."""
    told_at = float("-inf")
    while True:
        try:
            await migrate(dsn, f"countline_control.{service}", service)
        except CountlineError as error:
            if time.monotonic() - told_at > TOLD_EACH_S:
                told_at = time.monotonic()
                _log.warning("serve.database_away", service=service, error=error.message)
            await asyncio.sleep(RETRY_S)
        else:
            return


async def _ensure_admin(service: AuthService, settings: ControlSettings) -> None:
    path = settings.admin_password_file
    if path is None:
        if not await service.has_users():
            _log.warning("serve.nobody_can_log_in", hint="set COUNTLINE_ADMIN_PASSWORD_FILE for the first start")
        return
    try:
        password = path.read_text().strip()
    except OSError as error:
        raise InvalidInputError(f"the admin's password {path} cannot be read: {error.strerror}") from error
    if await service.create_first_admin(password):
        _log.info("serve.admin_created", username="admin")


async def serve(settings: ControlSettings, wanted: Collection[str]) -> None:
    """Run services until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _running(settings, wanted, stop) as plane:
        if plane is None:
            return
        _log.info("serve.ready", services=sorted(wanted))
        stopped = asyncio.create_task(stop.wait())
        failed = asyncio.create_task(plane.failed())
        done, pending = await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if failed in done:
            failed.result()
    _log.info("serve.stopped")


@asynccontextmanager
async def _running(
    settings: ControlSettings, wanted: Collection[str], stop: asyncio.Event
) -> AsyncIterator[ControlPlane | None]:
    """The services, started; None where the process was told to stop while they still waited for a database."""
    plane = ControlPlane(settings, wanted)
    starting = asyncio.create_task(plane.__aenter__())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        yield None
        return
    starting.result()
    try:
        yield plane
    finally:
        await plane.__aexit__()
