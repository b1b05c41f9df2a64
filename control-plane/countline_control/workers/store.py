"""SQL of workers. Each function works inside the caller's transaction."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.times import to_datetime
from countline_control.workers import messages
from countline_control.workers.domain import AssignmentCause, FinishedFile, Holder, StoredWorker
from countline_control.workers.tables import assignments, finished, workers


def _worker(row: Mapping[str, Any]) -> StoredWorker:
    times = {name: row[name].timestamp() for name in ("connected_at", "reported_at")}
    return StoredWorker(**{**row, **times})


async def all_workers(connection: AsyncConnection) -> list[StoredWorker]:
    """Return every worker that is not forgotten."""
    return [_worker(dict(row)) for row in (await connection.execute(select(workers))).mappings()]


async def save_worker(connection: AsyncConnection, worker: StoredWorker) -> None:
    """Add or replace a worker."""
    values: dict[str, Any] = {
        "instance": worker.instance,
        "backend": worker.backend,
        "capacity": worker.capacity,
        "version": worker.version,
        "connected_at": to_datetime(worker.connected_at),
        "reported_at": to_datetime(worker.reported_at),
    }
    statement = upsert(workers).values(worker_id=worker.worker_id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["worker_id"], set_=values))


async def forget_workers(connection: AsyncConnection, worker_ids: set[str]) -> None:
    """Delete workers."""
    await connection.execute(delete(workers).where(workers.c.worker_id.in_(worker_ids)))


async def all_held(connection: AsyncConnection) -> dict[str, Holder]:
    """Return the holder of each camera that has one."""
    query = select(assignments).where(assignments.c.worker_id.is_not(None))
    rows = (await connection.execute(query)).mappings()
    return {row["camera_id"]: _holder(dict(row)) for row in rows}


def _holder(row: Mapping[str, Any]) -> Holder:
    return Holder(
        row["worker_id"],
        row["instance"],
        row["epoch"],
        # The records of a file that is played once are the same each time, so its assignment has no time.
        row["assigned_at"].timestamp() if row["epoch"] else None,
        AssignmentCause(row["cause"] or ""),
        row["former_worker_id"] or "",
    )


async def give(connection: AsyncConnection, camera_id: str, wanted: Holder, *, once: bool, now: datetime) -> Holder:
    """Store that a worker holds a camera from now on; the epoch is the next one, or 0 for a file played once.

    Args:
        connection: of the caller's transaction.
        camera_id: of the camera.
        wanted: the new holder; its epoch and time are ignored.
        once: whether the camera is a file that is played once.
        now: when the camera is given.
    """
    step = 0 if once else 1
    known = {
        "worker_id": wanted.worker_id,
        "instance": wanted.instance,
        "assigned_at": now,
        "cause": wanted.cause.value,
        "former_worker_id": wanted.former_worker_id,
    }
    statement = upsert(assignments).values(camera_id=camera_id, last_epoch=step, epoch=step, **known)
    next_epoch = assignments.c.last_epoch + step
    changes = {"last_epoch": next_epoch, "epoch": next_epoch if step else 0, **known}
    statement = statement.on_conflict_do_update(index_elements=["camera_id"], set_=changes)
    epoch = int(await connection.scalar(statement.returning(assignments.c.epoch)) or 0)
    return replace(wanted, epoch=epoch, assigned_at=now.timestamp() if epoch else None)


async def release(connection: AsyncConnection, camera_ids: set[str]) -> None:
    """Store that no worker holds the cameras; their epochs are kept."""
    changes = {"worker_id": None, "instance": None, "epoch": None}
    await connection.execute(update(assignments).where(assignments.c.camera_id.in_(camera_ids)).values(**changes))


async def all_finished(connection: AsyncConnection) -> dict[str, FinishedFile]:
    """Return the files that were played to their end, by camera."""
    rows = (await connection.execute(select(finished))).mappings()
    return {
        row["camera_id"]: FinishedFile(row["fingerprint"], messages.observation_from_json(row["status"]))
        for row in rows
    }


async def save_finished(connection: AsyncConnection, camera_id: str, done: FinishedFile, now: datetime) -> None:
    """Store that a file was played to its end."""
    values = {"fingerprint": done.fingerprint, "status": messages.observation_json(done.observed), "finished_at": now}
    statement = upsert(finished).values(camera_id=camera_id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["camera_id"], set_=values))


async def forget_finished(connection: AsyncConnection, camera_ids: set[str]) -> None:
    """Allow files to be played again: they changed, or their cameras are gone."""
    await connection.execute(delete(finished).where(finished.c.camera_id.in_(camera_ids)))
