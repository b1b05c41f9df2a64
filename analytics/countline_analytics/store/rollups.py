"""Refreshes the rollups of counts from the list of changed minutes, and deletes rows past their retention.

Readers never wait for a refresh: the views count changed minutes from the crossings themselves. The two kinds of
rollup, tables and TimescaleDB's continuous aggregates, differ only in this module.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from countline_analytics.instants import to_datetime
from countline_analytics.store.sql import query

AT_ONCE: Final = 2000
"""Most changed minutes in one transaction."""
QUARTER: Final = timedelta(minutes=15)
SETTLED_AFTER_S: Final = 65.0
"""A minute is rolled up after it has ended; earlier, every batch would repeat the work."""
RETENTION_MARGIN: Final = timedelta(days=2)
"""Time between the newest deleted crossing and the oldest that ingest accepts, so that none arrives too late."""


class Rollups(Protocol):
    """A kind of rollup."""

    async def refresh(self) -> int:
        """Refresh changed buckets; return how many changes were taken off the list."""
        ...

    async def forget(self, table: str, before: datetime) -> None:
        """Delete rows of `crossings`, `visits`, `occupancy` or `trajectories` older than `before`."""
        ...


async def find_rollups(engine: AsyncEngine) -> Rollups:
    """Return the kind that the migrations of this database chose."""
    async with engine.connect() as connection:
        kind = (await connection.execute(query("rollups", "kind_of_rollup"))).scalar_one()
    return TableRollups(engine) if kind == "r" else ContinuousAggregates(engine)


KINDS: Final = {"crossings": ["c"], "visits": ["v"], "trajectories": ["t"]}
"""Kinds of the ids in `event_ids`, by table."""


async def forget_ids(engine: AsyncEngine, table: str, before: datetime) -> None:
    """Delete the ids of the events of a table that are older than `before`; ingest refuses such events by their age."""
    if table in KINDS:
        async with engine.begin() as connection:
            await connection.execute(query("rollups", "forget_ids"), {"kinds": KINDS[table], "before": before})


class TableRollups:
    """Rollups as tables, on a plain PostgreSQL."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def refresh(self) -> int:
        done = 0
        while taken := await self._refresh_some():
            done += taken
        return done

    async def _refresh_some(self) -> int:
        async with self._engine.begin() as connection:
            if not (await connection.execute(query("rollups", "lock_refresh"))).scalar_one():
                return 0
            taken = await connection.execute(query("rollups", "take_changed"), {"before": _settled(), "limit": AT_ONCE})
            changed = [(row.camera_id, row.bucket) for row in taken]
            if changed:
                camera_ids, buckets = (list(column) for column in zip(*changed, strict=True))
                for name in ("roll_up_minutes", "roll_up_quarters"):
                    await connection.execute(query("rollups", name), {"camera_ids": camera_ids, "buckets": buckets})
            return len(changed)

    async def forget(self, table: str, before: datetime) -> None:
        async with self._engine.connect() as connection:
            cameras = (await connection.execute(query("rollups", "list_cameras"))).scalars().all()
        for camera_id in cameras:  # one at a time keeps each transaction short
            async with self._engine.begin() as connection:
                await connection.execute(
                    query("rollups", f"forget_{table}"), {"camera_id": camera_id, "before": before}
                )
        await forget_ids(self._engine, table, before)


class ContinuousAggregates:
    """Rollups as continuous aggregates of TimescaleDB."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")  # a refresh makes its own transactions

    async def refresh(self) -> int:
        done = 0
        while taken := await self._refresh_some():
            done += taken
        return done

    async def _refresh_some(self) -> int:
        async with self._engine.connect() as connection:
            listed = await connection.execute(
                query("rollups", "list_changed"), {"before": _settled(), "limit": AT_ONCE}
            )
            changes = [(row.change_id, row.bucket) for row in listed]
            for start, end in windows(bucket for _, bucket in changes):
                for name in ("refresh_minutes", "refresh_quarters"):
                    await connection.execute(query("rollups", name), {"start": start, "end": end})
            if changes:
                ids = [change_id for change_id, _ in changes]
                await connection.execute(query("rollups", "drop_changed"), {"change_ids": ids})
            return len(changes)

    async def forget(self, table: str, before: datetime) -> None:
        """Drop chunks older than `before`. TimescaleDB drops whole chunks, so rows may stay up to a week longer."""
        async with self._engine.connect() as connection:
            await connection.execute(query("rollups", f"forget_chunks_of_{table}"), {"before": before})
        await forget_ids(self._engine, table, before)


def windows(buckets: Iterable[datetime]) -> Sequence[tuple[datetime, datetime]]:
    """Return the quarters of an hour that hold the minutes as (start, end), adjoining quarters joined."""
    found: list[tuple[datetime, datetime]] = []
    for start in sorted({quarter(bucket) for bucket in buckets}):
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], start + QUARTER)
        else:
            found.append((start, start + QUARTER))
    return found


def quarter(moment: datetime) -> datetime:
    """Return the start of the quarter of an hour that holds a moment in UTC."""
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def _settled() -> datetime:
    return to_datetime(round((time.time() - SETTLED_AFTER_S) * 1e6))
