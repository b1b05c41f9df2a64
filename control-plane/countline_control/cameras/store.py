"""SQL of sites and cameras. Each function works inside the caller's transaction.

The address of a camera is sealed if it holds a secret. A camera whose address cannot be opened keeps its sealed value
and shows `***` in place of the secret; see `sources.has_mask`.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.access.scopes import Reach
from countline_common.display import PictureShape
from countline_common.errors import AlreadyExistsError
from countline_common.secrets.sealing import UnreadableSecretError
from countline_common.times import to_datetime
from countline_control.cameras import messages, sources
from countline_control.cameras.domain import Camera, GeometryVersion, GeoPosition, Site, Versions
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.cameras.tables import cameras, geometry_versions, sites
from countline_control.data_keys import DataKeys, Sealed

RESEAL_BATCH: Final = 200

EVERYWHERE: Final = Reach(everything=True)


def _site(row: Mapping[str, Any]) -> Site:
    return Site(
        row["site_id"],
        row["title"],
        row["time_zone"],
        row["created_at"].timestamp(),
        messages.earlier_time_zones_from_json(row["earlier_time_zones"]),
        row["revision"],
    )


async def camera_of_row(connection: AsyncConnection, row: Mapping[str, Any], keys: DataKeys) -> Camera:
    """Return the camera of a whole row, credentials included."""
    stream_url = row["stream_url"]
    if row["sealed_stream_url"] is not None:
        sealed = Sealed(row["source_key_id"], row["sealed_stream_url"])
        with contextlib.suppress(UnreadableSecretError):  # the masked address stays
            stream_url = await keys.unseal(connection, sealed, _place(row["camera_id"]))
    has_position = row["latitude"] is not None
    return Camera(
        camera_id=row["camera_id"],
        site_id=row["site_id"],
        name=row["name"],
        stream_url=stream_url,
        location=row["location"],
        position=GeoPosition(row["latitude"], row["longitude"]) if has_position else None,
        floor=row["floor"],
        status=WantedStatus(row["status"]),
        tags=tuple(row["tags"]),
        spec=messages.spec_from_json(row["spec"]),
        revision=row["revision"],
        created_at=row["created_at"].timestamp(),
        updated_at=row["updated_at"].timestamp(),
        picture=messages.picture_from_json(row["picture"]),
        drawn_on=messages.picture_from_json(row["drawn_on"]),
    )


async def _changing_columns(connection: AsyncConnection, camera: Camera, keys: DataKeys) -> dict[str, Any]:
    """Everything that a change may touch."""
    return {
        "name": camera.name,
        "location": camera.location,
        "latitude": camera.position.latitude if camera.position else None,
        "longitude": camera.position.longitude if camera.position else None,
        "floor": camera.floor,
        "status": camera.status.value,
        "tags": list(camera.tags),
        "spec": messages.spec_json(camera.spec),
        "revision": camera.revision,
        "updated_at": to_datetime(camera.updated_at),
        **await _address_columns(connection, camera, keys),
    }


async def _address_columns(connection: AsyncConnection, camera: Camera, keys: DataKeys) -> dict[str, Any]:
    """The masked address, and the sealed one."""
    url = camera.stream_url
    if sources.has_mask(url):  # it could not be opened: the sealed value stays
        return {"stream_url": sources.masked(url)}
    if sources.masked(url) == url:
        return {"stream_url": url, "sealed_stream_url": None, "source_key_id": None}
    sealed = await keys.seal(connection, url, _place(camera.camera_id))
    return {
        "stream_url": sources.masked(url),
        "sealed_stream_url": sealed.content,
        "source_key_id": sealed.key_id,
    }


def _place(camera_id: str) -> str:
    """The place to which an address is sealed. It keeps the column's first name: sealed values hold it."""
    return f"cameras.sealed_source_url:{camera_id}"


async def insert_site(connection: AsyncConnection, site: Site) -> None:
    """Add a site.

    Raises:
        AlreadyExistsError: the id is taken.
    """
    values = {
        "site_id": site.site_id,
        "title": site.title,
        "time_zone": site.time_zone,
        "created_at": to_datetime(site.created_at),
    }
    statement = upsert(sites).values(values).on_conflict_do_nothing(index_elements=["site_id"])
    if await connection.scalar(statement.returning(sites.c.site_id)) is None:
        raise AlreadyExistsError(f"site {site.site_id!r} already exists", hint="choose another id")


