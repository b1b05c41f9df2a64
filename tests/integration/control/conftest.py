"""The services of the control-plane on free ports and their own database, with clients for each role."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from tests.fixtures.control.auth import PASSWORD, Auth, Clock
from tests.fixtures.control.schemas import control_database
from tests.fixtures.nats import as_user
from tests.fixtures.postgres import PostgresServer

from countline.v1 import (
    act_pb2_grpc,
    administration_pb2_grpc,
    audit_pb2_grpc,
    auth_pb2_grpc,
    cameras_pb2,
    cameras_pb2_grpc,
    factor_pb2_grpc,
    keys_pb2_grpc,
    models_pb2_grpc,
    secrets_pb2_grpc,
    workers_pb2_grpc,
)
from countline_common.access.scopes import EVERYTHING, Held, Scope
from countline_common.data.bus_users import CONTROL
from countline_common.grpc import tokens
from countline_common.grpc.authorization import bearer_metadata
from countline_common.secrets.master_keys import new_master_key
from countline_control.auth.access.roles import BUILT_IN, MACHINE_ROLES
from countline_control.database import Database
from countline_control.serve.plane import SERVICES, ControlPlane
from countline_control.settings import ControlSettings

ADMIN_PASSWORD = "correct horse battery"
MASTER_KEY = new_master_key()
CAMERAS = {"lab-1": "lab", "lab-2": "lab", "yard-1": "yard"}
"""The cameras of `places`, with their sites."""
LEASE_S = 2.0
CALL_TIMEOUT_S = 120.0
"""Generous, since the machine may be busy."""


class Caller:
    """Stubs of the services that run, whose calls carry one token, or none."""

    def __init__(self, channels: dict[str, grpc.aio.Channel], token: str | None) -> None:
        self.metadata = bearer_metadata(token) if token else ()
        self.channels = channels
        self.administration = _Stub(administration_pb2_grpc.AdministrationServiceStub(channels["auth"]), self.metadata)
        self.acting = _Stub(act_pb2_grpc.ActingServiceStub(channels["auth"]), self.metadata)
        self.audit = _Stub(audit_pb2_grpc.AuditServiceStub(channels["auth"]), self.metadata)
        self.auth = _Stub(auth_pb2_grpc.AuthServiceStub(channels["auth"]), self.metadata)
        self.factor = _Stub(factor_pb2_grpc.FactorServiceStub(channels["auth"]), self.metadata)
        self.keys = _Stub(keys_pb2_grpc.KeyServiceStub(channels["auth"]), self.metadata)
        if "cameras" in channels:
            self.cameras = _Stub(cameras_pb2_grpc.CameraServiceStub(channels["cameras"]), self.metadata)
            self.secrets = _Stub(secrets_pb2_grpc.SecretServiceStub(channels["cameras"]), self.metadata)
        if "models" in channels:
            self.models = _Stub(models_pb2_grpc.ModelServiceStub(channels["models"]), self.metadata)
        if "workers" in channels:
            self.workers = _Stub(workers_pb2_grpc.WorkerServiceStub(channels["workers"]), self.metadata)


class _Stub:
    def __init__(self, stub: object, metadata: tuple) -> None:
        self._stub, self._metadata = stub, metadata

    def __getattr__(self, name: str):
        method = getattr(self._stub, name)
        if name in ("Connect", "DeployModel"):
            return lambda requests=None: method(requests, metadata=self._metadata)
        return lambda request, timeout=CALL_TIMEOUT_S: method(request, metadata=self._metadata, timeout=timeout)


@dataclass
class Control:
    """A running control-plane."""

    plane: ControlPlane
    signer: tokens.TokenSigner
    settings: ControlSettings
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    """By name of an address."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Of all services, where several control-planes run."""

    def token(self, *permissions: str, name: str = "somebody", subject: str = "s1") -> str:
        """A token with exactly these permissions."""
        return self.signer.sign(subject, name, roles=(), permissions=frozenset(permissions), lifetime_s=600)

    def scoped_token(self, role: str, scope: Scope) -> str:
        """A token of somebody who holds a role over a scope, and nothing elsewhere."""
        permissions = (BUILT_IN | MACHINE_ROLES)[role].permissions
        if scope == EVERYTHING:
            return self.token(*permissions, name=role)
        scoped = (Held(permissions, scope),)
        return self.signer.sign("s1", role, roles=(), permissions=frozenset(), scoped=scoped, lifetime_s=600)

    def caller(self, role: str | None = "super-admin") -> Caller:
        """A caller whose token has the permissions of a role; None for a caller without a token."""
        return Caller(self.channels, self.token(*BUILT_IN[role].permissions, name=role) if role else None)

    def caller_with(self, *permissions: str) -> Caller:
        """A caller with exactly these permissions."""
        return Caller(self.channels, self.token(*permissions))

    def worker(self, worker_id: str = "worker-1") -> Caller:
        """A caller that may report as this worker."""
        return Caller(self.channels, self.token("worker:connect", subject=worker_id))

    async def add_camera(self, camera_id: str) -> None:
        """Add one of `CAMERAS`."""
        url, site_id = f"rtsp://127.0.0.1:1/{camera_id}", CAMERAS[camera_id]
        camera = cameras_pb2.Camera(camera_id=camera_id, site_id=site_id, name="Camera", stream_url=url)
        await self.caller().cameras.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera))

    def holder(self, token: str) -> Caller:
        """A caller with a given token."""
        return Caller(self.channels, token)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Files of a private and a public key."""
    private, public = tokens.generate_key_pair()
    paths = tmp_path / "token-key.pem", tmp_path / "token-key.pub.pem"
    paths[0].write_bytes(private)
    paths[1].write_bytes(public)
    return paths


@pytest.fixture
async def control_dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """An empty database with the schemas of all services."""
    dsn = await control_database(postgres)
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def make_settings(keys: tuple[Path, Path], tmp_path: Path) -> Callable[..., ControlSettings]:
    """Settings for free ports. Callers get tokens directly: creating users would take time."""

    def make(dsn: str, **changes: object) -> ControlSettings:
        values: dict[str, object] = {
            "auth_address": "127.0.0.1:0",
            "cameras_address": "127.0.0.1:0",
            "models_address": "127.0.0.1:0",
            "workers_address": "127.0.0.1:0",
            "model_repository": tmp_path / "repository",
            "model_store": "repository",
            "model_work": tmp_path / "work",
            "auth_dsn": dsn,
            "cameras_dsn": dsn,
            "token_private_key_file": keys[0],
            "master_key": MASTER_KEY,
            "token_public_key_file": keys[1],
            "lease_s": LEASE_S,
            **changes,
        }
        if isinstance(url := changes.get("nats_url"), str):
            values["nats_url"] = as_user(url, CONTROL)
        return ControlSettings(**values)

    return make


async def _started(stack: AsyncExitStack, settings: ControlSettings, wanted: tuple[str, ...]) -> ControlPlane:
    """Start once more where PostgreSQL answered too late, as a supervisor does."""
    try:
        return await stack.enter_async_context(ControlPlane(settings, wanted))
    except OperationalError as error:
        if not isinstance(error.orig, psycopg.errors.ConnectionTimeout):
            raise
    return await stack.enter_async_context(ControlPlane(settings, wanted))


@pytest.fixture
async def start_control(make_settings) -> AsyncIterator[Callable]:
    """Starts control-planes; stops them after the test. Ask for `nats_server` first: a stop waits for a lost NATS."""
    async with AsyncExitStack() as stack:

        async def start(dsn: str, wanted: tuple[str, ...] = SERVICES, **changes: object) -> Control:
            settings = make_settings(dsn, **changes)
            plane = await _started(stack, settings, wanted)
            signer = tokens.TokenSigner.from_file(settings.token_private_key_file)
            control = Control(plane, signer, settings)
            for name, address in plane.addresses.items():
                control.channels[name] = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            return control

        yield start


@pytest.fixture
async def control(control_dsn: str, start_control) -> Control:
    """All services in this process."""
    return await start_control(control_dsn)


@pytest.fixture
async def places(control: Control) -> Control:
    """Two sites with cameras."""
    cameras = control.caller().cameras
    for site_id in sorted({*CAMERAS.values()}):
        site = cameras_pb2.Site(site_id=site_id, time_zone="UTC")
        await cameras.CreateSite(cameras_pb2.CreateSiteRequest(site=site))
    for camera_id in CAMERAS:
        await control.add_camera(camera_id)
    return control


@pytest.fixture
async def auth(control_dsn: str) -> AsyncIterator[Auth]:
    """The service of auth alone, with the user `admin`."""
    database = Database(control_dsn)
    auth = Auth(database, Clock())
    await auth.service.data_keys.open()
    await auth.service.prepare()
    await auth.service.create_first_admin(PASSWORD)
    async with auth.server, grpc.aio.insecure_channel(auth.server.address) as auth.channel:
        yield auth
    await database.close()
