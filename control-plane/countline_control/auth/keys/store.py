"""SQL of API keys. Each function works inside the caller's transaction."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.access.scopes import Scope
from countline_control.auth.domain import Grant
from countline_control.auth.keys.domain import LISTED_AFTER, StoredKey
from countline_control.auth.tables import api_keys, key_grants, role_permissions


async def insert_key(connection: AsyncConnection, key: StoredKey) -> None:
    """Add a key with its grants."""
    columns = ("key_id", "user_id", "name", "secret_hash", "created_at", "expires_at", "limited")
    await connection.execute(insert(api_keys).values({name: getattr(key, name) for name in columns}))
    rows = [
        {
            "key_id": key.key_id,
            "role": grant.role,
            "site_id": grant.scope.site_id,
            "camera_ids": sorted(grant.scope.camera_ids),
        }
        for grant in key.grants
    ]
    if rows:
        await connection.execute(insert(key_grants), rows)


async def get_key(connection: AsyncConnection, key_id: str) -> StoredKey | None:
    """Return the key with an id."""
    found = await _keys(connection, api_keys.c.key_id == key_id)
    return found[0] if found else None


async def keys_of(connection: AsyncConnection, user_id: str) -> list[StoredKey]:
    """Return the keys of a user, the newest first."""
    return await _keys(connection, api_keys.c.user_id == user_id)


async def _keys(connection: AsyncConnection, which: ColumnElement[bool]) -> list[StoredKey]:
    query = select(api_keys).where(which).order_by(api_keys.c.created_at.desc(), api_keys.c.key_id)
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    grants = await _grants(connection, [row["key_id"] for row in rows if row["limited"]])
    return [StoredKey(**row, grants=tuple(grants.get(row["key_id"], ()))) for row in rows]


async def _grants(connection: AsyncConnection, key_ids: Iterable[str]) -> dict[str, list[Grant]]:
    held = func.array_agg(role_permissions.c.permission).filter(role_permissions.c.permission.is_not(None))
    query = (
        select(key_grants, held.label("permissions"))
        .outerjoin(role_permissions, role_permissions.c.role == key_grants.c.role)
        .where(key_grants.c.key_id.in_(list(key_ids)))
        .group_by(key_grants.c.grant_id)
        .order_by(key_grants.c.grant_id)
    )
    found: dict[str, list[Grant]] = {}
    for row in await connection.execute(query):
        scope = Scope(row.site_id, frozenset(row.camera_ids))
        found.setdefault(row.key_id, []).append(Grant(row.role, frozenset(row.permissions or ()), scope))
    return found


async def end_key(connection: AsyncConnection, key_id: str, now: datetime) -> None:
    """Revoke a key."""
    await connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(revoked_at=now))


async def expire_key(connection: AsyncConnection, key_id: str, until: datetime) -> None:
    """Let a key expire earlier; it does not expire later."""
    values = {"expires_at": func.least(api_keys.c.expires_at, until)}
    await connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(values))


async def use_key(connection: AsyncConnection, key_id: str, now: datetime) -> None:
    """Note when a key was used."""
    await connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(last_used_at=now))


async def forget_keys(connection: AsyncConnection, now: datetime) -> None:
    """Delete keys that ended long ago."""
    ended = func.least(api_keys.c.expires_at, func.coalesce(api_keys.c.revoked_at, api_keys.c.expires_at))
    await connection.execute(delete(api_keys).where(ended < now - LISTED_AFTER))
