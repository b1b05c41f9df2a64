"""SQL of cordons and of what drains have moved. Each function works inside the caller's transaction."""

from collections.abc import Iterable

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.times import to_datetime
from countline_control.workers.domain import CameraMove, Cordon
from countline_control.workers.tables import cordons, moves


async def all_cordons(connection: AsyncConnection) -> list[Cordon]:
    """Return every cordon."""
    rows = (await connection.execute(select(cordons))).mappings()
    return [
        Cordon(
            row["worker_id"],
            row["drains"],
            row["reason"],
            row["by"],
            row["since"].timestamp(),
            row["at_once"],
            row["drained_at"].timestamp() if row["drained_at"] else None,
        )
        for row in rows
    ]


async def save_cordon(connection: AsyncConnection, cordon: Cordon) -> None:
    """Add or replace the cordon of a worker."""
    values = {
        "drains": cordon.drains,
        "at_once": cordon.at_once,
        "reason": cordon.reason,
        "by": cordon.by,
        "since": to_datetime(cordon.since),
        "drained_at": None if cordon.drained_at is None else to_datetime(cordon.drained_at),
    }
    statement = upsert(cordons).values(worker_id=cordon.worker_id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["worker_id"], set_=values))


async def delete_cordon(connection: AsyncConnection, worker_id: str) -> None:
    """Delete the cordon of a worker."""
    await connection.execute(delete(cordons).where(cordons.c.worker_id == worker_id))


async def all_moves(connection: AsyncConnection) -> list[CameraMove]:
    """Return what the last drain of each cordoned worker has moved."""
    rows = (await connection.execute(select(moves))).mappings()
    return [
        CameraMove(
            row["camera_id"],
            row["former_worker_id"],
            row["worker_id"],
            row["epoch"],
            row["moved_at"].timestamp(),
            row["counting_at"].timestamp() if row["counting_at"] else None,
        )
        for row in rows
    ]


async def save_moves(connection: AsyncConnection, moved: Iterable[CameraMove]) -> None:
    """Add or replace moves of drains."""
    for move in moved:
        values = {
            "worker_id": move.worker_id,
            "epoch": move.epoch,
            "moved_at": to_datetime(move.moved_at),
            "counting_at": None,
        }
        statement = upsert(moves).values(former_worker_id=move.former_worker_id, camera_id=move.camera_id, **values)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["former_worker_id", "camera_id"], set_=values)
        )


async def complete_moves(connection: AsyncConnection, moved: Iterable[CameraMove]) -> None:
    """Store when the cameras of moves are counted again."""
    for move in moved:
        assert move.counting_at is not None, "a completed move"
        is_move = (moves.c.former_worker_id == move.former_worker_id) & (moves.c.camera_id == move.camera_id)
        await connection.execute(
            update(moves).where(is_move, moves.c.epoch == move.epoch).values(counting_at=to_datetime(move.counting_at))
        )


async def delete_moves(connection: AsyncConnection, worker_id: str) -> None:
    """Delete what drains of a worker have moved."""
    await connection.execute(delete(moves).where(moves.c.former_worker_id == worker_id))
