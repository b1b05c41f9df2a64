"""SQL of the streams of events. Each function works inside the caller's transaction.

A stream holds the events of all cameras that ever had one id. Its writers are in a row: they hold the lock of the
camera's row, or for a creation the lock of the id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.times import to_datetime
from countline_control.cameras.events import messages
from countline_control.cameras.events.domain import BrokenStreamError, Recorded, RecordedCamera, folded
from countline_control.cameras.tables import camera_events

SNAPSHOT_EVERY: Final = 100
"""Events. A past state is then read from a snapshot and at most about so many events, however long the stream is."""
BATCH: Final = 1000
_LOCK_SPACE: Final = 0x63616D65
"""Keeps our advisory locks apart from those of others."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The last event of a stream; all zero for an empty one."""

    version: int = 0
    at: float = 0.0


async def lock_id(connection: AsyncConnection, camera_id: str) -> None:
    """Let nobody else create a camera of this id before the transaction ends."""
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK_SPACE, func.hashtext(camera_id))))


async def end_of(connection: AsyncConnection, camera_id: str) -> StreamEnd:
    """Return where a stream ends."""
    c = camera_events.c
    query = select(c.version, c.occurred_at).where(c.camera_id == camera_id).order_by(c.version.desc()).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return StreamEnd(row.version, row.occurred_at.timestamp()) if row is not None else StreamEnd()


async def append(
    connection: AsyncConnection, camera_id: str, events: Sequence[Recorded], after: RecordedCamera
) -> None:
    """Append the events of one change.

    Args:
        connection: of the caller's transaction, which holds the lock of the stream.
        camera_id: names the stream.
        events: numbered from the end of the stream on.
        after: the state after them, for a snapshot where one is due.
    """
    rows = [
        {
            "camera_id": camera_id,
            "version": each.version,
            "change": each.change,
            "revision": each.revision,
            "occurred_at": to_datetime(each.at),
            "actor": each.actor,
            "kind": messages.event_kind(each.event),
            "data": messages.event_json(each.event),
            "snapshot": None,
        }
        for each in events
    ]
    if events[-1].version // SNAPSHOT_EVERY > (events[0].version - 1) // SNAPSHOT_EVERY:
        rows[-1]["snapshot"] = messages.state_json(after)
    await connection.execute(insert(camera_events), rows)


async def read(
    connection: AsyncConnection, camera_id: str, *, after: int = 0, until: int | None = None, limit: int | None = None
) -> list[Recorded]:
    """Return events of a stream behind version `after`, up to version `until`, at most `limit`; the oldest first.

    Raises:
        BrokenStreamError: one of them is missing, or cannot be read.
    """
    c = camera_events.c
    query = select(camera_events).where(c.camera_id == camera_id, c.version > after).order_by(c.version)
    if until is not None:
        query = query.where(c.version <= until)
    found = [_recorded(dict(row)) for row in (await connection.execute(query.limit(limit))).mappings()]
    for expected, each in enumerate(found, after + 1):
        if each.version != expected:
            raise BrokenStreamError(f"event {expected} is missing")
    return found


async def state_at(connection: AsyncConnection, camera_id: str, version: int) -> RecordedCamera:
    """Return the state after an event, from the last snapshot before it.

    Raises:
        BrokenStreamError: rows of the stream were changed or deleted.
    """
    c = camera_events.c
    newest = (
        select(c.version, c.snapshot)
        .where(c.camera_id == camera_id, c.version <= version, c.snapshot.is_not(None))
        .order_by(c.version.desc())
        .limit(1)
    )
    row = (await connection.execute(newest)).one_or_none()
    start, state = (
        (row.version, messages.snapshot_of(row.snapshot, row.version)) if row is not None else (0, RecordedCamera())
    )
    events = await read(connection, camera_id, after=start, until=version)
    if (events[-1].version if events else start) != version:
        raise BrokenStreamError(f"event {version} is missing")
    return folded(events, state)


async def snapshots(connection: AsyncConnection, camera_id: str) -> dict[int, RecordedCamera]:
    """Return the snapshots of a stream, by the version of their event."""
    c = camera_events.c
    rows = await connection.execute(
        select(c.version, c.snapshot).where(c.camera_id == camera_id, c.snapshot.is_not(None))
    )
    return {row.version: messages.snapshot_of(row.snapshot, row.version) for row in rows}


def _recorded(row: Mapping[str, Any]) -> Recorded:
    return Recorded(
        row["version"],
        row["change"],
        row["revision"],
        row["occurred_at"].timestamp(),
        row["actor"],
        messages.event_of(row["kind"], row["data"]),
    )
