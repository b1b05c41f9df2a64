"""The API process: builds its parts and serves until a stop signal.

One process serves three addresses: the gateway for browsers (REST of every service, `/ws`, the dashboard), REST of
analytics only, and `/ws` only, so that a load balancer can route each of them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from countline.v1 import cameras_pb2_grpc
from countline_analytics.api.application import Protection, make_application
from countline_analytics.api.connections import listen
from countline_analytics.api.details.sources import DetailSources
from countline_analytics.api.details.upstream import DetailedCameras
from countline_analytics.api.gateway import (
    LocalUpstream,
    RemoteUpstream,
    Upstream,
    WatchedUpstream,
    add_routes,
)
from countline_analytics.api.oidc_document import OIDC_ROUTES
from countline_analytics.api.oidc_login import OIDC_SERVICE, add_oidc_routes
from countline_analytics.api.openapi import WrittenRoute, document
from countline_analytics.api.protection.rate_store import RateStore
from countline_analytics.api.protection.rates import RateLimits, rates_of
from countline_analytics.api.services import Method, http_methods
from countline_analytics.api.static import add_dashboard
from countline_analytics.directory import CameraDirectory
from countline_analytics.live.bus import LiveBus, StatusBoard, follow_changes
from countline_analytics.live.feed import CrossingFeed
from countline_analytics.live.websocket import LiveHub
from countline_analytics.processes import check_database, stop_signals, until_available
from countline_analytics.questions.service import make_handlers
from countline_analytics.settings import ApiSettings
from countline_analytics.store.outbox import outbox as outbox_rows
from countline_common.administration.current import CurrentSettings
from countline_common.administration.levels import follow_level, level_base
from countline_common.administration.maintenance import check_call
from countline_common.data import database
from countline_common.data.migration_reports import reader
from countline_common.data.outbox import Outbox, OutboxRelay, OutboxTrail
from countline_common.data.part_feeds import PartFeeds, RunningPart
from countline_common.data.revocation_feed import RevocationFeed
from countline_common.grpc.key_exchange import KeyExchange, remote_exchange
from countline_common.grpc.outgoing.service_calls import open_guarded_channel
from countline_common.grpc.tokens import TokenVerifier
from countline_common.http.health import Check, HealthServer
from countline_common.logs import configure, get_logger
from countline_common.resilience.dependency import Dependency

CAMERA_SERVICE: Final = "countline.v1.CameraService"
COUNT_SERVICE: Final = "countline.v1.CountService"
SHUTDOWN_S: Final = 3.0
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Api:
    """The applications of the three addresses."""

    methods: tuple[Method, ...]
    upstreams: Mapping[str, Upstream]
    verifier: TokenVerifier
    hub: LiveHub
    protection: Protection

    def gateway(self) -> web.Application:
        """Return the application for browsers."""
        app = make_application(self.protection)
        self._add_rest(app, self.methods, OIDC_ROUTES)
        protection = self.protection
        add_oidc_routes(app, self.upstreams[OIDC_SERVICE], protection.rates, protection.public_origin)
        app.router.add_get("/ws", self.hub.handle)
        add_dashboard(app)
        return app

    def analytics(self) -> web.Application:
        """Return the application with REST of analytics only."""
        app = make_application(self.protection)
        self._add_rest(app, [method for method in self.methods if method.service == COUNT_SERVICE])
        return app

    def websocket(self) -> web.Application:
        """Return the application with `/ws` only."""
        app = make_application(self.protection)
        app.router.add_get("/ws", self.hub.handle)
        return app

    def _add_rest(self, app: web.Application, methods: Iterable[Method], written: Iterable[WrittenRoute] = ()) -> None:
        chosen = list(methods)
        add_routes(app, chosen, self.upstreams, self.verifier, self.protection.rates, self.protection.public_origin)
        description = document(chosen, written)

        async def openapi(_: web.Request) -> web.Response:
            return web.json_response(description)

        app.router.add_get("/api/v1/openapi.json", openapi)


async def run(settings: ApiSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure("api")
    with stop_signals() as stopping:
        async with ApiParts.of(settings) as parts, parts.health(settings.health_address):
            await until_available("database", lambda: _migrate(settings), stopping)
            async with serving(settings, parts, stopping) as addresses:
                _log.info("serving", **addresses)
                await stopping.wait()


@dataclass(frozen=True, slots=True)
class ApiParts:
    """Long-lived parts of the process."""

    verifier: TokenVerifier
    engine: AsyncEngine
    bus: LiveBus
    feed: CrossingFeed
    rates: RateStore

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, settings: ApiSettings) -> "AsyncIterator[ApiParts]":
        """Build the parts without connecting them."""
        verifier = TokenVerifier.from_file(settings.token_public_key_file)
        engine = database.create_engine(settings.dsn)
        rates = RateStore(settings.gateway_rate_limit_redis_url.get_secret_value())
        feed = CrossingFeed(engine, settings.dsn)
        try:
            yield cls(verifier, engine, LiveBus(settings.nats_url, settings.tls), feed, rates)
        finally:
            await rates.close()
            await engine.dispose()

    def health(self, address: str) -> HealthServer:
        """Return the server of the process's health."""
        degraded = {
            "revocations": lambda: self.verifier.revocations.problem,
            "rate limits": lambda: self.rates.problem,
        }
        return HealthServer(address, self.checks(), degraded)

    def reported(self) -> RunningPart:
        """Describe this process as it reports itself."""
        part = RunningPart("api", checks=self.checks())
        part.migrations.append(reader(part, self.engine, "countline_analytics.store", "analytics"))
        return part

    def checks(self) -> dict[str, Check]:
        """Return the health checks of the process."""

        async def database_answers() -> None:
            await check_database(self.engine)

        return {"database": database_answers, "live": self.feed.check, "nats": self.bus.check}


