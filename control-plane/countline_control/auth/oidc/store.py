"""SQL of linked identities. Each function works inside the caller's transaction."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.errors import AlreadyExistsError
from countline_control.auth.oidc.flow import LOGIN_S
from countline_control.auth.tables import identities, oidc_logins, user_sessions


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """A person at a provider, linked to a user."""

    identity_id: str
    user_id: str
    issuer: str
    subject: str
    created_at: datetime
    last_login_at: datetime | None = None


def _identity(row: Any) -> StoredIdentity:
    return StoredIdentity(**row)


async def find_identity(connection: AsyncConnection, issuer: str, subject: str) -> StoredIdentity | None:
    """Return the identity of a person at a provider."""
    query = select(identities).where(identities.c.issuer == issuer, identities.c.subject == subject)
    row = (await connection.execute(query)).mappings().one_or_none()
    return _identity(row) if row is not None else None


async def identities_of(connection: AsyncConnection, user_id: str) -> list[StoredIdentity]:
    """Return the identities of a user, the oldest first."""
    query = select(identities).where(identities.c.user_id == user_id)
    rows = await connection.execute(query.order_by(identities.c.created_at, identities.c.identity_id))
    return [_identity(row) for row in rows.mappings()]


async def insert_identity(connection: AsyncConnection, identity: StoredIdentity) -> None:
    """Link an identity to a user.

    Raises:
        AlreadyExistsError: it is linked to a user.
    """
    values = {name: getattr(identity, name) for name in identity.__dataclass_fields__}
    statement = upsert(identities).values(values).on_conflict_do_nothing(constraint="identities_once")
    if await connection.scalar(statement.returning(identities.c.identity_id)) is None:
        raise AlreadyExistsError(
            f"{identity.subject[:80]!r} of {identity.issuer} is linked to a user",
            hint="remove that link first: countline users unlink-identity USER SUBJECT",
        )


async def use_identity(connection: AsyncConnection, identity_id: str, now: datetime) -> None:
    """Note when a person logged in."""
    values = {"last_login_at": now}
    await connection.execute(update(identities).where(identities.c.identity_id == identity_id).values(values))


async def delete_identity(connection: AsyncConnection, user_id: str, identity_id: str) -> StoredIdentity | None:
    """Remove a link of a user; return it, or None if there is none."""
    statement = delete(identities).where(identities.c.identity_id == identity_id, identities.c.user_id == user_id)
    row = (await connection.execute(statement.returning(*identities.c))).mappings().one_or_none()
    return _identity(row) if row is not None else None


async def start_of_linked_session(connection: AsyncConnection, session_id: str) -> datetime | None:
    """Return when a session began if its user is linked to a provider; None if it is not linked."""
    is_linked = select(identities.c.identity_id).where(identities.c.user_id == user_sessions.c.user_id).exists()
    query = select(user_sessions.c.created_at).where(user_sessions.c.session_id == session_id, is_linked)
    began: datetime | None = await connection.scalar(query)
    return began


async def use_state(connection: AsyncConnection, state: str, now: datetime) -> bool:
    """Mark the state of a login as used; return False if it was used before. States that have expired are forgotten."""
    await connection.execute(delete(oidc_logins).where(oidc_logins.c.used_at < now - 2 * timedelta(seconds=LOGIN_S)))
    values = {"state_hash": hashlib.sha256(state.encode()).digest(), "used_at": now}
    statement = upsert(oidc_logins).values(values).on_conflict_do_nothing(index_elements=["state_hash"])
    return await connection.scalar(statement.returning(oidc_logins.c.state_hash)) is not None
