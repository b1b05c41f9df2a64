"""Databases with the schema of analytics, on a plain PostgreSQL and, where there is one, on TimescaleDB."""

import os
import uuid
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.postgres import PostgresServer

from countline_common.database import create_engine, migrate

TIMESCALE_VARIABLE = "COUNTLINE_TEST_TIMESCALE_DSN"


async def build(dsn: str) -> None:
    """Bring an empty database to the newest revision of analytics."""
    await migrate(dsn, "countline_analytics", "analytics")


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
