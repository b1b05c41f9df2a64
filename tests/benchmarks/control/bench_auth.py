"""What the check of a caller costs, and what a flood of logins does to everybody else.

    python tests/benchmarks/control/bench_auth.py [--calls N] [--seconds N]

The control-plane and the gateway run as processes of their own, with PostgreSQL, NATS and Argon2 as they are shipped,
and 200 users who hold 10,000 grants over sites.

1. `authorise`: from the header of a call to the decision about the camera that it names, by users with 50 grants each.
   The limit is 50 us at the median. Beside it stands the bare check of a token's signature, which a service without
   this check would need anyway.
2. `flood`: 2,000 logins a minute from 500 addresses, one in four with the right password. The limit for calls of a user
   who is logged in is 100 ms at the 95th percentile; each login is answered: let in, refused, or sent away with 429.

Exit code 1 where a limit is broken.
"""

import argparse
import asyncio
import collections
import contextlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import structlog

from countline.v1 import auth_pb2, auth_pb2_grpc, cameras_pb2, cameras_pb2_grpc

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.append(str(REPOSITORY))

from tests.fixtures.local.ports import free_ports  # noqa: E402
from tests.fixtures.nats import NatsServer  # noqa: E402
from tests.fixtures.postgres import PostgresServer  # noqa: E402

from countline_common.access.camera_sites import CameraSites  # noqa: E402
from countline_common.cli.child_commands import command_line  # noqa: E402
from countline_common.grpc.authorization import authorize, bearer_metadata, check_reach  # noqa: E402
from countline_common.grpc.permissions import method_policy  # noqa: E402
from countline_common.grpc.tokens import TokenVerifier, generate_key_pair  # noqa: E402
from countline_common.secrets.master_keys import new_master_key  # noqa: E402
from countline_control.cameras import store  # noqa: E402
from countline_control.database import Database  # noqa: E402

AUTHORISE_LIMIT_US = 50.0
OTHERS_LIMIT_MS = 100.0
LOGINS_A_MINUTE = 2000
USERS, GRANTS_EACH, CAMERAS_A_SITE, LOGGED_IN = 200, 50, 2, 20
ADDRESSES = 500
OTHER_CALLS_A_SECOND = 20
METHOD = "/countline.v1.CameraService/GetCamera"
PASSWORD = "seven green umbrellas"
LISTENERS = ("auth", "cameras", "workers", "models", "analytics", "websocket", "gateway")


@dataclass(frozen=True, slots=True)
class System:
    """The running control-plane and gateway."""

    addresses: dict[str, str]
    public_key: Path
    cameras_dsn: str
    admin: str
    """Access token of the super-admin."""
    users: tuple[str, ...]
    """Access tokens of users with 50 grants each."""


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[dict[str, str], str]]:
    """Start the control-plane and the gateway; gives their addresses and the DSN of cameras."""
    postgres, nats = PostgresServer(), NatsServer(folder / "nats")
    await nats.start()
    addresses = dict(zip((*LISTENERS, "control-health", "api-health"), _free_addresses(), strict=False))
    dsn = {name: postgres.create_database() for name in ("auth", "cameras", "analytics")}
    environment = os.environ | _environment(folder, addresses, dsn, nats.url)
    async with contextlib.AsyncExitStack() as cleanup:
        cleanup.callback(postgres.remove)
        cleanup.push_async_callback(nats.stop)
        for name, command in (("control", ("serve", "all")), ("api", ("analytics", "api"))):
            process = await asyncio.create_subprocess_exec(
                *command_line(*command),
                env=environment | {"COUNTLINE_HEALTH_ADDRESS": addresses[f"{name}-health"]},
                stdout=(folder / f"{name}.log").open("wb"),
                stderr=asyncio.subprocess.STDOUT,
            )
            cleanup.push_async_callback(_ended, process)
            await _ready(addresses[f"{name}-health"], process)
        yield addresses, dsn["cameras"]


def _free_addresses() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(len(LISTENERS) + 2)]


