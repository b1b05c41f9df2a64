"""SQL of auth. Each function works inside the caller's transaction; moments are aware datetimes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.errors import AlreadyExistsError
from countline_control.auth.access.store import grants_of
from countline_control.auth.domain import Attempts, Grant, StoredSession, StoredToken, StoredUser, username_key
from countline_control.auth.tables import login_attempts, refresh_tokens, second_factors, user_sessions, users

_PROFILE: Final = (
    "username",
    "password_hash",
    "former_hashes",
    "display_name",
    "email",
    "disabled_at",
    "must_change_password",
    "password_expires_at",
    "last_login_at",
    "service_account",
    "revision",
    "access_revision",
)
"""Columns of a user that may change."""
_HAS_FACTOR: Final = (
    select(second_factors.c.user_id)
    .where(second_factors.c.user_id == users.c.user_id, second_factors.c.active)
    .exists()
    .label("second_factor")
)
_USERS: Final = select(users, _HAS_FACTOR)


def _user(row: Mapping[str, Any], grants: Mapping[str, tuple[Grant, ...]]) -> StoredUser:
    columns = {name: row[name] for name in ("user_id", "created_at", *_PROFILE)}
    columns["former_hashes"] = tuple(columns["former_hashes"])
    return StoredUser(**columns, second_factor=row["second_factor"], grants=grants.get(row["user_id"], ()))


async def _users(connection: AsyncConnection, query: Select[Any]) -> list[StoredUser]:
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    grants = await grants_of(connection, (row["user_id"] for row in rows))
    return [_user(row, grants) for row in rows]


async def find_user(connection: AsyncConnection, username: str) -> StoredUser | None:
    """Return the user with a name, in any case."""
    found = await _users(connection, _USERS.where(users.c.username_key == username_key(username)))
    return found[0] if found else None


async def get_user(connection: AsyncConnection, user_id: str) -> StoredUser | None:
    """Return the user with an id."""
    found = await _users(connection, _USERS.where(users.c.user_id == user_id))
    return found[0] if found else None


async def list_users(
    connection: AsyncConnection, after: str, limit: int, *, service_accounts: bool = False
) -> list[StoredUser]:
    """Return users, or only service accounts, by name, beginning after the key `after`."""
    query = _USERS.where(users.c.username_key > after).order_by(users.c.username_key).limit(limit)
    if service_accounts:
        query = query.where(users.c.service_account)
    return await _users(connection, query)


async def has_users(connection: AsyncConnection) -> bool:
    """Whether there is any user."""
    return bool(await connection.scalar(select(select(users.c.user_id).exists())))


async def insert_user(connection: AsyncConnection, user: StoredUser) -> None:
    """Add a user.

    Raises:
        AlreadyExistsError: the name is taken.
    """
    columns = {name: getattr(user, name) for name in ("user_id", "created_at", *_PROFILE)}
    values = {**columns, "username_key": username_key(user.username)}
    statement = upsert(users).values(values).on_conflict_do_nothing(index_elements=["username_key"])
    if await connection.scalar(statement.returning(users.c.user_id)) is None:
        raise AlreadyExistsError(f"user {user.username!r} already exists", hint="choose another name")


async def update_user(connection: AsyncConnection, user: StoredUser) -> None:
    """Store a changed user; grants are stored with `set_grants`."""
    values = {name: getattr(user, name) for name in _PROFILE}
    await connection.execute(update(users).where(users.c.user_id == user.user_id).values(values))


async def lock_users(connection: AsyncConnection) -> None:
    """Lock users against changes until the transaction ends, so that the number of super-admins stays true."""
    await connection.execute(text("LOCK TABLE auth.users IN SHARE ROW EXCLUSIVE MODE"))


async def delete_user(connection: AsyncConnection, user_id: str) -> None:
    """Delete a user with all sessions."""
    await connection.execute(delete(users).where(users.c.user_id == user_id))


async def end_access(connection: AsyncConnection, user_ids: Sequence[str]) -> dict[str, int]:
    """Make the access tokens of users outdated, because what they may do has changed. Return the new revisions."""
    values = {"access_revision": users.c.access_revision + 1}
    statement = update(users).where(users.c.user_id.in_(user_ids)).values(values)
    rows = await connection.execute(statement.returning(users.c.user_id, users.c.access_revision))
    return {row.user_id: row.access_revision for row in rows}


async def insert_session(
    connection: AsyncConnection, session_id: str, user_id: str, now: datetime, address: str, client: str
) -> None:
    """Add a session, with the address and the name of its client."""
    values = {"session_id": session_id, "user_id": user_id, "created_at": now, "address": address, "client": client}
    await connection.execute(insert(user_sessions).values(values))


async def insert_token(
    connection: AsyncConnection, token_hash: bytes, session_id: str, now: datetime, expires_at: datetime
) -> None:
    """Add a refresh token to a session."""
    values = {"token_hash": token_hash, "session_id": session_id, "created_at": now, "expires_at": expires_at}
    await connection.execute(insert(refresh_tokens).values(values))


async def forget_sessions(connection: AsyncConnection, now: datetime) -> None:
    """Delete expired refresh tokens, and sessions that have none left."""
    expired = delete(refresh_tokens).where(refresh_tokens.c.expires_at < now).returning(refresh_tokens.c.session_id)
    touched = set((await connection.execute(expired)).scalars())
    has_token = (
        select(refresh_tokens.c.session_id).where(refresh_tokens.c.session_id == user_sessions.c.session_id).exists()
    )
    await connection.execute(delete(user_sessions).where(user_sessions.c.session_id.in_(touched), ~has_token))


async def lock_token(connection: AsyncConnection, token_hash: bytes) -> StoredToken | None:
    """Return a refresh token with its session and user, locked until the transaction ends."""
    query = (
        select(refresh_tokens.c.session_id, refresh_tokens.c.expires_at, refresh_tokens.c.used_at)
        .add_columns(user_sessions.c.revoked_at, users, _HAS_FACTOR)
        .select_from(refresh_tokens)
        .join(user_sessions, user_sessions.c.session_id == refresh_tokens.c.session_id)
        .join(users, users.c.user_id == user_sessions.c.user_id)
        .where(refresh_tokens.c.token_hash == token_hash)
        .with_for_update(of=[refresh_tokens, user_sessions])
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    user = _user(dict(row), await grants_of(connection, [row["user_id"]]))
    return StoredToken(row["session_id"], row["expires_at"], row["used_at"], row["revoked_at"], user)


async def use_token(connection: AsyncConnection, token_hash: bytes, now: datetime) -> None:
    """Mark a refresh token as used."""
    table = refresh_tokens
    await connection.execute(
        update(table).where(table.c.token_hash == token_hash, table.c.used_at.is_(None)).values(used_at=now)
    )


async def revoke_session(connection: AsyncConnection, session_id: str, now: datetime) -> None:
    """Revoke a session."""
    await connection.execute(
        update(user_sessions).where(user_sessions.c.session_id == session_id).values(revoked_at=now)
    )


async def lock_attempts(connection: AsyncConnection, key: str) -> Attempts | None:
    """Return the failures under a key. The key is locked until the transaction ends, even if it has none yet."""
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(key))))
    query = select(login_attempts).where(login_attempts.c.key == key).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return Attempts(row.failures, row.last_at.timestamp()) if row is not None else None


async def set_attempts(connection: AsyncConnection, key: str, failures: float, now: datetime) -> None:
    """Store the failures under a key."""
    values = {"failures": failures, "last_at": now}
    statement = upsert(login_attempts).values(key=key, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))


async def clear_attempts(connection: AsyncConnection, key: str) -> None:
    """Delete the failures under a key."""
    await connection.execute(delete(login_attempts).where(login_attempts.c.key == key))


async def take_back_attempt(connection: AsyncConnection, key: str) -> None:
    """Lower the failures under a key by one."""
    table = login_attempts
    lower = func.greatest(table.c.failures - 1, 0)
    await connection.execute(update(table).where(table.c.key == key).values(failures=lower))


async def forget_attempts(connection: AsyncConnection, before: datetime) -> None:
    """Delete all failures before a moment, except those that another transaction counts now."""
    table = login_attempts
    old = select(table.c.key).where(table.c.last_at < before).with_for_update(skip_locked=True)
    await connection.execute(delete(table).where(table.c.key.in_(old)))


async def clear_attempts_of(connection: AsyncConnection, key: str, pattern: str) -> None:
    """Delete the failures under a key and under keys that match a pattern of LIKE."""
    table = login_attempts
    await connection.execute(delete(table).where((table.c.key == key) | table.c.key.like(pattern)))


async def has_session_from(connection: AsyncConnection, username: str, address: str) -> bool:
    """Whether a user has logged in from an address before, as far as it is remembered."""
    query = (
        select(user_sessions.c.session_id)
        .join(users, users.c.user_id == user_sessions.c.user_id)
        .where(users.c.username_key == username_key(username), user_sessions.c.address == address)
        .limit(1)
    )
    return await connection.scalar(query) is not None


async def sessions_of(connection: AsyncConnection, user_id: str, now: datetime) -> list[StoredSession]:
    """Return the sessions of a user that can still be refreshed, the newest first."""
    used, until = func.max(refresh_tokens.c.created_at), func.max(refresh_tokens.c.expires_at)
    query = (
        select(user_sessions, used.label("last_used_at"), until.label("expires_at"))
        .join(refresh_tokens, refresh_tokens.c.session_id == user_sessions.c.session_id)
        .where(user_sessions.c.user_id == user_id, user_sessions.c.revoked_at.is_(None))
        .group_by(user_sessions.c.session_id)
        .having(until > now)
        .order_by(user_sessions.c.created_at.desc(), user_sessions.c.session_id)
    )
    return [
        StoredSession(row.session_id, row.created_at, row.last_used_at, row.expires_at, row.address, row.client)
        for row in await connection.execute(query)
    ]


async def end_sessions(
    connection: AsyncConnection, user_id: str, now: datetime, *, only: str = "", keep: str = ""
) -> list[str]:
    """Revoke the open sessions of a user: all, one, or all but one. Return their ids."""
    table = user_sessions
    statement = update(table).where(table.c.user_id == user_id, table.c.revoked_at.is_(None)).values(revoked_at=now)
    if only:
        statement = statement.where(table.c.session_id == only)
    if keep:
        statement = statement.where(table.c.session_id != keep)
    return list((await connection.execute(statement.returning(table.c.session_id))).scalars())


async def is_open(connection: AsyncConnection, session_id: str) -> bool:
    """Whether a session exists and is not revoked."""
    query = select(user_sessions.c.session_id).where(
        user_sessions.c.session_id == session_id, user_sessions.c.revoked_at.is_(None)
    )
    return await connection.scalar(query) is not None
