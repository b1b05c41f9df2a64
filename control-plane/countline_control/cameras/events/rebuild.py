"""Makes the tables of cameras anew from their events, and compares them with those that are there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_control.cameras import store
from countline_control.cameras.domain import Camera
from countline_control.cameras.events import messages, projection
from countline_control.cameras.events import store as streams
from countline_control.cameras.events.domain import BrokenStreamError, RecordedCamera, applied
from countline_control.cameras.tables import camera_events, cameras, geometry_versions

STREAM: Final = "camera_events"
"""The path of a difference that is in the events themselves."""


@dataclass(frozen=True, slots=True)
class StateDifference:
    """What the tables hold, and what follows from the events."""

    path: str
    """Such as `camera.name`; `camera_events` where no state follows from the events."""
    stored: str
    rebuilt: str
    in_tables: bool = False
    """It is in the tables that follow from the events, not in the stream itself."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What `rebuild` found of one camera."""

    camera_id: str
    events: int
    differences: Sequence[StateDifference]
    written: bool = False
    """The tables hold now what follows from the events."""


async def ids_after(connection: AsyncConnection, after: str, limit: int) -> list[str]:
    """Return ids of cameras, deleted ones included, that come after one: sorted by code points."""
    tables = (cameras, geometry_versions, camera_events)
    known = union(*(select(table.c.camera_id) for table in tables)).subquery()
    camera_id = known.c.camera_id.collate("C")
    return list(await connection.scalars(select(camera_id).where(camera_id > after).order_by(camera_id).limit(limit)))


async def rebuild(connection: AsyncConnection, camera_id: str, *, write: bool) -> Rebuilt:
    """Make the state of a camera anew from all its events, and compare it with tables and snapshots.

    Args:
        connection: of the caller's transaction. Nobody else changes the camera before it ends.
        camera_id: of a camera, or of a deleted one.
        write: replace what the tables hold where it differs. Broken streams and snapshots are left as they are, and so
            are tables that are ahead of the events: to write them would delete a camera, or give a version twice.
    """
    await streams.lock_id(connection, camera_id)
    await store.lock_cameras(connection, [camera_id])
    stored = await projection.read(connection, camera_id)
    try:
        state, events, found = await _made_anew(connection, camera_id)
    except BrokenStreamError as error:
        return Rebuilt(camera_id, 0, [StateDifference(STREAM, "", str(error))])
    if problem := _lost_end(stored.camera, state.camera):
        return Rebuilt(camera_id, events, [StateDifference(STREAM, "", problem), *differences(stored, state), *found])
    wrong = [replace(each, in_tables=True) for each in differences(stored, state)]
    if write and wrong:
        await projection.replace_all(connection, camera_id, state)
    return Rebuilt(camera_id, events, [*wrong, *found], written=write and bool(wrong))


def _lost_end(stored: Camera | None, rebuilt: Camera | None) -> str:
    """Say which events are missing at the end of a stream; empty if the tables are not ahead of it."""
    if stored is None:
        return ""
    if rebuilt is None:
        return "the events of its creation are missing: restore their rows from a backup of the database"
    if (stored.created_at, stored.revision) <= (rebuilt.created_at, rebuilt.revision):
        return ""
    return (
        f"events after revision {rebuilt.revision} are missing: the tables are at revision {stored.revision}. "
        "Restore their rows from a backup of the database"
    )


async def _made_anew(connection: AsyncConnection, camera_id: str) -> tuple[RecordedCamera, int, list[StateDifference]]:
    """Return the state after all events, their number, and what is wrong with snapshots on the way."""
    snapshots = await streams.snapshots(connection, camera_id)
    state, last, wrong = RecordedCamera(), 0, list[StateDifference]()
    while events := await streams.read(connection, camera_id, after=last, limit=streams.BATCH):
        for each in events:
            state, last = applied(state, each), each.version
            if last in snapshots:
                found = differences(snapshots[last], state)
                wrong += [StateDifference(f"snapshot {last}: {one.path}", one.stored, one.rebuilt) for one in found]
    return state, last, wrong


def differences(stored: RecordedCamera, rebuilt: RecordedCamera) -> Iterator[StateDifference]:
    """Yield what differs between two states, by path."""
    old, new = (dict(_flat(_shown(state), "")) for state in (stored, rebuilt))
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            yield StateDifference(path, old.get(path, ""), new.get(path, ""))


def _shown(state: RecordedCamera) -> dict[str, Any]:
    values = messages.state_json(state)
    return values | {"versions": {f"{each['kind']} {each['id']}": each for each in values["versions"]}}


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from _flat(each, f"{path}[{i}]")
    elif value is not None:
        yield path, str(value)
