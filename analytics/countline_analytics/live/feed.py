"""Follows the crossings that ingest really inserted, in order and without gaps, and hands them to whoever listens.

The database tells of new ones by NOTIFY; what a lost notification would have told is found within a second. A number
without its crossing means that totals went back (an epoch was fenced): then everybody gets a new snapshot.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import psycopg
from prometheus_client import Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from countline_analytics.instants import FIRST, from_unix, to_datetime
from countline_analytics.live.totals import LiveCamera, LiveCrossing, Totals
from countline_analytics.store.sql import query
from countline_common.errors import UnavailableError
from countline_common.logs import get_logger

CHANNEL: Final = "countline_crossings"
POLL_S: Final = 1.0
RETRY_S: Final = 0.5
CONNECT_TIMEOUT_S: Final = 5
CAMERAS_EVERY_S: Final = 20.0
SINCE_MARGIN: Final = timedelta(days=1)
"""How much further back than told is looked: word of a later batch may still be on its way."""
KEPT: Final = 10_000
"""Crossings that a client can resume over; one that missed more gets a snapshot."""
AT_ONCE: Final = 5_000
"""Crossings that are told one by one; when more came at once, a snapshot is shorter."""

SEQUENCE: Final = Gauge("countline_live_sequence", "Number of the last crossing that was handed out")

_log = get_logger(__name__)


class Listener(Protocol):
    """Takes what the feed has to tell."""

    def put(self, message: str) -> None:
        """Take a message that must not be lost; does not wait."""
        ...


class CrossingFeed:
    """The feed of one process.

    Args:
        engine: of the analytics database.
        dsn: of the same, for a connection that listens.
        clock: Unix seconds.
    """

    def __init__(self, engine: AsyncEngine, dsn: str, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._dsn = dsn
        self._clock = clock
        self._totals: Totals | None = None
        self._cameras_read_at = float("-inf")
        self._kept: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._listeners: set[Listener] = set()

    def subscribe(self, listener: Listener, after: int | None = None) -> None:
        """Hand everything to a listener from now on, and first what it misses.

        Args:
            listener: gets a snapshot, or the crossings that follow `after` where they are still kept.
            after: number of the last crossing that the listener knows.
        """
        self._listeners.add(listener)
        if self._totals is None:
            return  # it gets the first snapshot with everybody else
        missed = self._after(after)
        if missed is None:
            listener.put(self._snapshot())
        else:
            for message in missed:
                listener.put(message)

    def unsubscribe(self, listener: Listener) -> None:
        """Hand nothing to a listener any more."""
        self._listeners.discard(listener)

    async def check(self) -> None:
        """Health check: raises while totals are not known."""
        if self._totals is None:
            raise UnavailableError("live totals are not read yet")

    async def run(self) -> None:
        """Follow for ever; through outages of the database."""
        while True:
            try:
                await self._follow()
            except (psycopg.Error, DBAPIError, PoolTimeoutError, OSError, TimeoutError) as error:
                _log.warning("feed.retry", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        )
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            # What was told before now was not heard: look for it wherever in time it lies.
            await self._catch_up(FIRST)
            while True:
                since = await _heard(connection)
                await self._catch_up(since if since is not None else FIRST)

    async def _catch_up(self, since: datetime) -> None:
        """Read what is new; `since` is a time before which none of it lies."""
        now = from_unix(self._clock())
        totals = self._totals
        async with self._engine.connect() as connection:
            last = int((await connection.execute(query("live", "last_sequence"))).scalar_one())
            if totals is not None and await self._cameras_changed(connection, totals):
                totals = None
            if totals is None or not totals.is_current(now) or not 0 <= last - totals.sequence <= AT_ONCE:
                await self._start_anew(connection, now)
            elif last > totals.sequence:
                await self._tell(connection, totals, last, since)

    async def _cameras_changed(self, connection: AsyncConnection, totals: Totals) -> bool:
        """Whether there are others now, or one lies in another time zone; looked up now and then."""
        if time.monotonic() - self._cameras_read_at < CAMERAS_EVERY_S:
            return False
        self._cameras_read_at = time.monotonic()
        rows = await connection.execute(query("live", "cameras"))
        return {row.camera_id: row.time_zone for row in rows} != totals.time_zones()

    async def _tell(self, connection: AsyncConnection, totals: Totals, last: int, since: datetime) -> None:
        rows = await _read_rows(connection, totals.sequence, last, since)
        if len(rows) < last - totals.sequence or not all(totals.knows(row["camera_id"]) for row in rows):
            await self._start_anew(connection, from_unix(self._clock()))
            return
        for row in rows:
            crossing = _crossing(row)
            message = json.dumps(totals.add(crossing), separators=(",", ":"))
            self._kept.append((crossing.sequence, message))
            self._hand_out(message)
        SEQUENCE.set(totals.sequence)

    async def _start_anew(self, connection: AsyncConnection, now: datetime) -> None:
        await connection.rollback()
        self._totals = await read_totals(connection, now)
        self._kept.clear()
        SEQUENCE.set(self._totals.sequence)
        self._hand_out(self._snapshot())

    def _hand_out(self, message: str) -> None:
        for listener in self._listeners:
            listener.put(message)

    def _snapshot(self) -> str:
        assert self._totals is not None
        return json.dumps(self._totals.snapshot(), separators=(",", ":"))

    def _after(self, after: int | None) -> list[str] | None:
        """The messages that follow a number; None where they are not all kept."""
        assert self._totals is not None
        if after is None or not self._kept or not self._kept[0][0] <= after <= self._totals.sequence:
            return None
        return [message for sequence, message in self._kept if sequence > after]


async def _heard(connection: psycopg.AsyncConnection[Any]) -> datetime | None:
    """Wait for word of new crossings: a time before which none of them lies; None where nothing was said."""
    earliest: int | None = None
    async for notification in connection.notifies(timeout=POLL_S, stop_after=1):
        with contextlib.suppress(ValueError, LookupError):
            since_us = int(json.loads(notification.payload)["since_us"])
            earliest = since_us if earliest is None else min(earliest, since_us)
    return to_datetime(earliest) if earliest is not None else None


async def _read_rows(connection: AsyncConnection, after: int, last: int, since: datetime) -> Sequence[Any]:
    """The rows of the numbers after one and up to another; fewer where a number has none."""
    for earliest in (max(since - SINCE_MARGIN, FIRST), FIRST):
        parameters = {"after": after, "last": last, "since": earliest, "limit": AT_ONCE}
        rows = (await connection.execute(query("live", "crossings_after"), parameters)).mappings().all()
        if len(rows) == last - after:
            break
    return rows


async def read_totals(connection: AsyncConnection, now: datetime) -> Totals:
    """Totals of the current days, with the number up to which they go, all of one moment."""
    await connection.execution_options(isolation_level="REPEATABLE READ")
    async with connection.begin():
        last = int((await connection.execute(query("live", "last_sequence"))).scalar_one())
        rows = await connection.execute(query("live", "cameras"))
        cameras = [LiveCamera.at(row.camera_id, row.time_zone, row.line_ids, now) for row in rows]
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
