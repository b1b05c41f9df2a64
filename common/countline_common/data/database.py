"""PostgreSQL: engines, and migrations that several processes may start at once.

This module needs SQLAlchemy and Alembic, which come with the extras `control` and `analytics`.
"""

import asyncio
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Final

import psycopg.errors
from sqlalchemy import create_engine as create_sync_engine
from sqlalchemy import text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from countline_common.errors import UnavailableError

POOL_SIZE: Final = 5
POOL_OVERFLOW: Final = 10
POOL_TIMEOUT_S: Final = 10
CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_MS: Final = 30_000


def url(dsn: str) -> URL:
    """A `postgresql://` address in SQLAlchemy's form, with psycopg 3 as the driver."""
    return make_url(dsn).set(drivername="postgresql+psycopg")


def create_engine(dsn: str) -> AsyncEngine:
    """An engine with a bounded pool, checked connections and a statement timeout."""
    return create_async_engine(
        url(dsn),
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,  # errors are logged, and parameters contain hashes of passwords
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
        },
    )


def is_away(error: Exception) -> bool:
    """Whether an exception means that the database cannot be reached now, not that a statement failed."""
    if isinstance(error, PoolTimeoutError | InterfaceError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or (isinstance(error, OperationalError) and not _is_answer(error))


def _is_answer(error: DBAPIError) -> bool:
    """Whether the database answered with a refusal: a timeout, a deadlock, a full disk, or wrong values."""
    answers = (psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected, psycopg.errors.DiskFull)
    return isinstance(error.orig, answers) or refuses_values(error)


def refuses_values(error: Exception) -> bool:
    """Whether the database refuses the values of a statement, and would do so again: they are wrong or too long."""
    refusals = (psycopg.errors.DataError, psycopg.errors.ProgramLimitExceeded)
    return isinstance(error, DBAPIError) and isinstance(error.orig, refusals)


async def migrate(dsn: str, package: str, schema: str) -> None:
    """Bring a schema to the newest revision of the Alembic history in `<package>/migrations`.

    Raises:
        UnavailableError: the database does not answer.
    """
    await asyncio.to_thread(_migrate, dsn, package, schema)


@dataclass(frozen=True, slots=True)
class MigrationState:
    """Migrations of a schema."""

    applied: str
    """Revision that the database has; empty before the first migration."""
    expected: str
    """Newest revision of this release."""
    pending: tuple[str, ...] = ()
    """Revisions that are still to be applied, in their order."""
    problem: str = ""
    """Why the database does not fit this release; empty if it does, or if migrations are only pending."""


async def migration_state(engine: AsyncEngine, package: str, schema: str) -> MigrationState:
    """Compare a schema with the Alembic history in `<package>/migrations`.

    Raises:
        SQLAlchemyError: the database does not answer.
    """
    known = _revisions(package)
    async with engine.connect() as connection:
        applied = await connection.run_sync(_applied, schema)
    if applied and applied not in known:
        return MigrationState(applied, known[-1], problem="another release has migrated this database")
    return MigrationState(applied, known[-1], known[known.index(applied) + 1 :] if applied else known)


def _applied(connection: Connection, schema: str) -> str:
    """Return the revision of a schema; empty before the first migration."""
    table = f'"{schema}".alembic_version'
    if connection.execute(text("SELECT to_regclass(:name)"), {"name": table}).scalar() is None:
        return ""
    query = text(f"SELECT version_num FROM {table}")  # noqa: S608  (a name from our code)
    return str(connection.execute(query).scalar() or "")


@cache
def _revisions(package: str) -> tuple[str, ...]:
    """Return the revisions of an Alembic history, the oldest first: the numbers that the names of its files begin with.

    Alembic would import every migration to find them. Most starts have nothing to migrate and do without Alembic.
    """
    names = [entry.name for entry in (files(package) / "migrations" / "versions").iterdir()]
    return tuple(sorted(name.partition("_")[0] for name in names if name.endswith(".py") and name[0].isdigit()))


def _migrate(dsn: str, package: str, schema: str) -> None:
    engine = create_sync_engine(url(dsn), hide_parameters=True, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    try:
        with engine.connect() as connection:
            _upgrade(connection, package, schema)
    except SQLAlchemyError as error:
        raise UnavailableError(
            f"cannot migrate the database of {schema}: {error.__class__.__name__}: {error}",
            hint="check that PostgreSQL runs and that its user may create schemas",
        ) from error
    finally:
        engine.dispose()


def _upgrade(connection: Connection, package: str, schema: str) -> None:
    # One process at a time: without the lock, two that start together would both create the first table.
    key = zlib.crc32(f"countline migrate {schema}".encode())
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    try:
        if _applied(connection, schema) == _revisions(package)[-1]:
            return
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        connection.commit()
        from alembic import command
        from alembic.config import Config

        with as_file(files(package) / "migrations") as scripts:
            config = Config()
            config.set_main_option("script_location", str(scripts))
            config.attributes.update(connection=connection, schema=schema)
            command.upgrade(config, "head")
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
        connection.commit()
