"""SQL of the scheduling lease: one row. Each function works inside the caller's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_control.workers.tables import lease


@dataclass(frozen=True, slots=True)
class StoredLease:
    """The lease as the database keeps it."""

    number: int
    """Grows each time a copy takes the lease; 0 before the first one."""
    beats: int
    """Grows while the holder works."""
    address: str
    """Where other copies reach the holder."""
    taken_at: float
    """Unix seconds."""
    is_released: bool
    """The holder has stopped."""


def _lease(row: Mapping[str, Any]) -> StoredLease:
    return StoredLease(row["number"], row["beats"], row["address"], row["taken_at"].timestamp(), row["is_released"])


async def read(connection: AsyncConnection) -> StoredLease:
    """Return the lease."""
    return _lease(dict((await connection.execute(select(lease))).mappings().one()))


async def take(connection: AsyncConnection, seen: StoredLease, address: str) -> StoredLease | None:
    """Take the lease under the next number; return None if it has changed since it was seen.

    A transaction of the holder that is not committed yet holds up this one: so its writes are complete, or refused.
    """
    changes = {
        "number": lease.c.number + 1,
        "beats": 0,
        "address": address,
        "taken_at": func.now(),
        "is_released": False,
    }
    unchanged = (lease.c.number == seen.number) & (lease.c.beats == seen.beats)
    found = await connection.execute(update(lease).where(unchanged).values(changes).returning(lease))
    row = found.mappings().one_or_none()
    return _lease(dict(row)) if row is not None else None


async def beat(connection: AsyncConnection, number: int) -> bool:
    """Renew the lease under a number; return False if a copy has taken it under another one.

    The row stays locked until the transaction ends: no copy takes the lease between this and the commit. PostgreSQL
    ends the transaction of a process that is paused in it.
    """
    await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '2s'"))
    statement = update(lease).where(lease.c.number == number).values(beats=lease.c.beats + 1)
    return await connection.scalar(statement.returning(lease.c.number)) is not None


async def release(connection: AsyncConnection, number: int) -> None:
    """Let another copy take the lease at once."""
    await connection.execute(update(lease).where(lease.c.number == number).values(is_released=True))
