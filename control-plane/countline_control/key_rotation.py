"""The rotation of a service's data keys, and the keys as messages."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import secrets_pb2
from countline_common.grpc.calls import current_principal
from countline_common.logs import get_logger
from countline_common.times import to_timestamp
from countline_control.data_keys import DataKeys

MOST_PASSES: Final = 3
"""A change that began before the rotation may still seal with an older key; the next pass finds its row."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many secrets were sealed, and how many could not be opened."""

    sealed: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did."""

    key_id: str
    """The new data key."""
    sealed: int
    unreadable: int
    older_keys: int
    """Older data keys that are still needed."""


async def rotate(keys: DataKeys, seal_all: Callable[[], Awaitable[Resealed]]) -> Rotation:
    """Make a new data key, seal every secret with it, and delete the data keys that no secret needs.

    Args:
        keys: of the service.
        seal_all: seals every secret that the newest key does not seal yet.

    Raises:
        ConflictError: a data key needs a master key that is not there; nothing is changed then.
    """
    key_id = await keys.begin_rotation()
    sealed = 0
    for _ in range(MOST_PASSES):
        found = await seal_all()
        sealed += found.sealed
        older = await keys.end_rotation(key_id)
        if not older:
            break
    _log.info("data_key.rotated", actor=current_principal().real_name, key_id=key_id, sealed=sealed, older_keys=older)
    return Rotation(key_id, sealed, found.unreadable, older)


async def key_messages(
    connection: AsyncConnection, keys: DataKeys, counts: Mapping[str, int]
) -> list[secrets_pb2.DataKey]:
    """Return the data keys as messages, the newest first.

    Args:
        connection: of the caller's transaction.
        keys: of the service.
        counts: secrets by data key.
    """
    return [
        secrets_pb2.DataKey(
            key_id=row["key_id"],
            master_key_id=row["master_key_id"],
            created_at=to_timestamp(row["created_at"].timestamp()),
            secrets=counts.get(row["key_id"], 0),
            lost=row["lost_at"] is not None,
        )
        for row in await keys.rows(connection)
    ]
