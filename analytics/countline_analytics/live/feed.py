"""Publishes the crossings that ingest inserted, in order and without gaps.

The database announces new crossings by NOTIFY. If a notification is lost, the feed finds the crossings within a second.
A sequence number without a crossing means that ingest fenced an epoch and totals decreased: then every listener gets a
new snapshot.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import psycopg
from prometheus_client import Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from countline_analytics.directory import stored_zones
from countline_analytics.instants import FIRST, to_datetime, utc_now
from countline_analytics.live.totals import LiveCamera, LiveCrossing, Totals
from countline_analytics.store.sql import query
from countline_common.errors import UnavailableError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff

CHANNEL: Final = "countline_crossings"
POLL_PERIOD_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 5
CAMERAS_EVERY_S: Final = 20.0
SINCE_MARGIN: Final = timedelta(days=1)
"""The feed looks this much further back than announced: the notification of a later batch may still be on its way."""
KEPT: Final = 10_000
"""Crossings that are kept for clients that resume; a client that missed more gets a snapshot."""
AT_ONCE: Final = 5_000
"""Most crossings that are published one by one; for more at once, a snapshot is shorter."""

SEQUENCE: Final = Gauge("countline_live_sequence", "Sequence number of the last published crossing")

_log = get_logger(__name__)


class FeedListener(Protocol):
    """Receives the messages of the feed."""

    def put(self, message: str) -> None:
        """Take a reliable message. Must not block."""
        ...


class CrossingFeed:
    """The feed of one process.

    Args:
        engine: connects to the analytics database.
        dsn: of the same database, for the connection that listens.
    """

    def __init__(self, engine: AsyncEngine, dsn: str) -> None:
        self._engine = engine
        self._dsn = dsn
        self._backoff = Backoff()
        self._totals: Totals | None = None
        self._cameras_read_at = float("-inf")
        self._kept: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._listeners: set[FeedListener] = set()

    def subscribe(self, listener: FeedListener, after: int | None = None) -> None:
        """Add a listener.

        Args:
            listener: gets the crossings that follow `after` if they are still kept, otherwise a snapshot.
            after: sequence number of the last crossing that the listener has.
        """
        self._listeners.add(listener)
        if self._totals is None:
            return  # the first snapshot goes to every listener
        missed = self._after(after)
        if missed is None:
            listener.put(self._snapshot())
        else:
            for message in missed:
                listener.put(message)

    def unsubscribe(self, listener: FeedListener) -> None:
        """Remove a listener."""
        self._listeners.discard(listener)

    async def check(self) -> None:
        """Health check: raise until totals are read."""
        if self._totals is None:
            raise UnavailableError("live totals are not read yet")

    async def run(self) -> None:
        """Follow crossings for ever, through outages of the database."""
        while True:
            try:
                await self._follow()
            except (psycopg.Error, DBAPIError, PoolTimeoutError, OSError, TimeoutError) as error:
                _log.warning("feed.retry", error=str(error))
                await asyncio.sleep(self._backoff.next_s())

    async def _follow(self) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        )
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            # Crossings announced before LISTEN may lie at any time.
            await self._catch_up(FIRST)
            self._backoff.reset()
            while True:
                since = await _next_notification(connection)
                await self._catch_up(since if since is not None else FIRST)

    async def _catch_up(self, since: datetime) -> None:
        """Read new crossings, none of which lies before `since`."""
        now = utc_now()
        totals = self._totals
        async with self._engine.connect() as connection:
            last = int((await connection.execute(query("live", "last_sequence"))).scalar_one())
            if totals is not None and await self._cameras_changed(connection, totals):
                totals = None
            if totals is None or not totals.is_current(now) or not 0 <= last - totals.sequence <= AT_ONCE:
                await self._start_anew(connection, now)
            elif last > totals.sequence:
                await self._publish(connection, totals, last, since)

    async def _cameras_changed(self, connection: AsyncConnection, totals: Totals) -> bool:
        """Whether the set of cameras or a time zone changed; read every `CAMERAS_EVERY_S`."""
        if time.monotonic() - self._cameras_read_at < CAMERAS_EVERY_S:
            return False
        self._cameras_read_at = time.monotonic()
        rows = await connection.execute(query("live", "cameras"))
        return {row.camera_id: stored_zones(row) for row in rows} != totals.time_zones()

    async def _publish(self, connection: AsyncConnection, totals: Totals, last: int, since: datetime) -> None:
        rows = await _read_rows(connection, totals.sequence, last, since)
        if len(rows) < last - totals.sequence or not all(totals.knows(row["camera_id"]) for row in rows):
            await self._start_anew(connection, utc_now())
            return
        for row in rows:
            crossing = _crossing(row)
            message = json.dumps(totals.add(crossing), separators=(",", ":"))
            self._kept.append((crossing.sequence, message))
            self._send(message)
        SEQUENCE.set(totals.sequence)

    async def _start_anew(self, connection: AsyncConnection, now: datetime) -> None:
        await connection.rollback()
        self._totals = await read_totals(connection, now)
        self._kept.clear()
        SEQUENCE.set(self._totals.sequence)
        self._send(self._snapshot())

    def _send(self, message: str) -> None:
        for listener in self._listeners:
            listener.put(message)

    def _snapshot(self) -> str:
        assert self._totals is not None
        return json.dumps(self._totals.snapshot(), separators=(",", ":"))

    def _after(self, after: int | None) -> list[str] | None:
        """Return the messages after a sequence number; None if not all of them are kept."""
        assert self._totals is not None
        if after is None or not self._kept or not self._kept[0][0] <= after <= self._totals.sequence:
            return None
        return [message for sequence, message in self._kept if sequence > after]


async def _next_notification(connection: psycopg.AsyncConnection[Any]) -> datetime | None:
    """Wait for an announcement; return a time before which no new crossing lies, or None without announcement."""
    earliest: int | None = None
    async for notification in connection.notifies(timeout=POLL_PERIOD_S, stop_after=1):
        with contextlib.suppress(ValueError, LookupError):
            since_us = int(json.loads(notification.payload)["since_us"])
            earliest = since_us if earliest is None else min(earliest, since_us)
    return to_datetime(earliest) if earliest is not None else None


async def _read_rows(connection: AsyncConnection, after: int, last: int, since: datetime) -> Sequence[Any]:
    """Read the rows with sequence numbers in (after, last]; fewer if a number has no row."""
    for earliest in (max(since - SINCE_MARGIN, FIRST), FIRST):
        parameters = {"after": after, "last": last, "since": earliest, "limit": AT_ONCE}
        rows = (await connection.execute(query("live", "crossings_after"), parameters)).mappings().all()
        if len(rows) == last - after:
            break
    return rows


async def read_totals(connection: AsyncConnection, now: datetime) -> Totals:
    """Read the totals of the current days and their sequence number, in one database snapshot."""
    await connection.execution_options(isolation_level="REPEATABLE READ")
    async with connection.begin():
        last = int((await connection.execute(query("live", "last_sequence"))).scalar_one())
        rows = await connection.execute(query("live", "cameras"))
        cameras = [LiveCamera.at(row.camera_id, stored_zones(row), row.line_ids, now) for row in rows]
        parameters = {
            "camera_ids": [camera.camera_id for camera in cameras],
            "starts": [camera.start for camera in cameras],
            "ends": [camera.end for camera in cameras],
        }
        counted = await connection.execute(query("live", "totals"), parameters)
        return Totals(last, cameras, [(row[0], row[1], row[2], row[3]) for row in counted])


def _crossing(row: Any) -> LiveCrossing:
    return LiveCrossing(
        sequence=row["ingest_sequence"],
        crossing_id=row["event_id"].hex,
        camera_id=row["camera_id"],
        line_id=row["line_id"],
        direction=row["direction"],
        class_name=row["class_name"],
        t=row["t"].astimezone(UTC),
        decided_at=row["decided_at"].astimezone(UTC),
    )