async def update_site(connection: AsyncConnection, site: Site) -> None:
    """Store title, time zones and revision of an existing site."""
    values = {
        "title": site.title,
        "time_zone": site.time_zone,
        "earlier_time_zones": messages.earlier_time_zones_json(site),
        "revision": site.revision,
    }
    await connection.execute(update(sites).where(sites.c.site_id == site.site_id).values(values))


async def delete_site(connection: AsyncConnection, site_id: str) -> None:
    """Delete a site, which must have no cameras."""
    await connection.execute(delete(sites).where(sites.c.site_id == site_id))


async def site_of(connection: AsyncConnection, camera_id: str) -> str:
    """Return the site of a camera; empty if there is no such camera."""
    return await connection.scalar(select(cameras.c.site_id).where(cameras.c.camera_id == camera_id)) or ""


async def all_ids(connection: AsyncConnection) -> tuple[frozenset[str], dict[str, str]]:
    """Return the ids of all sites, and camera → site."""
    site_ids = await connection.scalars(select(sites.c.site_id))
    site_of_cameras = await connection.execute(select(cameras.c.camera_id, cameras.c.site_id))
    return frozenset(site_ids), {row.camera_id: row.site_id for row in site_of_cameras}


def camera_in(reach: Reach) -> ColumnElement[bool]:
    """Return the condition that a camera lies within reach."""
    if reach.everything:
        return true()
    return cameras.c.site_id.in_(reach.sites) | cameras.c.camera_id.in_(reach.cameras)


def _site_in(reach: Reach) -> ColumnElement[bool]:
    """Return the condition that a site lies within reach, or has a camera that does."""
    if reach.everything:
        return true()
    holds_one = select(cameras.c.site_id).where(cameras.c.camera_id.in_(reach.cameras))
    return sites.c.site_id.in_(reach.sites) | sites.c.site_id.in_(holds_one)


async def get_site(
    connection: AsyncConnection, site_id: str, *, lock: bool = False, reach: Reach = EVERYWHERE
) -> Site | None:
    """Return one site within reach; with `lock`, its row stays locked until the transaction ends."""
    query = select(sites).where(sites.c.site_id == site_id, _site_in(reach))
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    return _site(dict(row)) if row is not None else None


async def list_sites(connection: AsyncConnection, after: str, limit: int, reach: Reach = EVERYWHERE) -> list[Site]:
    """Return sites within reach by id, beginning after `after`."""
    query = select(sites).where(sites.c.site_id > after, _site_in(reach)).order_by(sites.c.site_id).limit(limit)
    return [_site(dict(row)) for row in (await connection.execute(query)).mappings()]


async def insert_camera(connection: AsyncConnection, camera: Camera, keys: DataKeys) -> None:
    """Add a camera.

    Raises:
        AlreadyExistsError: the id is taken.
    """
    values = {
        "camera_id": camera.camera_id,
        "site_id": camera.site_id,
        "created_at": to_datetime(camera.created_at),
        **await _changing_columns(connection, camera, keys),
    }
    statement = upsert(cameras).values(values).on_conflict_do_nothing(index_elements=["camera_id"])
    if await connection.scalar(statement.returning(cameras.c.camera_id)) is None:
        raise AlreadyExistsError(
            f"camera {camera.camera_id!r} already exists", hint="choose another id, or change the existing camera"
        )


async def update_camera(connection: AsyncConnection, camera: Camera, keys: DataKeys) -> None:
    """Store everything that can change of an existing camera."""
    values = {
        **await _changing_columns(connection, camera, keys),
        "picture": messages.picture_json(camera.picture),
        "drawn_on": messages.picture_json(camera.drawn_on),
    }
    await connection.execute(update(cameras).where(cameras.c.camera_id == camera.camera_id).values(values))


async def delete_camera(connection: AsyncConnection, camera_id: str) -> None:
    """Delete a camera; the versions of its lines and zones stay."""
    await connection.execute(delete(cameras).where(cameras.c.camera_id == camera_id))


