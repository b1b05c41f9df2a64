"""SQL of sites, and queries of cameras. Each function works inside the caller's transaction.

`events.projection` writes cameras.

The address of a camera is sealed if it holds a secret. A camera whose address cannot be opened keeps its sealed value
and shows `***` in place of the secret; see `sources.has_mask`.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, select, true, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.access.scopes import Reach
from countline_common.display import PictureShape
from countline_common.errors import AlreadyExistsError
from countline_common.secrets.sealing import UnreadableSecretError
from countline_common.times import to_datetime
from countline_control.cameras import messages, sealed_addresses
from countline_control.cameras.domain import Camera, GeometryVersion, GeoPosition, Site, Versions
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.cameras.tables import cameras, geometry_versions, secrets, sites
from countline_control.data_keys import DataKeys

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


def camera_rows() -> Select[Any]:
    """Select cameras with their sealed addresses."""
    own_secret = secrets.c.secret_id == cameras.c.secret_id
    return select(cameras, secrets.c.key_id, secrets.c.sealed).outerjoin(secrets, own_secret)


async def camera_of_row(connection: AsyncConnection, row: Mapping[str, Any], keys: DataKeys) -> Camera:
    """Return the camera of a row of `camera_rows`, credentials included."""
    stream_url = row["stream_url"]
    if row["sealed"] is not None:
        with contextlib.suppress(UnreadableSecretError):  # the masked address stays
            stream_url = await sealed_addresses.opened(connection, keys, row)
    return camera_with(row, stream_url)


def camera_with(row: Mapping[str, Any], stream_url: str) -> Camera:
    """Return the camera of a row, with this address."""
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


async def get_camera(connection: AsyncConnection, camera_id: str, keys: DataKeys) -> Camera | None:
    """Return one camera, credentials included."""
    query = camera_rows().where(cameras.c.camera_id == camera_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return await camera_of_row(connection, dict(row), keys) if row is not None else None


async def lock_cameras(connection: AsyncConnection, camera_ids: Sequence[str]) -> None:
    """Let nobody else change these cameras before the transaction ends.

    It is a statement of its own. A statement that locks rows and joins others waits for a change of the locked row, and
    then sees the new row beside the old others: a camera without its new secret.
    """
    query = select(cameras.c.camera_id).where(cameras.c.camera_id.in_(camera_ids)).order_by(cameras.c.camera_id)
    await connection.execute(query.with_for_update())


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
    query = camera_rows().add_columns(sites.c.time_zone).join(sites, sites.c.site_id == cameras.c.site_id)
    rows = (await connection.execute(query.order_by(cameras.c.camera_id))).mappings().all()
    return [(await camera_of_row(connection, dict(row), keys), row["time_zone"]) for row in rows]


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
