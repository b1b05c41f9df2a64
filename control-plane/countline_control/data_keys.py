"""The data keys of a service: they seal its secrets, and a master key wraps them in the service's own schema.

Several processes may serve one database. So the current key is read in the transaction that seals with it, and its row
stays locked until that transaction ends: a rotation in another process can neither delete nor miss it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, String, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.errors import ConflictError
from countline_common.logs import get_logger
from countline_common.secrets.master_keys import MasterKeySource
from countline_common.secrets.sealing import Key, UnreadableSecretError, new_secret, seal, unseal
from countline_control.database import Database

_log = get_logger(__name__)


def data_key_table(metadata: MetaData) -> Table:
    """Define the data keys of a service, in its own schema."""
    return Table(
        "data_keys",
        metadata,
        Column("key_id", String, primary_key=True),
        Column("master_key_id", String, nullable=False),
        Column("wrapped", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        # Set when an operator gave up the master key. The row stays: the key may be found again.
        Column("lost_at", DateTime(timezone=True)),
    )


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed secret as a row keeps it."""

    key_id: str
    content: bytes


class DataKeys:
    """Seals and opens the secrets of one service.

    Args:
        database: holds the table.
        table: made by `data_key_table`.
        source: the master keys.
    """

    def __init__(self, database: Database, table: Table, source: MasterKeySource) -> None:
        self._database = database
        self._table = table
        self._source = source
        self._masters: Mapping[str, Key] = {}
        self._opened: dict[str, Key] = {}

    async def open(self, *, forget_lost: bool = False) -> None:
        """Check that the master keys fit the database, and make the first data key.

        Args:
            forget_lost: keep the rows of data keys that no master key opens, and go on without their secrets.

        Raises:
            InvalidInputError: there is no usable master key.
            ConflictError: a data key was wrapped with a master key that is not there.
        """
        masters = await self._read_masters()
        async with self._database.begin() as connection:
            found = (await connection.execute(select(self._table).with_for_update())).mappings()
            rows = [dict(row) for row in found]
            lost = [row for row in rows if not self._load(row)]
            forgotten = [row for row in lost if row["lost_at"] is not None]
            if len(lost) > len(forgotten) and not forget_lost:
                raise self._wrong_master(masters, lost)
            await self._set_lost(connection, [row["key_id"] for row in lost], datetime.now(UTC))
            await self._set_lost(connection, [row["key_id"] for row in rows if row not in lost], None)
            if len(lost) == len(rows):
                await self._create(connection, masters[0])

    async def seal(self, connection: AsyncConnection, secret: str, place: str) -> Sealed:
        """Seal a secret inside the caller's transaction.

        Args:
            connection: of the transaction that stores the result.
            secret: the secret.
            place: table, column and row that will hold it; see `sealing.seal`.
        """
        key = await self.current(connection)
        return Sealed(key.key_id, seal(key, secret.encode(), place))

    async def unseal(self, connection: AsyncConnection, sealed: Sealed, place: str) -> str:
        """Open a secret.

        Raises:
            UnreadableSecretError: its key is lost, or it was changed or moved.
        """
        return unseal(await self._key(connection, sealed.key_id), sealed.content, place).decode()

    async def current(self, connection: AsyncConnection) -> Key:
        """Return the newest key; its row stays locked against deletion until the transaction ends."""
        newest = (
            select(self._table.c.key_id)
            .where(self._table.c.lost_at.is_(None))
            .order_by(self._table.c.created_at.desc(), self._table.c.key_id)
            .limit(1)
        )
        row = (await connection.execute(newest.with_for_update(read=True, key_share=True))).one_or_none()
        if row is None:
            raise ConflictError("the data keys were deleted from the database", hint="restore the database's backup")
        return await self._key(connection, row.key_id)

    async def begin_rotation(self) -> str:
        """Read the master keys again and make a new data key under the first of them; return its id.

        Raises:
            InvalidInputError: there is no usable master key.
            ConflictError: a data key was wrapped with a master key that is not there.
        """
        await self.open()
        async with self._database.begin() as connection:
            return await self._create(connection, next(iter(self._masters.values())))

    async def end_rotation(self, kept: str) -> int:
        """Delete the data keys that no row refers to, except one; return how many remain besides it."""
        others = select(self._table.c.key_id).where(self._table.c.key_id != kept)
        async with self._database.begin() as connection:
            remaining = 0
            for key_id in (await connection.scalars(others)).all():
                try:
                    async with connection.begin_nested():
                        await connection.execute(delete(self._table).where(self._table.c.key_id == key_id))
                except IntegrityError:  # a row still refers to it
                    remaining += 1
                else:
                    self._opened.pop(key_id, None)
            return remaining

    async def rows(self, connection: AsyncConnection) -> Sequence[Mapping[str, Any]]:
        """Return the table without the wrapped keys, the newest first."""
        columns = [column for column in self._table.c if column.name != "wrapped"]
        query = select(*columns).order_by(self._table.c.created_at.desc())
        return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def _key(self, connection: AsyncConnection, key_id: str) -> Key:
        if key_id not in self._opened:
            await self._load_other(connection, key_id)
        key = self._opened.get(key_id)
        if key is None:
            raise UnreadableSecretError(
                f"the data key {key_id} cannot be opened with the current master key",
                hint="restore the master key, or store the secret again",
            )
        return key

    async def _load_other(self, connection: AsyncConnection, key_id: str) -> None:
        """Open a key that another process made, perhaps under a master key that is new here."""
        query = select(self._table).where(self._table.c.key_id == key_id)
        row = (await connection.execute(query)).mappings().one_or_none()
        if row is not None and row["lost_at"] is None and not self._load(dict(row)):
            await self._read_masters()
            self._load(dict(row))

    async def _read_masters(self) -> tuple[Key, ...]:
        keys = await asyncio.to_thread(self._source.read)
        self._masters = {key.key_id: key for key in keys}
        return keys

    def _load(self, row: Mapping[str, Any]) -> bool:
        """Open a data key; return whether that succeeded."""
        master = self._masters.get(row["master_key_id"])
        if master is None:
            return False
        try:
            secret = unseal(master, row["wrapped"], self._place(row["key_id"]))
        except UnreadableSecretError:
            return False
        self._opened[row["key_id"]] = Key(row["key_id"], secret)
        return True

    async def _create(self, connection: AsyncConnection, master: Key) -> str:
        key = Key(uuid4().hex, new_secret())
        values = {
            "key_id": key.key_id,
            "master_key_id": master.key_id,
            "wrapped": seal(master, key.secret, self._place(key.key_id)),
            "created_at": datetime.now(UTC),
        }
        await connection.execute(insert(self._table).values(values))
        self._opened[key.key_id] = key
        _log.info("data_key.created", key_id=key.key_id, master_key_id=master.key_id)
        return key.key_id

    async def _set_lost(self, connection: AsyncConnection, key_ids: Sequence[str], lost_at: datetime | None) -> None:
        column = self._table.c.lost_at
        changes = column.is_(None) if lost_at is not None else column.is_not(None)
        where = (self._table.c.key_id.in_(key_ids), changes)
        await connection.execute(update(self._table).where(*where).values(lost_at=lost_at))

    def _place(self, key_id: str) -> str:
        return f"{self._table.fullname}:{key_id}"

    def _wrong_master(self, masters: Sequence[Key], lost: Sequence[Mapping[str, Any]]) -> ConflictError:
        wanted = ", ".join(sorted({row["master_key_id"] for row in lost}))
        given = ", ".join(key.key_id for key in masters)
        return ConflictError(
            f"the stored secrets need the master key {wanted}, but {self._source} holds {given}",
            hint="put the needed key back, from a backup if it was lost. If it is lost for good, start once with "
            "COUNTLINE_FORGET_LOST_SECRETS=1: all cameras and users stay. Cameras with a password need their address "
            "again; users with a second factor log in with a recovery code",
        )
