"""Encrypts the addresses of cameras, and the gRPC service that rotates the keys."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import secrets_pb2, secrets_pb2_grpc
from countline_common.data.outbox import Outbox, OutboxTrail
from countline_common.grpc.calls import Context
from countline_common.grpc.server import Service
from countline_common.logs import get_logger
from countline_control.cameras import store
from countline_control.cameras.tables import cameras
from countline_control.data_keys import DataKeys
from countline_control.database import Database
from countline_control.key_rotation import Resealed, key_messages, rotate

NAME: Final = "countline.v1.SecretService"

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
                batch = await store.reseal_cameras(connection, after, self._keys)
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
        return await key_messages(connection, self._keys, await store.sealed_addresses(connection))