async def _migrate(settings: ApiSettings) -> None:
    await database.migrate(settings.dsn, "countline_analytics.store", "analytics")


@contextlib.asynccontextmanager
async def serving(settings: ApiSettings, parts: ApiParts, stopping: asyncio.Event) -> AsyncIterator[dict[str, str]]:
    """Serve on the three addresses; yield them by name, with real ports instead of 0.

    An exception in a background task sets `stopping` and is raised at the end.
    """
    statuses = StatusBoard(parts.bus)
    async with contextlib.AsyncExitStack() as stack:
        channels = {
            address: await stack.enter_async_context(open_guarded_channel(address, settings.tls, dependency))
            for address, dependency in _services(settings).items()
        }
        parts.verifier.keys = KeyExchange(remote_exchange(channels[settings.auth_address]), parts.verifier)
        directory = CameraDirectory(
            parts.engine, cameras_pb2_grpc.CameraServiceStub(channels[settings.cameras_address])
        )
        hub = LiveHub(parts.feed, parts.bus, statuses, parts.verifier, directory)
        outbox = Outbox(outbox_rows)
        trail = OutboxTrail(parts.engine.begin, outbox)
        relay = OutboxRelay(parts.engine.begin, outbox, parts.bus, trail)
        upstreams = _upstreams(settings, channels, directory)
        upstreams[COUNT_SERVICE] = LocalUpstream(
            make_handlers(parts.engine, directory, outbox), parts.verifier, directory.site_of, trail
        )
        details = DetailSources(
            parts.engine, directory, channels[settings.workers_address], channels[settings.models_address]
        )
        upstreams[CAMERA_SERVICE] = DetailedCameras(upstreams[CAMERA_SERVICE], details, parts.verifier)
        current = _follow_settings(settings, parts)
        api = Api(http_methods(), upstreams, parts.verifier, hub, _protection(settings, parts.rates, current))

        changes = follow_changes(parts.bus, lambda _: directory.forget(), statuses.announced)
        revocations = RevocationFeed(lambda: parts.bus.jetstream, parts.verifier.revocations)
        feeds = PartFeeds(parts.reported(), "api", lambda: parts.bus.jetstream, current)
        work = (statuses.run(), changes, revocations.run(), feeds.run(), relay.run())
        await stack.enter_async_context(_tasks(parts.bus.run(), parts.feed.run(), *work, stopping=stopping))
        stack.callback(relay.stop)
        stack.callback(feeds.stop)
        stack.callback(revocations.stop)  # nats-py may raise an error of its own in place of a cancellation
        addresses = {
            "gateway": await _listen(stack, api.gateway(), settings.gateway_address, settings.gateway_idle_timeout_s),
            "analytics": await _listen(
                stack, api.analytics(), settings.analytics_address, settings.gateway_idle_timeout_s
            ),
            "websocket": await _listen(
                stack, api.websocket(), settings.websocket_address, settings.gateway_idle_timeout_s
            ),
        }
        stack.push_async_callback(hub.close)
        yield addresses


