"""What the services of one process share: databases, channels, servers, background tasks and health."""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Final

import grpc

from countline_common.data.database import migrate
from countline_common.data.part_feeds import RunningPart
from countline_common.errors import CountlineError, UnavailableError
from countline_common.grpc.outgoing.service_calls import open_guarded_channel
from countline_common.grpc.server import CALL_LIMIT_S, GrpcServer, Service
from countline_common.grpc.tokens import TokenVerifier
from countline_common.http.client_address import Network
from countline_common.http.health import Check, HealthServer
from countline_common.logs import get_logger
from countline_common.resilience.dependency import Dependency
from countline_common.resilience.policy import CallLimits
from countline_common.resilience.retry import Backoff
from countline_common.tasks import cancel
from countline_common.tls.files import TlsFiles
from countline_common.tls.grpc_credentials import server_credentials
from countline_control.database import Database, translate

LOG_PERIOD_S: Final = 10.0
TASK_GRACE_S: Final = 4.0
"""Within what a supervisor allows, together with the grace of the servers."""

_log = get_logger(__name__)


class ServiceHost:
    """Opens what services need, and closes it in the right order.

    Args:
        part: this process, as it reports itself; the host adds checks and migrations.
        verifier: checks the tokens of callers.
        tls: certificate files of the servers and of channels; None without TLS.
        require_client_certs: whether the servers refuse clients without a certificate.
        proxies: networks of our own proxies.
    """

    def __init__(
        self,
        part: RunningPart,
        verifier: TokenVerifier,
        tls: TlsFiles | None = None,
        *,
        require_client_certs: bool = False,
        proxies: Collection[Network] = (),
    ) -> None:
        self._proxies = proxies
        self._verifier = verifier
        self._tls = tls
        self._require_client_certs = require_client_certs
        self._servers = AsyncExitStack()
        self._resources = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._stops: list[Callable[[], None]] = []
        self._checks: dict[str, Check] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self.part = replace(part, checks=self._checks)
        self.facts: dict[str, Callable[[], str]] = {}
        """Shown by the health server beside its checks."""
        self.addresses: dict[str, str] = {}
        """Service → the address on which it listens."""

    async def serve_health(self, address: str, services: list[str]) -> None:
        """Serve probes and metrics; a service is unready until it listens."""
        checks = {name: partial(self._check, name) for name in services}
        degraded = {"revocations": lambda: self._verifier.revocations.problem}
        await self._servers.enter_async_context(HealthServer(address, checks, degraded, self.facts))

    async def database(self, service: str, dsn: str) -> Database:
        """Open a service's database, once its schema is up to date."""
        await _migrated(dsn, service)
        database = Database(dsn)
        self.part.migrations.append(database.migrations(self.part, f"countline_control.{service}", service))
        self._resources.push_async_callback(database.close)
        return database

    async def channel(self, service: str, address: str, limits: CallLimits) -> grpc.aio.Channel:
        """Return the channel to a service in another process; open it at the first call."""
        if service not in self._channels:
            channel = open_guarded_channel(address, self._tls, Dependency(service, limits))
            self._channels[service] = await self._resources.enter_async_context(channel)
        return self._channels[service]

    async def listen(
        self,
        name: str,
        address: str,
        service: Service,
        *more: Service,
        before_stop: Callable[[], None] = lambda: None,
        call_limit_s: float = CALL_LIMIT_S,
    ) -> None:
        """Serve a service.

        Args:
            name: the service, such as `auth`.
            address: host:port.
            service: what to serve.
            more: further services on the same address.
            before_stop: called before the server stops, to end its streams.
            call_limit_s: the longest time of a call.
        """
        server = GrpcServer(
            address,
            (service, *more),
            self._verifier,
            translate=translate,
            before_stop=before_stop,
            call_limit_s=call_limit_s,
            credentials=self._credentials(),
            proxies=self._proxies,
        )
        self.addresses[name] = (await self._servers.enter_async_context(server)).address
        self._checks[name] = service.check
        _log.info("serve.listening", service=name, address=self.addresses[name])

    def _credentials(self) -> grpc.ServerCredentials | None:
        if self._tls is None:
            return None
        return server_credentials(self._tls, require_client_certs=self._require_client_certs)

    def spawn(self, name: str, work: Coroutine[Any, Any, None], stop: Callable[[], None]) -> None:
        """Run a background task; `stop` asks it to end."""
        self._stops.append(stop)
        self._tasks.append(asyncio.create_task(work, name=name))

    async def failed(self) -> None:
        """Wait until a background task ends, which none should; raise its error."""
        if not self._tasks:
            await asyncio.Event().wait()
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise RuntimeError("a background task has ended")

    async def close(self) -> None:
        """Stop servers, then tasks, then databases: calls in progress may need the tasks, and tasks the databases."""
        await self._servers.aclose()
        for stop in self._stops:
            stop()
        if self._tasks:
            # A task that is cancelled while it connects to PostgreSQL would leave half a connection.
            await asyncio.wait(self._tasks, timeout=TASK_GRACE_S)
        await cancel(*self._tasks)
        self._tasks.clear()
        await self._resources.aclose()

    async def _check(self, name: str) -> None:
        check = self._checks.get(name)
        if check is None:
            raise UnavailableError("the service waits for its database")
        await check()


async def _migrated(dsn: str, service: str) -> None:
    """Bring a service's schema up to date; wait for the database as long as it takes."""
    logged_at, backoff = float("-inf"), Backoff()
    while True:
        try:
            await migrate(dsn, f"countline_control.{service}", service)
        except CountlineError as error:
            if time.monotonic() - logged_at > LOG_PERIOD_S:
                logged_at = time.monotonic()
                _log.warning("serve.database_away", service=service, error=error.message)
            await asyncio.sleep(backoff.next_s())
        else:
            return
