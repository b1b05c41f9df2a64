"""Databases with the schema of analytics, on a plain PostgreSQL and, where there is one, on TimescaleDB."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import aiohttp
import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.stack import ADMIN_PASSWORD, Stack, ingesting
from tests.fixtures.control.schemas import control_database
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer

from countline_analytics.api import gateway
from countline_analytics.api.process import ApiParts, serving
from countline_analytics.api.time_limits import TimeLimit, time_limit
from countline_analytics.settings import ApiSettings
from countline_common.data.database import create_engine, migrate
from countline_common.grpc.tokens import TokenSigner, generate_key_pair
from countline_common.secrets.master_keys import new_master_key
from countline_control.serve.plane import SERVICES, ControlPlane
from countline_control.settings import ControlSettings

TIMESCALE_VARIABLE = "COUNTLINE_TEST_TIMESCALE_DSN"


async def build(dsn: str) -> None:
    """Bring an empty database to the newest revision of analytics."""
    await migrate(dsn, "countline_analytics.store", "analytics")


async def _plain(postgres: PostgresServer) -> AsyncIterator[str]:
    dsn = await postgres.clone("analytics", build)
    yield dsn
    postgres.drop_database(dsn)


async def _timescale(server_dsn: str) -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    dsn = f"{server_dsn.rpartition('/')[0]}/{name}"
    await build(dsn)
    yield dsn
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def plain_dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """DSN of a migrated database on a plain PostgreSQL."""
    async for dsn in _plain(postgres):
        yield dsn


@pytest.fixture(params=["postgresql", pytest.param("timescaledb", marks=pytest.mark.timescale)])
async def analytics_dsn(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """DSN of a database for this test, migrated; tests that use it run on both kinds of server."""
    if request.param == "timescaledb":
        server_dsn = os.environ.get(TIMESCALE_VARIABLE)
        if not server_dsn:
            pytest.skip(f"{TIMESCALE_VARIABLE} is not set")
        databases = _timescale(server_dsn)
    else:
        databases = _plain(request.getfixturevalue("postgres"))
    async for dsn in databases:
        yield dsn


@pytest.fixture
async def engine(analytics_dsn: str) -> AsyncIterator[AsyncEngine]:
    """An engine of that database."""
    engine = create_engine(analytics_dsn)
    yield engine
    await engine.dispose()


@pytest.fixture
def scalar(analytics_dsn: str) -> Callable[..., object]:
    """Runs a statement and gives its one value."""

    def run(statement: str, *parameters: object) -> object:
        with psycopg.connect(analytics_dsn, autocommit=True) as connection:
            row = connection.execute(statement, parameters).fetchone()
            return None if row is None else row[0]

    return run


@pytest.fixture
def execute(analytics_dsn: str) -> Callable[..., None]:
    """Runs a statement that gives nothing back."""

    def run(statement: str, *parameters: object) -> None:
        with psycopg.connect(analytics_dsn, autocommit=True) as connection:
            connection.execute(statement, parameters or None)

    return run


@pytest.fixture
def api_settings() -> dict[str, object]:
    """Settings of the API beside the usual ones; a module can have its own."""
    return {}


NO_RATE_LIMITS = {f"gateway_rate_limit_{kind}": 0 for kind in ("address", "login", "user", "key")}


@pytest.fixture
def control_settings() -> dict[str, object]:
    """Settings of the control-plane beside the usual ones; a module can have its own."""
    return {}


@pytest.fixture
def patient_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its limits are what people wait. A loaded machine that runs every service in one process takes longer."""

    def patient(path: str, method: str) -> TimeLimit:
        limit = time_limit(path, method)
        return replace(limit, seconds=10 * limit.seconds)

    monkeypatch.setattr(gateway, "time_limit", patient)


@pytest.fixture
async def stack(
    patient_gateway: None,
    analytics_dsn: str,
    engine: AsyncEngine,
    nats_server: NatsServer,
    postgres: PostgresServer,
    tmp_path: Path,
    api_settings: dict[str, object],
    control_settings: dict[str, object],
) -> AsyncIterator[Stack]:
    """Everything between the stream and the browser."""
    private, public = generate_key_pair()
    (tmp_path / "key").write_bytes(private)
    (tmp_path / "key.pub").write_bytes(public)
    (tmp_path / "password").write_text(f"{ADMIN_PASSWORD}\n")
    control_dsn = await control_database(postgres)
    free = {f"{name}_address": "127.0.0.1:0" for name in ("auth", "cameras", "workers", "models")}
    control = ControlSettings(
        **free,
        auth_dsn=control_dsn,
        cameras_dsn=control_dsn,
        token_private_key_file=tmp_path / "key",
        token_public_key_file=tmp_path / "key.pub",
        admin_password_file=tmp_path / "password",
        **control_settings,
        master_key=new_master_key(),
    )
    async with AsyncExitStack() as cleanup:
        plane = await cleanup.enter_async_context(ControlPlane(control, SERVICES))
        settings = ApiSettings(
            nats_url=nats_server.url_of("api"),
            analytics_dsn=analytics_dsn,
            token_public_key_file=tmp_path / "key.pub",
            gateway_trusted_proxies="127.0.0.1/32",
            **{**NO_RATE_LIMITS, **api_settings},
            **{f"{name}_address": address for name, address in plane.addresses.items()},
            **{f"{name}_address": "127.0.0.1:0" for name in ("gateway", "analytics", "websocket")},
        )
        parts = await cleanup.enter_async_context(ApiParts.of(settings))
        addresses = await cleanup.enter_async_context(serving(settings, parts, asyncio.Event()))
        await cleanup.enter_async_context(ingesting(nats_server.url, engine))
        session = await cleanup.enter_async_context(aiohttp.ClientSession())
        yield Stack(nats_server.url, {**plane.addresses, **addresses}, TokenSigner(private), session, parts.bus)
    assert "Violation" not in nats_server.log, "each part uses its own subjects only"
    postgres.drop_database(control_dsn)