def _services(settings: ApiSettings) -> dict[str, Dependency]:
    """Return the services of the control-plane by address; of several at one address, the first gives the limits."""
    return {
        settings.models_address: Dependency("models", settings.calls_models),
        settings.workers_address: Dependency("workers", settings.calls_workers),
        settings.cameras_address: Dependency("cameras", settings.calls_cameras),
        settings.auth_address: Dependency("auth", settings.calls_auth),
    }


def _follow_settings(settings: ApiSettings, parts: ApiParts) -> CurrentSettings:
    """Return what an administrator may change while the process runs; maintenance acts on the process's own service."""
    current = CurrentSettings({**settings.rates_of_environment(), **level_base("api")})
    parts.verifier.gate = partial(check_call, current)
    follow_level("api", current)
    return current


def _protection(settings: ApiSettings, store: RateStore, current: CurrentSettings) -> Protection:
    proxies = settings.proxy_networks()
    rates = RateLimits(store, partial(rates_of, current), proxies)
    return Protection(
        settings.gateway_body_timeout_s, rates, settings.cors_origins(), proxies, settings.public_origin()
    )


def _upstreams(
    settings: ApiSettings, channels: Mapping[str, grpc.aio.Channel], directory: CameraDirectory
) -> dict[str, Upstream]:
    """Return the upstream of each service of the control-plane, by full service name."""

    def at(address: str) -> RemoteUpstream:
        return RemoteUpstream(channels[address], address)

    return {
        "countline.v1.ActingService": at(settings.auth_address),
        "countline.v1.AuthService": at(settings.auth_address),
        "countline.v1.AdministrationService": at(settings.auth_address),
        "countline.v1.AuditService": at(settings.auth_address),
        "countline.v1.FactorService": at(settings.auth_address),
        "countline.v1.RegistrationService": at(settings.auth_address),
        "countline.v1.KeyService": at(settings.auth_address),
        "countline.v1.LogService": at(settings.auth_address),
        "countline.v1.PartService": at(settings.auth_address),
        OIDC_SERVICE: at(settings.auth_address),
        CAMERA_SERVICE: WatchedUpstream(at(settings.cameras_address), directory.forget),
        "countline.v1.SecretService": at(settings.cameras_address),
        "countline.v1.WorkerService": at(settings.workers_address),
        "countline.v1.ModelService": at(settings.models_address),
    }


async def _listen(stack: contextlib.AsyncExitStack, app: web.Application, address: str, idle_timeout_s: float) -> str:
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_S, handler_cancellation=True)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    server = await listen(runner, address, idle_timeout_s)
    stack.callback(server.close)
    host, port = server.sockets[0].getsockname()[:2]
    return f"{host}:{port}"


@contextlib.asynccontextmanager
async def _tasks(*work: Coroutine[Any, Any, None], stopping: asyncio.Event) -> AsyncIterator[None]:
    """Run background tasks beside the servers.

    An exception in a task stops the process, so that its supervisor restarts it.
    """
    tasks = [asyncio.create_task(each) for each in work]

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("task.failed", exc_info=task.exception())
            stopping.set()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
