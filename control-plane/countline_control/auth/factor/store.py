"""SQL of second factors, and the sealing of their secrets. Each function works inside the caller's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.secrets.sealing import UnreadableSecretError
from countline_control.auth.factor.domain import FactorSecret, FactorState
from countline_control.auth.tables import login_challenges, recovery_codes, second_factors
from countline_control.data_keys import DataKeys, Sealed
from countline_control.database import Database
from countline_control.key_rotation import Resealed

RESEAL_BATCH: Final = 200
FIRST: Final = ("", False)
"""Sorts before the key of every row."""


@dataclass(frozen=True, slots=True)
class StoredChallenge:
    """A login whose password was right, and which waits for a code."""

    user_id: str
    access_revision: int
    """Of the user when the password was checked."""
    expires_at: datetime


class FactorStore:
    """Reads and writes second factors.

    Args:
        keys: seal and open the secrets.
    """

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    async def load(self, connection: AsyncConnection, user_id: str) -> FactorState:
        """Return the second factor of a user."""
        query = select(second_factors).where(second_factors.c.user_id == user_id)
        found = {row["active"]: dict(row) for row in (await connection.execute(query)).mappings()}
        secrets = {active: await self._secret(connection, row) for active, row in found.items()}
        codes = select(recovery_codes.c.code_hash).where(recovery_codes.c.user_id == user_id)
        hashes = frozenset((await connection.execute(codes)).scalars())
        return FactorState(secrets.get(True), secrets.get(False), hashes)

    async def save(self, connection: AsyncConnection, user_id: str, before: FactorState, after: FactorState) -> None:
        """Store what has changed.

        Args:
            connection: of the transaction that loaded `before`, with users locked.
            user_id: whose second factor.
            before: what `load` returned.
            after: the new state.
        """
        await self._save_secret(connection, (user_id, False), before.enrolling, after.enrolling)
        await self._save_secret(connection, (user_id, True), before.active, after.active)
        gone, new = before.recovery - after.recovery, after.recovery - before.recovery
        if gone:
            used = (recovery_codes.c.user_id == user_id, recovery_codes.c.code_hash.in_(gone))
            await connection.execute(delete(recovery_codes).where(*used))
        if new:
            rows = [{"user_id": user_id, "code_hash": hashed} for hashed in sorted(new)]
            await connection.execute(insert(recovery_codes), rows)

    async def reseal(self, connection: AsyncConnection, after: tuple[str, bool]) -> tuple[Resealed, tuple[str, bool]]:
        """Seal a batch of secrets with the current key; return what was done, and the last row: `FIRST` at the end."""
        current, table = (await self._keys.current(connection)).key_id, second_factors
        place = tuple_(table.c.user_id, table.c.active)
        query = select(table).where(place > tuple_(*after), table.c.secret_key_id != current).order_by(place)
        rows = (await connection.execute(query.limit(RESEAL_BATCH).with_for_update())).mappings().all()
        sealed = 0
        for row in rows:
            secret = await self._secret(connection, dict(row))
            if secret.text:
                await self._seal(connection, (row["user_id"], row["active"]), secret)
                sealed += 1
        last = (rows[-1]["user_id"], rows[-1]["active"]) if len(rows) == RESEAL_BATCH else FIRST
        return Resealed(sealed, len(rows) - sealed), last

    async def _secret(self, connection: AsyncConnection, row: Mapping[str, Any]) -> FactorSecret:
        sealed = Sealed(row["secret_key_id"], row["sealed_secret"])
        try:
            text = await self._keys.unseal(connection, sealed, _place(row["user_id"]))
        except UnreadableSecretError:  # recovery codes still work
            text = ""
        return FactorSecret(text, row["since"], row["last_step"])

    async def _save_secret(
        self,
        connection: AsyncConnection,
        row: tuple[str, bool],
        before: FactorSecret | None,
        after: FactorSecret | None,
    ) -> None:
        user_id, active = row
        where = (second_factors.c.user_id == user_id, second_factors.c.active.is_(active))
        if after is None:
            await connection.execute(delete(second_factors).where(*where))
        elif before is None or after.text != before.text:
            await self._seal(connection, row, after)
        elif after != before:
            await connection.execute(
                update(second_factors).where(*where).values(since=after.since, last_step=after.last_step)
            )

    async def _seal(self, connection: AsyncConnection, row: tuple[str, bool], secret: FactorSecret) -> None:
        sealed = await self._keys.seal(connection, secret.text, _place(row[0]))
        values = {
            "sealed_secret": sealed.content,
            "secret_key_id": sealed.key_id,
            "since": secret.since,
            "last_step": secret.last_step,
        }
        statement = upsert(second_factors).values(user_id=row[0], active=row[1], **values)
        await connection.execute(statement.on_conflict_do_update(index_elements=["user_id", "active"], set_=values))


def _place(user_id: str) -> str:
    return f"second_factors.sealed_secret:{user_id}"


class FactorSecrets:
    """Seals the secrets of all second factors.

    Args:
        database: holds the schema `auth`.
        store: reads and writes them.
    """

    def __init__(self, database: Database, store: FactorStore) -> None:
        self._database = database
        self._store = store

    async def seal_all(self) -> Resealed:
        """Seal every secret that the current key does not seal yet, some hundred in each transaction."""
        after, sealed, unreadable = FIRST, 0, 0
        while True:
            async with self._database.begin() as connection:
                found, after = await self._store.reseal(connection, after)
            sealed, unreadable = sealed + found.sealed, unreadable + found.unreadable
            if after == FIRST:
                return Resealed(sealed, unreadable)


async def insert_challenge(
    connection: AsyncConnection, challenge_hash: bytes, challenge: StoredChallenge, now: datetime
) -> None:
    """Add a login that waits for a code, and delete those that have expired."""
    await connection.execute(delete(login_challenges).where(login_challenges.c.expires_at < now))
    values = {
        "challenge_hash": challenge_hash,
        "user_id": challenge.user_id,
        "access_revision": challenge.access_revision,
        "expires_at": challenge.expires_at,
    }
    await connection.execute(insert(login_challenges).values(values))


async def get_challenge(connection: AsyncConnection, challenge_hash: bytes) -> StoredChallenge | None:
    """Return a login that waits for a code."""
    query = select(login_challenges).where(login_challenges.c.challenge_hash == challenge_hash)
    row = (await connection.execute(query)).one_or_none()
    return StoredChallenge(row.user_id, row.access_revision, row.expires_at) if row is not None else None


async def take_challenge(connection: AsyncConnection, challenge_hash: bytes) -> bool:
    """Delete a login that waits for a code; return whether it was there."""
    statement = delete(login_challenges).where(login_challenges.c.challenge_hash == challenge_hash)
    return await connection.scalar(statement.returning(login_challenges.c.user_id)) is not None


async def sealed_factors(connection: AsyncConnection) -> dict[str, int]:
    """Return the number of sealed secrets, by data key."""
    key = second_factors.c.secret_key_id
    return {row[0]: row[1] for row in (await connection.execute(select(key, func.count()).group_by(key))).all()}
