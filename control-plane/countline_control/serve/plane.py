"""The composition root of `countline serve`: builds the services that were asked for, in the order of `SERVICES`.

Each service has its database and its address. Services of one process call each other directly (`local`); services of
different processes call each other over gRPC with a token (`remote`).
"""

import time
from collections.abc import Collection
from functools import partial
from typing import Final, Self

from nats.js import JetStreamContext

from countline_common.access.vocabulary import Permission
from countline_common.administration.current import CurrentSettings
from countline_common.administration.levels import follow_level, level_base
from countline_common.administration.maintenance import check_call
from countline_common.data.outbox import Outbox, OutboxRelay, OutboxTrail
from countline_common.data.part_feeds import PartFeeds, RunningPart
from countline_common.data.revocation_feed import RevocationFeed
from countline_common.grpc.key_exchange import KeyExchange, remote_exchange
from countline_common.grpc.tokens import TokenSigner, TokenVerifier
from countline_common.hosts import address_for_others
from countline_common.logs import get_logger
from countline_control.auth.access.places import PlaceSource
from countline_control.cameras.pictures import TurnWatch
from countline_control.cameras.secrets import CameraSecrets, SecretService
from countline_control.cameras.service import CameraService
from countline_control.cameras.shown import ObservationSource
from countline_control.cameras.tables import data_keys
from countline_control.data_keys import DataKeys
from countline_control.database import Database
from countline_control.models.artifacts import open_store
from countline_control.models.deployment.deployer import Deployer
from countline_control.models.deployment.installation import Installer
from countline_control.models.lifecycle import Lifecycle
from countline_control.models.repository import Repository
from countline_control.models.service import ModelService
from countline_control.models.tables import outbox as model_events
from countline_control.models.trials.feed import TrialFeed
from countline_control.models.tuning import Tuner
from countline_control.models.upkeep import Upkeep
from countline_control.models.usage import ModelUsage
from countline_control.serve.bus import BackgroundBus
from countline_control.serve.host import ServiceHost
from countline_control.serve.identity import IdentityServices
from countline_control.serve.local import LocalCameras, LocalObservations, LocalPlaces, LocalRouting, NamedModels
from countline_control.serve.remote import (
    HolderStatuses,
    RemoteCameras,
    RemoteRouting,
    RemoteStatuses,
    service_metadata,
)
from countline_control.settings import ControlSettings, missing
from countline_control.workers.fleet import Fleet
from countline_control.workers.forwarding import Forwarding
from countline_control.workers.inputs import CameraInventory, NoRouting, RoutingSource
from countline_control.workers.lease import SchedulingLease
from countline_control.workers.placement.orders import PlacementOrders
from countline_control.workers.schedule import Schedule
from countline_control.workers.service import WorkerService
from countline_control.workers.tables import outbox as worker_events
from countline_models.deploy import Limits

SERVICES: Final = ("auth", "cameras", "models", "workers")
MODEL_CALL_LIMIT_S: Final = 240.0
"""For calls that make Triton load a model: on a GPU it may have to build an engine."""

OWN_TOKEN_S: Final = 60

_log = get_logger(__name__)


