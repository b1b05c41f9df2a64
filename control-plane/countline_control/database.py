"""The database as services use it: transactions, reads that are tried again, and errors in our own words.

PostgreSQL may be away for some seconds at any time. A read is then tried again within the patience of a caller; a write
is not, since nobody knows whether it was committed: the caller gets UNAVAILABLE and decides.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import psycopg.errors
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.data.database import create_engine
from countline_common.errors import CountlineError, DeadlineExceededError, UnavailableError
from countline_common.resilience.retry import retrying

READ_PATIENCE_S: Final = 5.0
"""Longer than PostgreSQL takes to recover from a crash, shorter than callers wait."""

_Result = TypeVar("_Result")


def is_away(error: Exception) -> bool:
    """Whether an exception means that the database cannot be reached now, not that a statement was wrong."""
    if isinstance(error, PoolTimeoutError | InterfaceError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or (isinstance(error, OperationalError) and not _is_answer(error))


def _is_answer(error: DBAPIError) -> bool:
    """Whether the database is there and says no: it took too long, met a deadlock, or has no room."""
    answers = (psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected, psycopg.errors.DiskFull)
    return isinstance(error.orig, answers)


def _was_cancelled(error: DBAPIError) -> bool:
    return isinstance(error.orig, psycopg.errors.QueryCanceled)


def translate(error: Exception) -> CountlineError | None:
    """What an exception of the database stands for; None where it is a fault of ours."""
    if is_away(error):
        return UnavailableError("the database does not answer", hint="try again in some seconds")
    if isinstance(error, DBAPIError) and _was_cancelled(error):
        return DeadlineExceededError("the database took too long", hint="try again later")
    return None


class Database:
    """One service's database.

    Args:
        dsn: `postgresql://user:password@host:port/database`.
    """

    def __init__(self, dsn: str) -> None:
        self._engine = create_engine(dsn)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end, rolled back when something is raised."""
        async with self._engine.begin() as connection:
            yield connection

    async def read(self, query: Callable[[AsyncConnection], Awaitable[_Result]]) -> _Result:
        """The result of a query that changes nothing, tried again while the database is away, for five seconds."""
        async for attempt in retrying(is_away, timeout_s=READ_PATIENCE_S, longest_s=0.5):
            with attempt:
                async with self._engine.connect() as connection:
                    return await query(connection)
        raise AssertionError("retrying ends with a result or an exception")

    async def check(self) -> None:
        """Raise where the database does not answer."""
        async with self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
