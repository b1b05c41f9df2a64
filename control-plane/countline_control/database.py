"""The database of a service: transactions, reads with retries, and errors in the product's terms.

PostgreSQL may be away for some seconds at any time. A read is then retried for as long as callers wait. A write is not
retried, because it may have been committed: the caller gets UNAVAILABLE and decides.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import psycopg.errors
from sqlalchemy import Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.data.database import create_engine, is_away
from countline_common.data.migration_reports import reader
from countline_common.data.part_feeds import ReadMigrations, RunningPart
from countline_common.errors import CountlineError, DeadlineExceededError, ResourceExhaustedError, UnavailableError
from countline_common.resilience.retry import retrying

READ_PATIENCE_S: Final = 5.0
"""Longer than PostgreSQL takes to recover from a crash, shorter than callers wait."""

_Result = TypeVar("_Result")


def _was_cancelled(error: DBAPIError) -> bool:
    return isinstance(error.orig, psycopg.errors.QueryCanceled)


def translate(error: Exception) -> CountlineError | None:
    """Translate an exception of the database; None if it is a fault of ours."""
    if is_away(error):
        return UnavailableError("the database does not answer", hint="try again in some seconds")
    if isinstance(error, DBAPIError) and isinstance(error.orig, psycopg.errors.DiskFull):
        return ResourceExhaustedError("the disk of the database is full", hint="free some disk space, then try again")
    if isinstance(error, DBAPIError) and _was_cancelled(error):
        return DeadlineExceededError("the database took too long", hint="try again later")
    return None


class Database:
    """The database of one service.

    Args:
        dsn: `postgresql://user:password@host:port/database`.
    """

    def __init__(self, dsn: str) -> None:
        self._engine = create_engine(dsn)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction: committed at the end of the block, rolled back after an exception."""
        async with self._engine.begin() as connection:
            yield connection

    async def read(self, query: Callable[[AsyncConnection], Awaitable[_Result]]) -> _Result:
        """Run a query that changes nothing; retry it for five seconds while the database is away."""
        async for attempt in retrying(is_away, timeout_s=READ_PATIENCE_S, longest_s=0.5):
            with attempt:
                async with self._engine.connect() as connection:
                    return await query(connection)
        raise AssertionError("retrying ends with a result or an exception")

    async def rewrite(self, table: Table) -> None:
        """Write the file of a table anew, without what its rows held before."""
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text(f"VACUUM (FULL) {table.fullname}"))

    def migrations(self, part: RunningPart, package: str, schema: str) -> ReadMigrations:
        """Return a function that reads the state of the migrations in `package` for the reports of `part`."""
        return reader(part, self._engine, package, schema)

    async def check(self) -> None:
        """Raise if the database does not answer."""
        async with self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