class ControlPlane:
    """The services that one process runs, as an asynchronous context manager.

    Args:
        settings: see `ControlSettings`.
        wanted: some of `SERVICES`.
    """

    def __init__(self, settings: ControlSettings, wanted: Collection[str]) -> None:
        self._settings = settings
        self._wanted = frozenset(wanted)
        self._verifier = _verifier(settings)
        name = "control" if len(self._wanted) > 1 else min(self._wanted, default="control")
        self._host = ServiceHost(
            RunningPart(name),
            self._verifier,
            settings.tls,
            require_client_certs=settings.tls_require_client_certs,
            proxies=settings.proxy_networks(),
        )
        self._current = CurrentSettings({**level_base("control"), **settings.retention_of_environment()})
        self._verifier.gate = partial(check_call, self._current)
        follow_level("control", self._current)
        self._bus: BackgroundBus | None = None
        self._observations = LocalObservations()
        self._places = LocalPlaces()
        self._cameras: CameraService | None = None
        self._models: ModelService | None = None
        self._usage: ModelUsage | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._host.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._host.close()

    @property
    def addresses(self) -> dict[str, str]:
        """Service → the address on which it listens."""
        return self._host.addresses

    async def failed(self) -> None:
        """Wait until a background task ends, which none should; raise its error."""
        await self._host.failed()

    async def _start(self) -> None:
        if self._settings.health_address:
            await self._host.serve_health(self._settings.health_address, sorted(self._wanted))
        if url := self._settings.nats_url.get_secret_value():
            self._bus = BackgroundBus(url, self._settings.tls)
            self._host.spawn("bus", self._bus.run(), self._bus.stop)
            revocations = RevocationFeed(self._jetstream, self._verifier.revocations)
            self._host.spawn("revocations", revocations.run(), revocations.stop)
            reads = "auth" not in self._wanted
            feeds = PartFeeds(self._host.part, "control", self._jetstream, self._current, reads=reads)
            self._host.spawn("feeds of the part", feeds.run(), feeds.stop)
        builders = {
            "auth": self._start_auth,
            "cameras": self._start_cameras,
            "models": self._start_models,
            "workers": self._start_workers,
        }
        if "auth" not in self._wanted:
            channel = await self._host.channel("auth", *self._settings.elsewhere("auth"))
            self._verifier.keys = KeyExchange(remote_exchange(channel), self._verifier)
        for name in SERVICES:
            if name in self._wanted:
                await builders[name]()

    async def _start_auth(self) -> None:
        database = await self._database("auth")
        identity = IdentityServices(self._settings, database, self._host, self._bus, self._current)
        identity.auth.place_source = await self._place_source()
        services = await identity.start(self._verifier)
        self._relay("auth", database, identity.auth.outbox, identity.auth.trail)
        await self._host.listen("auth", self._settings.auth_address, *services)

    async def _start_cameras(self) -> None:
        database, observations = await self._database("cameras"), await self._observation_source()
        self._places.database = database
        keys = DataKeys(database, data_keys, self._settings.master_key_source)
        await CameraSecrets(database, keys).open(forget_lost=self._settings.forget_lost_secrets)
        service = CameraService(database, keys, observations, self._cameras_changed)
        self._cameras = service
        watch = TurnWatch(database, observations, service.commands, self._cameras_changed)
        self._host.spawn("pictures of cameras", watch.run(), watch.stop)
        self._relay("cameras", database, service.outbox, service.trail)
        secrets = SecretService(database, keys, service.outbox)
        await self._host.listen("cameras", self._settings.cameras_address, service.as_service(), secrets.as_service())

    async def _start_models(self) -> None:
        settings, outbox = self._settings, Outbox(model_events)
        database = await self._database("models")
        repository = Repository(settings.repository_folder, settings.triton_address)
        artifacts = open_store(settings.model_store, self._jetstream, settings.calls_model_store)
        limits = Limits(max_bytes=settings.model_max_bytes, check_timeout_s=settings.model_check_timeout_s)
        installer = Installer(database, repository, artifacts, outbox)
        deployer = Deployer(
            database, repository, installer, settings.work_folder, limits, settings.model_most_deployments
        )
        cameras = NamedModels(await self._camera_source(), await self._observation_source())
        usage = self._usage = ModelUsage(database, cameras, settings.default_model)
        lifecycle = Lifecycle(database, repository, artifacts, usage, outbox, self._models_changed)
        trail = OutboxTrail(database.begin, outbox)
        service = ModelService(database, deployer, lifecycle, Tuner(database, repository, outbox), usage, trail)
        self._models = service
        upkeep = Upkeep(database, repository, artifacts, settings.work_folder)
        await upkeep.begin()
        self._host.spawn("upkeep of models", upkeep.run(), upkeep.stop)
        self._host.spawn("trials", lifecycle.trials.run(), lifecycle.trials.stop)
        if self._bus is not None:
            feed = TrialFeed(self._jetstream, lifecycle.trials)
            self._host.spawn("feed of trials", feed.run(), feed.stop)
        self._relay("models", database, outbox, trail)
        await self._host.listen(
            "models", settings.models_address, service.as_service(), call_limit_s=MODEL_CALL_LIMIT_S
        )

    async def _start_workers(self) -> None:
        database = await self._database("workers")
        fleet, outbox = Fleet(self._settings.lease_s, time.monotonic, time.time), Outbox(worker_events)
        lease = SchedulingLease(database, self._peer_address)
        schedule = Schedule(database, lease, fleet, outbox, await self._camera_source(), await self._routing_source())
        self._observations.schedule = schedule
        if key := self._settings.token_private_key_file:
            signer = TokenSigner.from_file(key)
            self._observations.elsewhere = HolderStatuses(lease, self._settings.tls, partial(_own_token, signer))
        trail = OutboxTrail(database.begin, outbox)
        orders, forwarding = PlacementOrders(schedule, fleet, outbox), Forwarding(lease, self._settings.tls)
        service = WorkerService(fleet, schedule, lease, forwarding, orders, trail)
        self._relay("workers", database, outbox, trail)
        self._host.facts["schedule"] = lease.described
        await self._host.listen(
            "workers", self._settings.workers_address, service.as_service(), before_stop=service.end_streams
        )
        # The lease names the address, whose port is known only now.
        self._host.spawn("scheduling lease", lease.run(), lease.stop)
        self._host.spawn("schedule", schedule.run(), schedule.stop)

    def _peer_address(self) -> str:
        return self._settings.workers_peer_address or address_for_others(self._host.addresses["workers"])

    async def _database(self, service: str) -> Database:
        return await self._host.database(service, self._settings.dsn_of(service))

    # Between services ------------------------------------------------------------------------------------------------

    async def _observation_source(self) -> ObservationSource:
        if "workers" in self._wanted:
            return self._observations
        channel = await self._host.channel("workers", *self._settings.elsewhere("workers"))
        return RemoteStatuses(channel, service_metadata(self._settings.service_token_file))

    async def _place_source(self) -> PlaceSource | None:
        if "cameras" in self._wanted:
            return self._places
        if self._settings.service_token_file is None:
            _log.warning("serve.places_unknown", hint="set COUNTLINE_SERVICE_TOKEN_FILE, so that grants are checked")
            return None
        channel = await self._host.channel("cameras", *self._settings.elsewhere("cameras"))
        return RemoteCameras(channel, service_metadata(self._settings.service_token_file))

    async def _camera_source(self) -> CameraInventory:
        if self._cameras is not None:
            return LocalCameras(self._cameras)
        channel = await self._host.channel("cameras", *self._settings.elsewhere("cameras"))
        return RemoteCameras(channel, service_metadata(self._settings.service_token_file))

    async def _routing_source(self) -> RoutingSource:
        if self._usage is not None:
            return LocalRouting(self._usage)
        if not self._settings.models_address:
            return NoRouting()
        channel = await self._host.channel("models", *self._settings.elsewhere("models"))
        metadata = service_metadata(self._settings.service_token_file)
        return RemoteRouting(channel, metadata, self._settings.default_model)

    def _cameras_changed(self) -> None:
        if self._observations.schedule is not None:
            self._observations.schedule.cameras_changed()

    def _models_changed(self) -> None:
        if self._observations.schedule is not None:
            self._observations.schedule.models_changed()

    def _jetstream(self) -> JetStreamContext | None:
        return self._bus.jetstream if self._bus is not None else None

    def _relay(self, name: str, database: Database, outbox: Outbox, trail: OutboxTrail) -> None:
        if self._bus is not None:
            relay = OutboxRelay(database.begin, outbox, self._bus, trail)
            self._host.spawn(f"outbox of {name}", relay.run(), relay.stop)


def _own_token(signer: TokenSigner) -> str:
    """Return a token with which one copy of the control-plane asks another one."""
    permissions = frozenset({Permission.WORKER_READ.value})
    return signer.sign("control-plane", "control-plane", roles=(), permissions=permissions, lifetime_s=OWN_TOKEN_S)


def _verifier(settings: ControlSettings) -> TokenVerifier:
    if settings.token_public_key_file is None:
        raise missing("COUNTLINE_TOKEN_PUBLIC_KEY_FILE", "/path/to/token-key.pub.pem")
    return TokenVerifier.from_file(settings.token_public_key_file)
