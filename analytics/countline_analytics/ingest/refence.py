"""Computes the fences of cameras again from the hand-overs that are kept."""

import time
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from countline_analytics.ingest.fencing import Correction, Fencing
from countline_analytics.ingest.writer import announce, mark_changed
from countline_analytics.store.sql import query


@dataclass(slots=True)
class Refenced:
    """What changed."""

    cameras: int = 0
    fenced: int = 0
    """Crossings that count no longer."""
    restored: int = 0
    """Crossings that count again."""
    corrections: list[Correction] = field(default_factory=list)


async def refence(engine: AsyncEngine, camera_id: str = "", *, only_outdated: bool = False) -> Refenced:
    """Judge every stored hand-over again, and mark all events accordingly. Each camera is one transaction.

    Args:
        engine: connects to the analytics database.
        camera_id: one camera; empty for all.
        only_outdated: leave out cameras whose hand-overs would be judged as they are.
    """
    async with engine.connect() as connection:
        listed = (await connection.execute(query("ingest", "cameras_with_epochs"))).scalars().all()
    result = Refenced()
    for each in listed:
        if camera_id in {"", each}:
            async with engine.begin() as connection:
                await _refence_camera(connection, each, result, only_outdated=only_outdated)
    return result


async def _refence_camera(
    connection: AsyncConnection, camera_id: str, result: Refenced, *, only_outdated: bool
) -> None:
    before = int((await connection.execute(query("ingest", "lock_state"))).scalar_one())
    now_us = round(time.time() * 1e6)
    fencing = Fencing(connection, now_us)
    await fencing.load([camera_id])
    if only_outdated and not fencing.is_outdated():
        return
    await fencing.decide_again()
    changes = fencing.changes
    await mark_changed(connection, changes.buckets)
    if changes.buckets:
        await announce(connection, before, before + 1, now_us)
    result.cameras += 1
    result.fenced += changes.fenced
    result.restored += changes.restored
    result.corrections += changes.corrections
