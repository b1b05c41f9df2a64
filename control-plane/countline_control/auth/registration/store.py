"""SQL of invites. Each function works inside the caller's transaction."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.access.scopes import Scope
from countline_control.auth.registration.domain import StoredInvite
from countline_control.auth.tables import invites


async def insert_invite(connection: AsyncConnection, invite: StoredInvite) -> None:
    """Add an invite, and delete those that have expired."""
    await connection.execute(delete(invites).where(invites.c.expires_at <= invite.created_at))
    grants = [
        {"role": role, "site_id": scope.site_id, "camera_ids": sorted(scope.camera_ids)}
        for role, scope in invite.grants
    ]
    columns = ("invite_id", "token_hash", "creator_id", "created_by", "created_at", "expires_at")
    await connection.execute(insert(invites).values(grants=grants, **{name: getattr(invite, name) for name in columns}))


async def count_invites(connection: AsyncConnection) -> int:
    """Return the number of invites, with those that expired lately."""
    return await connection.scalar(select(func.count()).select_from(invites)) or 0


async def find_invite(connection: AsyncConnection, token_hash: bytes, now: datetime) -> StoredInvite | None:
    """Return the invite of a token, if it can be used."""
    query = select(invites).where(invites.c.token_hash == token_hash, invites.c.expires_at > now)
    row = (await connection.execute(query)).mappings().one_or_none()
    return _invite(dict(row)) if row is not None else None


async def list_invites(connection: AsyncConnection, now: datetime) -> list[StoredInvite]:
    """Return the invites that can be used, the newest first."""
    query = select(invites).where(invites.c.expires_at > now)
    rows = (await connection.execute(query.order_by(invites.c.created_at.desc(), invites.c.invite_id))).mappings()
    return [_invite(dict(row)) for row in rows]


async def take_invite(connection: AsyncConnection, invite_id: str, now: datetime) -> StoredInvite | None:
    """Delete an invite that can be used, and return it. Of parallel callers, one gets it."""
    statement = delete(invites).where(invites.c.invite_id == invite_id, invites.c.expires_at > now)
    row = (await connection.execute(statement.returning(*invites.c))).mappings().one_or_none()
    return _invite(dict(row)) if row is not None else None


def _invite(row: dict[str, Any]) -> StoredInvite:
    grants = row.pop("grants")
    scopes = tuple((each["role"], Scope(each["site_id"], frozenset(each["camera_ids"]))) for each in grants)
    return StoredInvite(**row, grants=scopes)