def _environment(folder: Path, addresses: dict[str, str], dsn: dict[str, str], nats_url: str) -> dict[str, str]:
    private, public = generate_key_pair()
    files = {"key": private, "key.pub": public, "password": PASSWORD.encode(), "master": new_master_key().encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return {
        **{f"COUNTLINE_{name.upper()}_ADDRESS": addresses[name] for name in LISTENERS},
        **{f"COUNTLINE_{name.upper()}_DSN": each for name, each in dsn.items()},
        "COUNTLINE_NATS_URL": nats_url,
        "COUNTLINE_TOKEN_PRIVATE_KEY_FILE": str(folder / "key"),
        "COUNTLINE_TOKEN_PUBLIC_KEY_FILE": str(folder / "key.pub"),
        "COUNTLINE_ADMIN_PASSWORD_FILE": str(folder / "password"),
        "COUNTLINE_MASTER_KEY_FILE": str(folder / "master"),
        "COUNTLINE_DATA": str(folder / "data"),
        "COUNTLINE_GATEWAY_TRUSTED_PROXIES": "127.0.0.1/32",
    }


async def _ready(address: str, process: asyncio.subprocess.Process) -> None:
    """Wait until a process is ready; raises if it ends before."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://{address}/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise RuntimeError(f"a process of the control-plane ended with {process.returncode}")


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        await process.wait()


async def filled(addresses: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """Create the sites, cameras and users; gives the access tokens of the admin and of some users."""
    async with (
        grpc.aio.insecure_channel(addresses["auth"]) as auth_channel,
        grpc.aio.insecure_channel(addresses["cameras"]) as camera_channel,
    ):
        auth = auth_pb2_grpc.AuthServiceStub(auth_channel)
        cameras = cameras_pb2_grpc.CameraServiceStub(camera_channel)
        admin = await _login(auth, "admin", 0)
        by_admin = bearer_metadata(admin)
        for site in map(_site, range(GRANTS_EACH)):
            request = cameras_pb2.Site(site_id=site, title=site, time_zone="UTC")
            await cameras.CreateSite(cameras_pb2.CreateSiteRequest(site=request), metadata=by_admin)
            for k in range(CAMERAS_A_SITE):
                camera = cameras_pb2.Camera(camera_id=f"{site}-{k}", site_id=site)
                camera.name, camera.stream_url = "Camera", f"rtsp://127.0.0.1:1/{site}/{k}"
                await cameras.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera), metadata=by_admin)
        grants = [auth_pb2.Grant(role="viewer", site_id=_site(i)) for i in range(GRANTS_EACH)]
        for i in range(USERS):
            request = auth_pb2.CreateUserRequest(username=f"guard-{i}", password=PASSWORD, grants=grants)
            await auth.CreateUser(request, metadata=by_admin)
        users = [await _login(auth, f"guard-{i}", i + 1) for i in range(LOGGED_IN)]
        return await _login(auth, "admin", 0), tuple(users)


def _site(i: int) -> str:
    return f"site-{i:03d}"


async def _login(auth: auth_pb2_grpc.AuthServiceStub, username: str, address: int) -> str:
    request = auth_pb2.LoginRequest(username=username, password=PASSWORD)
    answer = await auth.Login(request, metadata=(("x-forwarded-for", f"10.1.0.{address}"),))
    token: str = answer.tokens.access_token
    return token


async def authorise(system: System, calls: int) -> tuple[list[float], list[float]]:
    """Microseconds of each decision, and of each bare check of a signature."""
    database = Database(system.cameras_dsn)
    sites = CameraSites(lambda camera: database.read(lambda connection: store.site_of(connection, camera)))
    policy = method_policy(METHOD)
    verifier = TokenVerifier.from_file(system.public_key)
    cameras = [f"{_site(i)}-{k}" for i in range(GRANTS_EACH) for k in range(CAMERAS_A_SITE)]
    callers, names = itertools.cycle(system.users), itertools.cycle(cameras)
    decisions, checks = [], []
    for _ in range(calls):
        request = cameras_pb2.GetCameraRequest(camera_id=next(names))
        header = f"Bearer {next(callers)}"
        start = time.perf_counter()
        principal = await authorize(verifier, header, METHOD, policy)
        await check_reach(principal, METHOD, policy, request, sites.site_of)
        decisions.append((time.perf_counter() - start) * 1e6)
    for _ in range(min(calls, 2000)):
        token, fresh = next(callers), TokenVerifier.from_file(system.public_key)
        start = time.perf_counter()
        fresh.verify(token)
        checks.append((time.perf_counter() - start) * 1e6)
    await database.close()
    return decisions, checks


async def others(system: System, session: aiohttp.ClientSession, until: Callable[[], bool]) -> list[float]:
    """Milliseconds of calls of a user who is logged in, at a steady pace, until it is time to stop."""
    url = f"http://{system.addresses['gateway']}/api/v1/cameras/{_site(0)}-0"
    headers = {"Authorization": f"Bearer {system.admin}"}

    async def call() -> float:
        start = time.perf_counter()
        async with session.get(url, headers=headers) as response:
            await response.read()
            assert response.status == 200, response.status
        return (time.perf_counter() - start) * 1e3

    return await _paced(call, OTHER_CALLS_A_SECOND, until)


async def flood(
    system: System, session: aiohttp.ClientSession, until: Callable[[], bool]
) -> tuple[collections.Counter[int], list[float]]:
    """Log in at the rate of the limit; gives the answers by status, and the milliseconds of those who were let in."""
    url = f"http://{system.addresses['gateway']}/api/v1/auth/login"
    answers: collections.Counter[int] = collections.Counter()
    let_in: list[float] = []
    numbers = itertools.count()

    async def log_in() -> float:
        i, start = next(numbers), time.perf_counter()
        right = i % 4 == 0
        body = {
            "username": f"guard-{LOGGED_IN + i % (USERS - LOGGED_IN)}",
            "password": PASSWORD if right else f"no-{i}",
        }
        address = {"X-Forwarded-For": f"10.2.{i % ADDRESSES // 250}.{i % 250}"}
        async with session.post(url, json=body, headers=address) as response:
            await response.read()
            answers[response.status] += 1
            if response.status == 200:
                let_in.append((time.perf_counter() - start) * 1e3)
        return 0.0

    await _paced(log_in, LOGINS_A_MINUTE / 60, until)
    return answers, let_in


async def _paced(call: Callable[[], Awaitable[float]], a_second: float, until: Callable[[], bool]) -> list[float]:
    """Start a call at each turn, whether or not the ones before have been answered; gives what they return."""
    start = time.perf_counter()
    tasks: list[asyncio.Task[float]] = []
    for i in itertools.count():
        await asyncio.sleep(max(0.0, start + i / a_second - time.perf_counter()))
        if until():
            break
        tasks.append(asyncio.ensure_future(call()))
    return list(await asyncio.gather(*tasks))


async def flooded(
    system: System, seconds: float
) -> tuple[list[float], list[float], collections.Counter[int], list[float]]:
    """Calls of others before and during the flood, and what became of the logins."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        quiet = await others(system, session, _after(seconds / 2))
        during, (answers, let_in) = await asyncio.gather(
            others(system, session, _after(seconds)), flood(system, session, _after(seconds))
        )
    return quiet, during, answers, let_in


def _after(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else float("nan")


def report_authorise(decisions: list[float], checks: list[float]) -> bool:
    """Print the first table; returns whether its limit holds."""
    print(f"{'':34}{'p50':>10}{'p95':>10}{'of the limit':>14}")
    for name, values in (("authorise, 10,000 grants", decisions), ("bare check of a signature", checks)):
        middle = statistics.median(values)
        print(f"{name:34}{middle:>8.1f}us{_percentile(values, 95):>8.1f}us{middle / AUTHORISE_LIMIT_US:>14.2f}")
    holds = statistics.median(decisions) <= AUTHORISE_LIMIT_US
    print(f"goal: authorise at most {AUTHORISE_LIMIT_US:g} us at the median: {'reached' if holds else 'NOT REACHED'}\n")
    return holds


def report_flood(
    quiet: list[float], during: list[float], answers: collections.Counter[int], let_in: list[float]
) -> bool:
    """Print the second table; returns whether its limits hold."""
    print(f"{'calls of others':34}{'p50':>10}{'p95':>10}{'of the limit':>14}")
    for name, values in (("without logins", quiet), (f"under {LOGINS_A_MINUTE:,} logins a minute", during)):
        high = _percentile(values, 95)
        print(f"{name:34}{statistics.median(values):>8.1f}ms{high:>8.1f}ms{high / OTHERS_LIMIT_MS:>14.2f}")
    named = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
    waited = f"; let in after {statistics.median(let_in):.0f} ms (p50)" if let_in else ""
    print(f"logins: {named}{waited}")
    answered = set(answers) <= {200, 401, 429} and answers[200] > 0
    holds = _percentile(during, 95) <= OTHERS_LIMIT_MS and answered
    goal = f"others at most {OTHERS_LIMIT_MS:g} ms at p95, each login let in, refused or answered with 429"
    print(f"goal: {goal}: {'reached' if holds else 'NOT REACHED'}")
    return holds


async def run(options: argparse.Namespace) -> int:
    """Everything on servers of its own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with running(folder) as (addresses, cameras_dsn):
            admin, users = await filled(addresses)
            system = System(addresses, folder / "key.pub", cameras_dsn, admin, users)
            first = report_authorise(*await authorise(system, options.calls))
            second = report_flood(*await flooded(system, options.seconds))
    return 0 if first and second else 1


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the flood")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