async def get_camera(
    connection: AsyncConnection, camera_id: str, keys: DataKeys, *, lock: bool = False
) -> Camera | None:
    """Return one camera, credentials included; with `lock`, its row stays locked until the transaction ends."""
    query = select(cameras).where(cameras.c.camera_id == camera_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    return await camera_of_row(connection, dict(row), keys) if row is not None else None


async def ids_of_site(connection: AsyncConnection, site_id: str, limit: int) -> list[str]:
    """Return the ids of some cameras of a site, sorted."""
    query = select(cameras.c.camera_id).where(cameras.c.site_id == site_id).order_by(cameras.c.camera_id).limit(limit)
    return list(await connection.scalars(query))


async def ids_like(connection: AsyncConnection, base: str) -> set[str]:
    """Return the ids of cameras that begin with a text, those of deleted cameras included, whose counts are kept."""
    known = select(cameras.c.camera_id).union(select(geometry_versions.c.camera_id)).subquery()
    query = select(known.c.camera_id).where(known.c.camera_id.startswith(base, autoescape=True))
    return set(await connection.scalars(query))


async def pictures_of_all(connection: AsyncConnection) -> dict[str, PictureShape | None]:
    """Return the displayed picture of every active camera, as far as it is known."""
    query = select(cameras.c.camera_id, cameras.c.picture).where(cameras.c.status == WantedStatus.ACTIVE.value)
    rows = (await connection.execute(query)).all()
    return {camera_id: messages.picture_from_json(picture) for camera_id, picture in rows}


async def all_assignable(connection: AsyncConnection, keys: DataKeys) -> list[tuple[Camera, str]]:
    """Return every camera, credentials included, with the time zone of its site."""
    query = select(cameras, sites.c.time_zone).join(sites, sites.c.site_id == cameras.c.site_id)
    rows = (await connection.execute(query.order_by(cameras.c.camera_id))).mappings().all()
    return [(await camera_of_row(connection, dict(row), keys), row["time_zone"]) for row in rows]


@dataclass(frozen=True, slots=True)
class ResealedBatch:
    """What `reseal_cameras` did with one batch."""

    last_id: str
    """Where the next batch begins; empty after the last one."""
    sealed: int
    unreadable: int


async def reseal_cameras(connection: AsyncConnection, after: str, keys: DataKeys) -> ResealedBatch:
    """Seal addresses with the current key: those under other keys, and those that an older release stored in the clear.

    Args:
        connection: of the caller's transaction.
        after: the camera behind which to begin.
        keys: seal and open.
    """
    current = (await keys.current(connection)).key_id
    other_key = or_(cameras.c.source_key_id.is_(None), cameras.c.source_key_id != current)
    query = select(cameras).where(cameras.c.camera_id > after, other_key).order_by(cameras.c.camera_id)
    rows = (await connection.execute(query.limit(RESEAL_BATCH).with_for_update())).mappings().all()
    sealed = unreadable = 0
    for row in rows:
        camera = await camera_of_row(connection, dict(row), keys)
        columns = await _address_columns(connection, camera, keys)
        if columns.get("sealed_stream_url") is not None:
            await connection.execute(update(cameras).where(cameras.c.camera_id == camera.camera_id).values(columns))
            sealed += 1
        unreadable += sources.has_mask(camera.stream_url)
    return ResealedBatch(rows[-1]["camera_id"] if len(rows) == RESEAL_BATCH else "", sealed, unreadable)


async def geometry_versions_of(connection: AsyncConnection, camera_id: str) -> Versions:
    """Return the last version of every line and zone under this camera id, deleted ones included."""
    query = select(geometry_versions).where(geometry_versions.c.camera_id == camera_id)
    rows = (await connection.execute(query)).mappings()
    return {
        (row["kind"], row["geometry_id"]): GeometryVersion(
            row["version"], row["fingerprint"], messages.picture_from_json(row["picture"])
        )
        for row in rows
    }


async def save_geometry_versions(connection: AsyncConnection, camera_id: str, versions: Versions) -> None:
    """Store versions that are new or whose picture became known."""
    for (kind, geometry_id), last in versions.items():
        changes = {
            "version": last.version,
            "fingerprint": last.fingerprint,
            "picture": messages.picture_json(last.picture),
        }
        statement = upsert(geometry_versions).values(camera_id=camera_id, kind=kind, geometry_id=geometry_id, **changes)
        keys = ["camera_id", "kind", "geometry_id"]
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))


async def sealed_addresses(connection: AsyncConnection) -> dict[str, int]:
    """Return the number of sealed addresses, by data key."""
    key = cameras.c.source_key_id
    query = select(key, func.count()).where(key.is_not(None)).group_by(key)
    return {row[0]: row[1] for row in (await connection.execute(query)).all()}
