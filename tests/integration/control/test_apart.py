"""Services in separate processes: `countline serve auth`, `… cameras`, `… models`, `… workers`."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from aiohttp import ClientError, ClientSession
from tests.fixtures.control.fake_workers import create_camera, eventually, working
from tests.fixtures.forked.command import KILL, countline
from tests.fixtures.local.ports import free_port, free_ports
from tests.fixtures.postgres import PostgresServer

from countline.v1 import auth_pb2, auth_pb2_grpc, cameras_pb2
from countline.v1.cameras_pb2 import CameraObservation
from countline_common.grpc import tokens
from countline_common.grpc.client import connect
from countline_common.grpc.discovery import ServerProfile
from countline_common.grpc.endpoints import Endpoints
from countline_common.grpc.logins import LoginFile
from countline_common.secrets.master_keys import new_master_key
from countline_control.settings import ControlSettings

from .conftest import ADMIN_PASSWORD, Control
from .test_workers import _is


class Apart:
    """Four processes that talk over gRPC."""

    def __init__(self, dsn: str, keys: tuple[Path, Path], folder: Path) -> None:
        names = ("auth", "cameras", "models", "workers")
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(4), strict=True)}
        self.signer = tokens.TokenSigner.from_file(keys[0])
        token = folder / "service-token"
        permissions = frozenset({"camera:read", "model:read", "worker:read", "camera:secrets"})
        token.write_text(self.signer.sign("s", "service", roles=(), permissions=permissions, lifetime_s=3600))
        password = folder / "admin-password"
        password.write_text(ADMIN_PASSWORD)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "COUNTLINE_TOKEN_PUBLIC_KEY_FILE": str(keys[1]),
            "COUNTLINE_SERVICE_TOKEN_FILE": str(token),
            "COUNTLINE_LEASE_S": "2",
            **{f"COUNTLINE_{name.upper()}_ADDRESS": address for name, address in self.addresses.items()},
        }
        self.own = {
            "auth": {
                "COUNTLINE_AUTH_DSN": dsn,
                "COUNTLINE_MASTER_KEY": new_master_key(),
                "COUNTLINE_TOKEN_PRIVATE_KEY_FILE": str(keys[0]),
                "COUNTLINE_ADMIN_PASSWORD_FILE": str(password),
            },
            "cameras": {"COUNTLINE_CAMERAS_DSN": dsn, "COUNTLINE_MASTER_KEY": new_master_key()},
            "models": {
                "COUNTLINE_MODELS_DSN": dsn,
                "COUNTLINE_MODEL_REPOSITORY": str(folder / "repository"),
                "COUNTLINE_MODEL_WORK": str(folder / "work"),
                "COUNTLINE_MODEL_STORE": "repository",
            },
            "workers": {"COUNTLINE_WORKERS_DSN": dsn},
        }
        self.folder = folder
        self.processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                str(countline()), "serve", name, env={**self.environment, **self.own[name]}, stdout=log, stderr=log
            )

    async def kill(self, name: str) -> None:
        self.processes[name].send_signal(KILL)
        await self.processes[name].wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    async def stop(self) -> dict[str, int]:
        for process in self.processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        codes = {name: await asyncio.wait_for(p.wait(), 15) for name, p in self.processes.items()}
        self.processes.clear()
        return codes


@pytest.fixture
async def apart(control_dsn: str, keys: tuple[Path, Path], tmp_path: Path) -> AsyncIterator[Apart]:
    apart = Apart(control_dsn, keys, tmp_path)
    for name in apart.own:
        await apart.start(name)
    yield apart
    await apart.stop()


@pytest.fixture
async def distant(apart: Apart) -> AsyncIterator[Control]:
    """A `Control` as in the other tests, in four processes."""
    async with AsyncExitStack() as stack:
        control = Control(plane=None, signer=apart.signer, settings=ControlSettings())
        for name, address in apart.addresses.items():
            control.channels[name] = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            await asyncio.wait_for(control.channels[name].channel_ready(), 30)
        yield control


async def test_cameras_reach_workers_and_statuses_come_back_across_processes(distant: Control, apart: Apart) -> None:
    await create_camera(distant, "door")
    async with working(distant) as worker:
        await worker.until(lambda w: w.epochs == {"door": 1})
        (assignment,) = worker.received[-1].assignments
        assert assignment.camera.stream_url == "rtsp://joe:secret@camera.invalid/live"
        assert assignment.time_zone == "Europe/Berlin"
        await eventually(lambda: _is(distant, "door", cameras_pb2.OBSERVED_STATE_RUNNING))
        await create_camera(distant, "yard")
        await worker.until(lambda w: "yard" in w.epochs)
        worker.states["yard"] = CameraObservation(state=cameras_pb2.OBSERVED_STATE_OFFLINE)
        await eventually(lambda: _is(distant, "yard", cameras_pb2.OBSERVED_STATE_OFFLINE))


async def test_each_service_outlives_the_absence_of_the_others(distant: Control, apart: Apart) -> None:
    await create_camera(distant, "door")
    async with working(distant) as worker:
        await worker.until(lambda w: w.epochs == {"door": 1})
        await apart.kill("cameras")
        await asyncio.sleep(1.5)
        assert worker.epochs == {"door": 1}
        await apart.start("cameras")
        await asyncio.wait_for(distant.channels["cameras"].channel_ready(), 30)
        await create_camera(distant, "yard")
        await worker.until(lambda w: "yard" in w.epochs)
        assert worker.epochs == {"door": 1, "yard": 1}
    await apart.kill("workers")
    assert await _is(distant, "door", cameras_pb2.OBSERVED_STATE_WAITING)


async def test_the_client_finds_logs_in_and_calls_all_of_them(distant: Control, apart: Apart, tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    file.write_text(json.dumps({**apart.addresses, "gateway": "http://127.0.0.1:8080/"}))
    target = ServerProfile(
        Endpoints.from_file(file), LoginFile(tmp_path / "l.json"), password_file=tmp_path / "admin-password"
    )
    async with connect(target) as client:
        assert (await client.cameras.ListCameras(cameras_pb2.ListCamerasRequest())).cameras == []
        assert client.rest_base_url == "http://127.0.0.1:8080"
        assert (await client.authorization())["Authorization"].startswith("Bearer ey")


async def test_they_stop_on_sigterm_with_0_and_log_neither_password_nor_token(distant: Control, apart: Apart) -> None:
    await create_camera(distant, "door")
    async with working(distant):
        codes = await apart.stop()
    assert codes == {"auth": 0, "cameras": 0, "models": 0, "workers": 0}
    for name in apart.own:
        log = apart.log(name)
        assert '"event": "serve.stopped"' in log
        assert "secret" not in log
        assert ADMIN_PASSWORD not in log
        assert "eyJ" not in log


async def test_a_service_that_waits_for_its_database_says_so_and_stops_when_asked(
    keys: tuple[Path, Path], tmp_path: Path
) -> None:
    apart = Apart("postgresql://postgres:pw-of-the-database@127.0.0.1:1/x", keys, tmp_path)
    port = free_port()
    apart.environment["COUNTLINE_HEALTH_ADDRESS"] = f"127.0.0.1:{port}"
    await apart.start("cameras")
    async with ClientSession() as http:
        await eventually(lambda: _answers(http, f"http://127.0.0.1:{port}/healthz", 200))
        assert await _answers(http, f"http://127.0.0.1:{port}/readyz", 503)
    await eventually(lambda: _logged(apart, "cameras", "serve.database_away"))
    assert await apart.stop() == {"cameras": 0}
    assert "pw-of-the-database" not in apart.log("cameras")


async def test_probes_and_metrics_follow_the_services(
    own_postgres: PostgresServer, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    apart = Apart(own_postgres.create_database(), keys, tmp_path)
    port = free_port()
    apart.environment["COUNTLINE_HEALTH_ADDRESS"] = f"127.0.0.1:{port}"
    await apart.start("auth")
    async with ClientSession() as http, grpc.aio.insecure_channel(apart.addresses["auth"]) as channel:
        await asyncio.wait_for(channel.channel_ready(), 30)
        ready = f"http://127.0.0.1:{port}/readyz"
        await eventually(lambda: _answers(http, ready, 200))
        with pytest.raises(grpc.aio.AioRpcError):
            await auth_pb2_grpc.AuthServiceStub(channel).GetCurrentUser(auth_pb2.GetCurrentUserRequest(), timeout=10)
        async with http.get(f"http://127.0.0.1:{port}/metrics") as response:
            metrics = await response.text()
        path = "/countline.v1.AuthService/GetCurrentUser"
        assert f'countline_grpc_server_seconds_count{{code="UNAUTHENTICATED",method="{path}"}} 1.0' in metrics
        assert f'countline_grpc_server_refused_total{{method="{path}"}} 1.0' in metrics
        own_postgres.kill()
        await eventually(lambda: _answers(http, ready, 503))
        own_postgres.start()
        await eventually(lambda: _answers(http, ready, 200))
    assert await apart.stop() == {"auth": 0}


async def _answers(http: ClientSession, url: str, status: int) -> bool:
    try:
        async with http.get(url) as response:
            return response.status == status
    except ClientError:
        return False


async def _logged(apart: Apart, name: str, event: str) -> bool:
    return event in apart.log(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"COUNTLINE_AUTH_DSN": ""}, "COUNTLINE_AUTH_DSN is not set"),
        ({"COUNTLINE_TOKEN_PRIVATE_KEY_FILE": "/nowhere.pem"}, "the token key /nowhere.pem cannot be read"),
        ({"COUNTLINE_AUTH_ADDRESS": "nonsense"}, "'nonsense' is no address"),
        ({"COUNTLINE_LEASE_S": "never"}, "COUNTLINE_LEASE_S"),
    ],
)
async def test_settings_that_cannot_be_used_end_the_start_with_a_hint(
    control_dsn: str, keys: tuple[Path, Path], tmp_path: Path, change: dict[str, str], said: str
) -> None:
    apart = Apart(control_dsn, keys, tmp_path)
    apart.own["auth"].update(change)
    await apart.start("auth")
    assert await asyncio.wait_for(apart.processes["auth"].wait(), 30) == 1
    assert said in apart.log("auth")


async def test_a_port_that_is_taken_is_said(control_dsn: str, keys: tuple[Path, Path], tmp_path: Path) -> None:
    apart = Apart(control_dsn, keys, tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        apart.environment["COUNTLINE_AUTH_ADDRESS"] = f"127.0.0.1:{taken.getsockname()[1]}"
        await apart.start("auth")
        assert await asyncio.wait_for(apart.processes["auth"].wait(), 30) == 1
    assert "cannot listen on" in apart.log("auth")
    assert "hint: another process uses the port" in apart.log("auth")
