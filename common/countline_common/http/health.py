"""Health and metrics of a process over HTTP: `/healthz`, `/readyz`, `/metrics`.

`/healthz` answers as long as the event loop runs, with 503 after a fault that only a restart cures. `/readyz` runs the
process's checks, each with a limit of one second, and names those that fail. Both list under `degraded` what works less
well than it should, and under `facts` what else people should know; neither changes the status. `/metrics` is for
Prometheus.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from countline_common.redaction import redact
from countline_common.resilience.vitality import faults, problems
from countline_common.settings import host_port

IDLE_TIMEOUT_S: Final = 20.0
"""A connection without a complete request head for so long is closed."""
LINGER_S: Final = 2.0
CHECK_TIMEOUT_S: Final = 1.0

Check = Callable[[], Awaitable[None]]
"""Returns if the check passes; raises with the reason if it fails."""


async def failing(checks: Mapping[str, Check]) -> dict[str, str]:
    """Run checks at the same time, each for one second at most; return the reasons of those that fail, by name."""
    results = await asyncio.gather(*(_run(check) for check in checks.values()))
    return {name: problem for name, problem in zip(checks, results, strict=True) if problem}


async def _run(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_S:g} s"
    except Exception as error:  # noqa: BLE001  (any error of a check is a reason not to be ready)
        return redact(str(error)) or type(error).__name__
    return None


class HealthServer:
    """An HTTP server for probes and Prometheus, as an async context manager.

    Args:
        address: `host:port` to listen on; port 0 picks a free one, see `port`.
        checks: by name; all must pass for the process to be ready.
        degraded: by name, returns what works less well than it should; an empty text if nothing does. The problems
            that the process has recorded are shown as well.
        facts: by name, returns what else people should know; may grow later.
    """

    def __init__(
        self,
        address: str,
        checks: Mapping[str, Check],
        degraded: Mapping[str, Callable[[], str]] | None = None,
        facts: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        self._degraded = degraded or {}
        self._facts = facts if facts is not None else {}
        self._host, self._port = host_port(address)
        self._checks = checks
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE_TIMEOUT_S, lingering_time=LINGER_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on, final once started."""
        if self._runner is None or not self._runner.addresses:
            return self._port
        return int(self._runner.addresses[0][1])

    async def _healthz(self, _: web.Request) -> web.Response:
        found = faults()
        answer = {"alive": not found, "faults": found, "degraded": self._problems(), **self._known()}
        return web.json_response(answer, status=503 if found else 200)

    def _known(self) -> dict[str, dict[str, str]]:
        facts = {name: of() for name, of in self._facts.items()}
        return {"facts": facts} if facts else {}

    def _problems(self) -> dict[str, str]:
        return problems() | {name: problem for name, of in self._degraded.items() if (problem := of())}

    async def _readyz(self, _: web.Request) -> web.Response:
        problems = await failing(self._checks)
        answer = {"ready": not problems, "problems": problems, "degraded": self._problems(), **self._known()}
        return web.json_response(answer, status=503 if problems else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})
