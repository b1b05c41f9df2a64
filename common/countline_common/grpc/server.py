"""The gRPC server of every service.

It authorises, limits and logs each call, maps errors, serves health and reflection, and lets running calls finish when
it stops. A method is open to callers that hold the permission named in its .proto; a method that names none is closed
to all callers. Health and reflection are open: they show only what this repository publishes anyway.
"""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from countline_common.audit.calls import AuditTrail
from countline_common.errors import UnavailableError
from countline_common.grpc.authorization import SiteOf, no_sites
from countline_common.grpc.calls import CallInterceptor, CallRules, Translate
from countline_common.grpc.permissions import OPEN_SERVICES
from countline_common.grpc.tokens import TokenVerifier
from countline_common.http.client_address import Network
from countline_common.logs import get_logger
from countline_common.settings import host_port
from countline_common.waiting import happens

REVOCATIONS: Final = "countline.revocations"
"""Name in gRPC's health service: NOT_SERVING while the service does not learn which logins ended. Calls are served."""
CALL_LIMIT_S: Final = 30.0
"""Default limit of one call, whatever deadline the caller set. Streams are not limited."""
MESSAGE_LIMIT_S: Final = 30.0
"""Default time in which a message of a caller has to arrive: the one of a call, and each one of a stream."""
CHECK_PERIOD_S: Final = 1.0
CHECK_TIMEOUT_S: Final = 3.0
STOP_GRACE_S: Final = 5.0
MESSAGE_LIMIT: Final = 16 * 1024 * 1024
MOST_CONNECTIONS: Final = 1000
"""Open connections of one address. gRPC closes further ones at once."""
FILES_PER_CONNECTION: Final = 8
"""The process may have to open so many files for each connection of one address: it can serve several addresses, and
needs files for databases. A process with a low limit of open files therefore accepts fewer connections."""
OPTIONS: Final = [
    ("grpc.so_reuseport", 0),  # a second process on the same port is an error
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    # A connection that sends no valid beginning is closed after this time; gRPC's default is 2 minutes.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # A peer that vanished or stalls is noticed within 20 s; TCP alone takes much longer. Both limits are needed: gRPC
    # waits a minute for the answer to a ping of its own, and sends no keepalive meanwhile.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    # Calls at a time on one connection; gRPC's default has no bound.
    ("grpc.max_concurrent_streams", 1000),
    # A connection without calls; clients open it again by themselves.
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]

Check = Callable[[], Awaitable[None]]
"""Returns if a service can work; raises with the reason if it cannot."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a server."""

    name: str
    """Full name, such as `countline.v1.AuthService`."""
    register: Callable[[grpc.aio.Server], None]
    check: Check
    """Whether the service can work. gRPC's health service reports it to load balancers."""
    site_of: SiteOf = no_sites
    """Finds the site of a camera that a request names; not needed by services without such methods."""
    trail: AuditTrail | None = None
    """Where the audit rows of its calls go; not needed by services that change nothing."""


class GrpcServer:
    """Services on one address, as an async context manager.

    Args:
        address: `host:port`; port 0 picks a free one, see `address` afterwards.
        services: the services to serve.
        verifier: checks access tokens.
        translate: maps exceptions of libraries, such as those of an unreachable database.
        before_stop: called first when stopping, to end streams that have no end of their own.
        call_limit_s: seconds that one call may take; streams are not limited.
        message_limit_s: seconds in which each message of a caller has to arrive.
        credentials: of TLS; None for a server without.
        proxies: networks of our own proxies: their header names the address of a caller.
    """

    def __init__(
        self,
        address: str,
        services: tuple[Service, ...],
        verifier: TokenVerifier,
        *,
        translate: Translate = lambda _: None,
        before_stop: Callable[[], None] = lambda: None,
        call_limit_s: float = CALL_LIMIT_S,
        message_limit_s: float = MESSAGE_LIMIT_S,
        credentials: grpc.ServerCredentials | None = None,
        proxies: Collection[Network] = (),
    ) -> None:
        host_port(address)
        self._wanted_address = address
        self._services = services
        self._revocations = verifier.revocations
        trails = {service.name: service.trail for service in services if service.trail is not None}
        rules = CallRules(verifier, translate, call_limit_s, message_limit_s, self._site_of, trails, proxies)
        self._interceptor = CallInterceptor(rules)
        self._before_stop = before_stop
        self._credentials = credentials
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server: grpc.aio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.address = address
        """Address it listens on, final once started."""

    async def __aenter__(self) -> Self:
        most = ("grpc.max_allowed_incoming_connections", most_connections())
        server = grpc.aio.server(interceptors=(self._interceptor,), options=[*OPTIONS, most])
        for service in self._services:
            service.register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [service.name for service in self._services]
        reflection.enable_server_reflection([*names, *sorted(OPEN_SERVICES)], server)
        self.address = self._bind(server)
        await self._update_health()
        await server.start()
        self._server = server
        self._watch = asyncio.create_task(self._watch_health(), name=f"health of {self.address}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._stopping.set()
            await self._watch
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            self._before_stop()
            await self._server.stop(STOP_GRACE_S)

    async def _site_of(self, camera_id: str) -> str:
        for service in self._services:
            if site_id := await service.site_of(camera_id):
                return site_id
        return ""

    def _bind(self, server: grpc.aio.Server) -> str:
        host, _, _ = self._wanted_address.rpartition(":")
        try:
            if self._credentials is None:
                port = server.add_insecure_port(self._wanted_address)
            else:
                port = server.add_secure_port(self._wanted_address, self._credentials)
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen on {self._wanted_address}", hint="another process uses the port: choose another one"
            ) from error
        return f"{host}:{port}"

    async def _watch_health(self) -> None:
        while not self._stopping.is_set():
            await happens(self._stopping, CHECK_PERIOD_S)
            await self._update_health()

    async def _update_health(self) -> None:
        # Services of one database share its check: each would need a connection of its own, every second.
        checks = list({service.check for service in self._services})
        passed = dict(zip(checks, await asyncio.gather(*map(_passes, checks)), strict=True))
        by_name: Mapping[str, bool] = {service.name: passed[service.check] for service in self._services}
        revocations = {REVOCATIONS: not self._revocations.problem}
        for name, serving in {**by_name, "": all(passed.values()), **revocations}.items():
            status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            await self._health.set(name, status)


def most_connections() -> int:
    """Return how many connections an address may have, so that callers cannot use up the open files of the process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, soft // FILES_PER_CONNECTION)


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except Exception as error:  # noqa: BLE001  (any error of a check means that the service cannot work now)
        _log.debug("grpc.check_failed", error=str(error))
        return False
    return True
