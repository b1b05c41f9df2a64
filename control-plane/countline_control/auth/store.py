"""SQL of auth. Each function works inside the caller's transaction; moments are aware datetimes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.errors import AlreadyExistsError
from countline_control.auth.domain import ADMIN, Attempts, username_key
from countline_control.auth.tables import audit, login_attempts, refresh_tokens, sessions, users


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A row of `users`."""

    user_id: str
    username: str
    password_hash: str
    roles: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A refresh token with its session and user."""

    session_id: str
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    user: StoredUser


def _user(row: Mapping[str, Any]) -> StoredUser:
    return StoredUser(row["user_id"], row["username"], row["password_hash"], tuple(row["roles"]), row["created_at"])


async def find_user(connection: AsyncConnection, username: str) -> StoredUser | None:
    """The user with a name, whatever its case."""
    query = select(users).where(users.c.username_key == username_key(username))
    row = (await connection.execute(query)).mappings().one_or_none()
    return _user(dict(row)) if row is not None else None


async def get_user(connection: AsyncConnection, user_id: str) -> StoredUser | None:
    """The user with an id."""
    row = (await connection.execute(select(users).where(users.c.user_id == user_id))).mappings().one_or_none()
    return _user(dict(row)) if row is not None else None


async def list_users(connection: AsyncConnection, after: str, limit: int) -> list[StoredUser]:
    """Users by name, those after a key."""
    query = select(users).where(users.c.username_key > after).order_by(users.c.username_key).limit(limit)
    return [_user(dict(row)) for row in (await connection.execute(query)).mappings()]


async def has_users(connection: AsyncConnection) -> bool:
    """Whether there is anybody at all."""
    return bool(await connection.scalar(select(select(users.c.user_id).exists())))


async def insert_user(connection: AsyncConnection, user: StoredUser) -> None:
    """Add a user.

    Raises:
        AlreadyExistsError: somebody has the name.
    """
    values = {
        "user_id": user.user_id,
        "username": user.username,
        "username_key": username_key(user.username),
        "password_hash": user.password_hash,
        "roles": list(user.roles),
        "created_at": user.created_at,
    }
    statement = upsert(users).values(values).on_conflict_do_nothing(index_elements=["username_key"])
    if await connection.scalar(statement.returning(users.c.user_id)) is None:
        raise AlreadyExistsError(f"there is a user {user.username!r} already", hint="choose another name")


async def lock_users(connection: AsyncConnection) -> None:
    """Let nobody else change users until the transaction ends, so that counting admins means something."""
    await connection.execute(text("LOCK TABLE auth.users IN SHARE ROW EXCLUSIVE MODE"))


async def count_other_admins(connection: AsyncConnection, user_id: str) -> int:
    """How many admins there are besides one user."""
    query = select(func.count()).where(users.c.user_id != user_id, users.c.roles.contains([ADMIN]))
    return int(await connection.scalar(query) or 0)


async def delete_user(connection: AsyncConnection, user_id: str) -> None:
    """Delete a user, with all sessions."""
    await connection.execute(delete(users).where(users.c.user_id == user_id))


async def insert_session(connection: AsyncConnection, session_id: str, user_id: str, now: datetime) -> None:
    """Begin a session."""
    await connection.execute(insert(sessions).values(session_id=session_id, user_id=user_id, created_at=now))


async def insert_token(
    connection: AsyncConnection, token_hash: bytes, session_id: str, now: datetime, expires_at: datetime
) -> None:
    """Add a refresh token to a session."""
    values = {"token_hash": token_hash, "session_id": session_id, "created_at": now, "expires_at": expires_at}
    await connection.execute(insert(refresh_tokens).values(values))


async def forget_sessions(connection: AsyncConnection, now: datetime) -> None:
    """Delete refresh tokens that have expired, and the sessions that are left with none."""
    expired = delete(refresh_tokens).where(refresh_tokens.c.expires_at < now).returning(refresh_tokens.c.session_id)
    touched = set((await connection.execute(expired)).scalars())
    has_token = select(refresh_tokens.c.session_id).where(refresh_tokens.c.session_id == sessions.c.session_id).exists()
    await connection.execute(delete(sessions).where(sessions.c.session_id.in_(touched), ~has_token))


async def lock_token(connection: AsyncConnection, token_hash: bytes) -> StoredToken | None:
    """A refresh token with its session and user, locked until the transaction ends."""
    query = (
        select(users, refresh_tokens.c.session_id, refresh_tokens.c.expires_at, refresh_tokens.c.used_at)
        .add_columns(sessions.c.revoked_at)
        .join(sessions, sessions.c.session_id == refresh_tokens.c.session_id)
        .join(users, users.c.user_id == sessions.c.user_id)
        .where(refresh_tokens.c.token_hash == token_hash)
        .with_for_update(of=[refresh_tokens, sessions])
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    return StoredToken(row["session_id"], row["expires_at"], row["used_at"], row["revoked_at"], _user(dict(row)))


async def use_token(connection: AsyncConnection, token_hash: bytes, now: datetime) -> None:
    """Mark a refresh token as used up."""
    table = refresh_tokens
    await connection.execute(
        update(table).where(table.c.token_hash == token_hash, table.c.used_at.is_(None)).values(used_at=now)
    )


async def revoke_session(connection: AsyncConnection, session_id: str, now: datetime) -> None:
    """End a session."""
    await connection.execute(update(sessions).where(sessions.c.session_id == session_id).values(revoked_at=now))


async def lock_attempts(connection: AsyncConnection, key: str) -> Attempts | None:
    """Failures under a key, locked until the transaction ends, also where there are none yet."""
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(key))))
    row = (await connection.execute(select(login_attempts).where(login_attempts.c.key == key))).one_or_none()
    return Attempts(row.failures, row.last_at.timestamp()) if row is not None else None


async def set_attempts(connection: AsyncConnection, key: str, failures: int, now: datetime) -> None:
    """Write down failures under a key."""
    values = {"failures": failures, "last_at": now}
    statement = upsert(login_attempts).values(key=key, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))


async def clear_attempts(connection: AsyncConnection, key: str, before: datetime) -> None:
    """Forget the failures under a key, and everybody's that are long past."""
    table = login_attempts
    await connection.execute(delete(table).where((table.c.key == key) | (table.c.last_at < before)))


async def write_audit(connection: AsyncConnection, **values: Any) -> None:
    """Add a line to the audit: at, actor, action, subject, request_id, detail."""
    await connection.execute(insert(audit).values(**values))
