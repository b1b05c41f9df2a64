"""Reads the history of a camera, and its state at a past time."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.errors import NotFoundError
from countline_common.times import rfc3339, to_datetime
from countline_control.cameras.domain import Camera
from countline_control.cameras.events import store as streams
from countline_control.cameras.history.changes import PastChange, changes_of
from countline_control.cameras.tables import camera_events

_c = camera_events.c


async def first_version(connection: AsyncConnection, camera_id: str, *, everything: bool) -> int:
    """Return the version of the first event that a caller may read; 0 if there is none.

    Args:
        connection: of the caller's transaction.
        camera_id: names the stream.
        everything: whether the caller may read all cameras. Others read the events of the present camera alone: a
            deleted camera of the same id may have been at a site that they may not see.
    """
    query = select(func.min(_c.version)).where(_c.camera_id == camera_id)
    if not everything:
        created = func.max(_c.version).filter(_c.kind.in_(("CameraCreated", "CameraImported")))
        query = select(created).where(_c.camera_id == camera_id)
    return await connection.scalar(query) or 0


async def changes_before(
    connection: AsyncConnection, camera_id: str, *, first: int, before: int | None, limit: int
) -> list[PastChange]:
    """Return changes of a camera, the newest first.

    Args:
        connection: of the caller's transaction.
        camera_id: names the stream.
        first: version of the first event to return.
        before: only changes that begin before this version; None for all.
        limit: most changes.

    Raises:
        BrokenStreamError: rows of the stream were changed or deleted.
    """
    query = select(_c.change).where(_c.camera_id == camera_id, _c.version == _c.change, _c.change >= first)
    if before is not None:
        query = query.where(_c.change < before)
    found = list(await connection.scalars(query.order_by(_c.change.desc()).limit(limit)))
    if not found:
        return []
    oldest = found[-1]
    state = await streams.state_at(connection, camera_id, oldest - 1)
    until = None if before is None else before - 1
    events = await streams.read(connection, camera_id, after=oldest - 1, until=until)
    return list(changes_of(state, events))[::-1]


async def camera_at(connection: AsyncConnection, camera_id: str, at: float, *, first: int) -> Camera:
    """Return a camera as it was at a time, with a masked address.

    Args:
        connection: of the caller's transaction.
        camera_id: names the stream.
        at: Unix seconds.
        first: version of the first event that the caller may read.

    Raises:
        NotFoundError: there was no such camera then.
        BrokenStreamError: rows of the stream were changed or deleted.
    """
    moment = to_datetime(at)
    of_stream = (_c.camera_id == camera_id, _c.version >= first)
    version = await connection.scalar(select(func.max(_c.version)).where(*of_stream, _c.occurred_at <= moment))
    if version is None:
        raise _not_yet(camera_id, at, await connection.scalar(select(func.min(_c.occurred_at)).where(*of_stream)))
    state = await streams.state_at(connection, camera_id, version)
    if state.camera is None:
        raise NotFoundError(f"camera {camera_id!r} was deleted before {rfc3339(at)}", hint=_HINT.format(camera_id))
    return state.camera


_HINT = "see when it was there: countline cameras history {}"


def _not_yet(camera_id: str, at: float, begins: datetime | None) -> NotFoundError:
    known = f"its history begins at {rfc3339(begins.timestamp())}" if begins is not None else "it has no history"
    return NotFoundError(f"camera {camera_id!r} is not known at {rfc3339(at)}: {known}", hint=_HINT.format(camera_id))
