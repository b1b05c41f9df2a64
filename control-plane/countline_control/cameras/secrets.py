"""Encrypts the addresses of cameras, and the gRPC service that rotates the keys."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import secrets_pb2, secrets_pb2_grpc
from countline_common.data.outbox import Outbox, OutboxTrail
from countline_common.grpc.calls import Context
from countline_common.grpc.server import Service
from countline_common.logs import get_logger
from countline_control.cameras import sealed_addresses, sources, store
from countline_control.cameras.tables import cameras, secrets
from countline_control.data_keys import DataKeys
from countline_control.database import Database
from countline_control.key_rotation import Resealed, key_messages, rotate

NAME: Final = "countline.v1.SecretService"

RESEAL_BATCH: Final = 200

_log = get_logger(__name__)


class CameraSecrets:
    """Seals the stored addresses of all cameras.

    Args:
        database: holds the schema `cameras`.
        keys: seal and open addresses.
    """

    def __init__(self, database: Database, keys: DataKeys) -> None:
        self._database = database
        self._keys = keys

    async def open(self, *, forget_lost: bool) -> None:
        """Open the data keys, and seal the addresses that an older release stored in the clear.

        Raises:
            CountlineError: the master keys do not fit the database; see `DataKeys.open`.
        """
        await self._keys.open(forget_lost=forget_lost)
        found = await self.seal_all()
        if found.sealed:
            # A changed row stays readable in the table's file until a vacuum; a full one writes the file anew.
            await self._database.rewrite(cameras)
            _log.info("addresses.sealed", sealed=found.sealed)
        if found.unreadable:
            _log.error("addresses.unreadable", cameras=found.unreadable, hint="see countline cameras list")

    async def seal_all(self) -> Resealed:
        """Seal every address that the current key does not seal yet, some hundred in each transaction."""
        after, sealed, unreadable = "", 0, 0
        while True:
            async with self._database.begin() as connection:
                batch = await _reseal(connection, after, self._keys)
            sealed, unreadable = sealed + batch.sealed, unreadable + batch.unreadable
            after = batch.last_id
            if not after:
                return Resealed(sealed, unreadable)


class SecretService(secrets_pb2_grpc.SecretServiceServicer):
    """Answers `countline.v1.SecretService`.

    Args:
        database: holds the schema `cameras`.
        keys: the data keys.
        outbox: of the service of cameras.
    """

    def __init__(self, database: Database, keys: DataKeys, outbox: Outbox) -> None:
        self._database = database
        self._keys = keys
        self._outbox = outbox
        self._secrets = CameraSecrets(database, keys)

    def as_service(self) -> Service:
        """Describe this service to a gRPC server."""
        return Service(
            NAME,
            lambda server: secrets_pb2_grpc.add_SecretServiceServicer_to_server(self, server),
            self._database.check,
            trail=OutboxTrail(self._database.begin, self._outbox),
        )

    async def ListDataKeys(
        self, request: secrets_pb2.ListDataKeysRequest, context: Context
    ) -> secrets_pb2.ListDataKeysResponse:
        return secrets_pb2.ListDataKeysResponse(data_keys=await self._database.read(self._data_keys))

    async def RotateSecrets(
        self, request: secrets_pb2.RotateSecretsRequest, context: Context
    ) -> secrets_pb2.RotateSecretsResponse:
        async with self._database.begin() as connection:
            # Several transactions follow.
            await self._outbox.record(connection, "secrets/keys", finished=False)
        done = await rotate(self._keys, self._secrets.seal_all)
        keys = await self._database.read(self._data_keys)
        return secrets_pb2.RotateSecretsResponse(
            key_id=done.key_id,
            master_key_id=next(key.master_key_id for key in keys if key.key_id == done.key_id),
            sealed=done.sealed,
            unreadable=done.unreadable,
            older_keys=done.older_keys,
        )

    async def _data_keys(self, connection: AsyncConnection) -> list[secrets_pb2.DataKey]:
        return await key_messages(connection, self._keys, await sealed_addresses.count_by_key(connection))


@dataclass(frozen=True, slots=True)
class _ResealedBatch:
    """What `_reseal` did with one batch."""

    last_id: str
    """Where the next batch begins; empty after the last one."""
    sealed: int
    unreadable: int


async def _reseal(connection: AsyncConnection, after: str, keys: DataKeys) -> _ResealedBatch:
    """Seal addresses with the current key: those under other keys, and those that an older release stored in the clear.

    Args:
        connection: of the caller's transaction.
        after: the camera behind which to begin.
        keys: seal and open.
    """
    current = (await keys.current(connection)).key_id
    other_key = or_(secrets.c.key_id.is_(None), secrets.c.key_id != current)
    found = store.camera_rows().where(cameras.c.camera_id > after, other_key).order_by(cameras.c.camera_id)
    camera_ids = [row.camera_id for row in await connection.execute(found.limit(RESEAL_BATCH))]
    await store.lock_cameras(connection, camera_ids)
    those = store.camera_rows().where(cameras.c.camera_id.in_(camera_ids), other_key)
    rows = (await connection.execute(those)).mappings().all()
    sealed = unreadable = 0
    for row in rows:
        url = (await store.camera_of_row(connection, dict(row), keys)).stream_url
        if sources.has_mask(url):
            unreadable += 1
        elif sources.masked(url) != url:
            await _reseal_one(connection, row, url, keys)
            sealed += 1
    return _ResealedBatch(camera_ids[-1] if len(camera_ids) == RESEAL_BATCH else "", sealed, unreadable)


async def _reseal_one(connection: AsyncConnection, row: Mapping[str, Any], url: str, keys: DataKeys) -> None:
    # The migration has given a secret's id to a camera whose address is still in the clear.
    camera_id, secret_id = row["camera_id"], row["secret_id"] or sealed_addresses.new_secret_id(url)
    await sealed_addresses.put(connection, keys, secret_id, camera_id, url)
    if row["key_id"] is None:
        changes = {"stream_url": sources.masked(url), "secret_id": secret_id}
        await connection.execute(update(cameras).where(cameras.c.camera_id == camera_id).values(changes))
