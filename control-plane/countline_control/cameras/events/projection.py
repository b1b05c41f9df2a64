"""The tables that show the state of cameras: written with each change from what its events say.

`cameras` and `geometry_versions` hold nothing that does not follow from `camera_events`.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.errors import AlreadyExistsError
from countline_common.times import to_datetime
from countline_control.cameras import messages, store
from countline_control.cameras.domain import Camera, Versions, for_readers
from countline_control.cameras.events.domain import RecordedCamera
from countline_control.cameras.tables import cameras, geometry_versions


async def write(connection: AsyncConnection, camera_id: str, before: RecordedCamera, after: RecordedCamera) -> None:
    """Write the difference between two states of a camera.

    Raises:
        AlreadyExistsError: the camera is new, and another one has its id.
    """
    if after.camera is None:
        await connection.execute(delete(cameras).where(cameras.c.camera_id == camera_id))
    elif before.camera is None:
        await _insert(connection, after, after.camera)
    else:
        changes = _columns(after, after.camera)
        await connection.execute(update(cameras).where(cameras.c.camera_id == camera_id).values(changes))
    new = {key: last for key, last in after.versions.items() if before.versions.get(key) != last}
    await _save_versions(connection, camera_id, new)


async def replace_all(connection: AsyncConnection, camera_id: str, state: RecordedCamera) -> None:
    """Write a state anew, whatever the tables hold."""
    await connection.execute(delete(geometry_versions).where(geometry_versions.c.camera_id == camera_id))
    await _save_versions(connection, camera_id, state.versions)
    if state.camera is None:
        await connection.execute(delete(cameras).where(cameras.c.camera_id == camera_id))
        return
    values = {"camera_id": camera_id, **_columns(state, state.camera)}
    statement = upsert(cameras).values(values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["camera_id"], set_=values))


async def read(connection: AsyncConnection, camera_id: str) -> RecordedCamera:
    """Return the state that the tables hold; one without a camera if there is none."""
    found = (await connection.execute(select(cameras).where(cameras.c.camera_id == camera_id))).mappings().one_or_none()
    versions = await store.geometry_versions_of(connection, camera_id)
    return RecordedCamera(versions=versions) if found is None else state_of_row(dict(found), versions)


def state_of_row(row: Mapping[str, Any], versions: Versions) -> RecordedCamera:
    """Return the state that a row of `cameras` holds."""
    camera = for_readers(store.camera_with(row, row["stream_url"]))
    stopped_at = None if row["stopped_at"] is None else row["stopped_at"].timestamp()
    return RecordedCamera(camera, row["secret_id"], versions, stopped_at)


async def _insert(connection: AsyncConnection, state: RecordedCamera, camera: Camera) -> None:
    values = {"camera_id": camera.camera_id, **_columns(state, camera)}
    statement = upsert(cameras).values(values).on_conflict_do_nothing(index_elements=["camera_id"])
    if await connection.scalar(statement.returning(cameras.c.camera_id)) is None:
        raise AlreadyExistsError(
            f"camera {camera.camera_id!r} already exists", hint="choose another id, or change the existing camera"
        )


def _columns(state: RecordedCamera, camera: Camera) -> dict[str, Any]:
    return {
        "site_id": camera.site_id,
        "name": camera.name,
        "location": camera.location,
        "latitude": camera.position.latitude if camera.position else None,
        "longitude": camera.position.longitude if camera.position else None,
        "floor": camera.floor,
        "status": camera.status.value,
        "stopped_at": None if state.stopped_at is None else to_datetime(state.stopped_at),
        "tags": list(camera.tags),
        "spec": messages.spec_json(camera.spec),
        "stream_url": camera.stream_url,
        "secret_id": state.secret_id,
        "revision": camera.revision,
        "created_at": to_datetime(camera.created_at),
        "updated_at": to_datetime(camera.updated_at),
        "picture": messages.picture_json(camera.picture),
        "drawn_on": messages.picture_json(camera.drawn_on),
    }


async def _save_versions(connection: AsyncConnection, camera_id: str, versions: Versions) -> None:
    rows = [
        {
            "camera_id": camera_id,
            "kind": kind,
            "geometry_id": geometry_id,
            "version": last.version,
            "fingerprint": last.fingerprint,
            "picture": messages.picture_json(last.picture),
        }
        for (kind, geometry_id), last in versions.items()
    ]
    if not rows:
        return
    statement = upsert(geometry_versions).values(rows)
    changed = {name: statement.excluded[name] for name in ("version", "fingerprint", "picture")}
    keys = ["camera_id", "kind", "geometry_id"]
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
