"""SQL of the addresses that hold a secret: sealed, in rows that events and cameras name by an id.

Each function works inside the caller's transaction.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_control.cameras import sources
from countline_control.cameras.tables import secrets
from countline_control.data_keys import DataKeys, Sealed


def new_secret_id(url: str) -> str:
    """Return an id for the secret that will hold this address; empty if the address holds none."""
    return uuid4().hex if sources.masked(url) != url else ""


async def put(connection: AsyncConnection, keys: DataKeys, secret_id: str, camera_id: str, url: str) -> None:
    """Seal an address, under the id of a new secret or in place of an older seal."""
    sealed = await keys.seal(connection, url, _place(camera_id))
    changing = {"key_id": sealed.key_id, "sealed": sealed.content}
    statement = upsert(secrets).values(secret_id=secret_id, camera_id=camera_id, **changing)
    await connection.execute(statement.on_conflict_do_update(index_elements=["secret_id"], set_=changing))


async def drop(connection: AsyncConnection, secret_id: str) -> None:
    """Delete a secret: the events that name it stay, without the address."""
    await connection.execute(delete(secrets).where(secrets.c.secret_id == secret_id))


async def opened(connection: AsyncConnection, keys: DataKeys, row: Mapping[str, Any]) -> str:
    """Return the whole address of a row of `store.camera_rows`.

    Raises:
        UnreadableSecretError: its key is lost, or it was changed or moved.
    """
    return await keys.unseal(connection, Sealed(row["key_id"], row["sealed"]), _place(row["camera_id"]))


def _place(camera_id: str) -> str:
    """The place to which an address is sealed. It keeps the column's first name: sealed values hold it."""
    return f"cameras.sealed_source_url:{camera_id}"


async def count_by_key(connection: AsyncConnection) -> dict[str, int]:
    """Return the number of sealed addresses, by data key."""
    query = select(secrets.c.key_id, func.count()).group_by(secrets.c.key_id)
    return {row[0]: row[1] for row in (await connection.execute(query)).all()}
