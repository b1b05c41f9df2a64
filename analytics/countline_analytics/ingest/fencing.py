"""Stores hand-overs, and marks the events that they fence or restore. Runs inside the caller's transaction.

No event is deleted: a fenced one is kept and not counted, so that it counts again once its fence moves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_analytics.ingest.hand_overs import (
    Fences,
    Judged,
    MovedFence,
    ReportedHandOver,
    Sighting,
    all_fences,
    judge,
    moved,
    with_hand_over,
)
from countline_analytics.ingest.records import Record
from countline_analytics.instants import to_datetime, to_us
from countline_analytics.store.sql import query


class Correction(NamedTuple):
    """A decision about a hand-over that differs from the last one."""

    camera_id: str
    epoch: int
    reported_at: datetime
    hand_over_at: datetime
    fault: str
    """Empty if the reported time is right after all."""


@dataclass(slots=True)
class FenceChanges:
    """What new hand-overs changed."""

    fenced: int = 0
    """Crossings that count no longer."""
    restored: int = 0
    """Crossings that count again."""
    buckets: set[tuple[str, datetime]] = field(default_factory=set)
    """Camera and minute of these crossings."""
    corrections: list[Correction] = field(default_factory=list)


Known = dict[str, dict[int, ReportedHandOver]]
"""Hand-overs by camera and epoch."""


class Fencing:
    """The hand-overs of some cameras in one transaction.

    Args:
        connection: of the transaction; it holds the lock of the writer.
        now_us: time of writing.
    """

    def __init__(self, connection: AsyncConnection, now_us: int) -> None:
        self._connection = connection
        self._now_us = now_us
        self._known: Known = {}
        self._stored: dict[tuple[str, int], tuple[int, str]] = {}
        self.changes = FenceChanges()

    async def load(self, camera_ids: Iterable[str]) -> Fences:
        """Read the hand-overs of cameras; return their fences."""
        rows = (await self._execute("read_hand_overs", camera_ids=sorted(camera_ids))).all()
        for row in rows:
            self._known.setdefault(row.camera_id, {})[row.epoch] = _hand_over(row)
            self._stored[row.camera_id, row.epoch] = (to_us(row.hand_over_at), row.fault)
        return self._stored_fences()

    async def take(self, records: Sequence[Record]) -> Fences:
        """Store the hand-overs of records and move the fences; return the fences of all loaded cameras."""
        before = self._stored_fences()
        given = [record for record in records if record.hand_over_at_us is not None and record.epoch > 0]
        if not given:
            return before
        for record in given:
            known = self._known.get(record.camera_id, {})
            new = await self._reported(record, records)
            self._known[record.camera_id] = with_hand_over(known, new)
        cameras = {record.camera_id for record in given}
        for camera_id in cameras:
            await self._decide(camera_id)
        after = self._stored_fences()
        await self._mark([fence for camera_id in cameras for fence in moved(camera_id, before, after)])
        return after

    async def decide_again(self) -> None:
        """Judge every loaded hand-over by what is kept, and mark all events of these cameras anew."""
        for camera_id in self._known:
            await self._decide(camera_id)
        fences = self._stored_fences()
        await self._mark([fence for camera_id in self._known for fence in all_fences(camera_id, fences)])

    def is_outdated(self) -> bool:
        """Whether a loaded hand-over would be judged differently now."""
        return any(
            self._stored.get((camera_id, each.epoch)) != (each.t_us, each.reason)
            for camera_id, known in self._known.items()
            for each in judge(known.values())
        )

    def _stored_fences(self) -> Fences:
        return Fences((camera_id, epoch, t_us) for (camera_id, epoch), (t_us, _) in self._stored.items())

    async def _reported(self, record: Record, records: Sequence[Record]) -> ReportedHandOver:
        """Return the hand-over of a record with what is known of the epochs before it."""
        assert record.hand_over_at_us is not None
        seen = [
            Sighting(row.t_us, self._now_us if other.received_at_us is None else other.received_at_us)
            for other in records
            if other.camera_id == record.camera_id and 0 < other.epoch < record.epoch
            for row in other.crossings
        ]
        rows = await self._execute("crossings_before", camera_id=record.camera_id, epoch=record.epoch)
        seen += [Sighting(to_us(row.seen_at), to_us(row.changed_at)) for row in rows]
        return ReportedHandOver(
            epoch=record.epoch,
            reported_us=record.hand_over_at_us,
            received_us=self._now_us if record.received_at_us is None else record.received_at_us,
            written_us=self._now_us,
            assigned_us=record.assigned_at_us,
            before=max(seen, default=None),
            first_us=min(seen).t_us if seen else None,
        )

    async def _decide(self, camera_id: str) -> None:
        """Judge the hand-overs of a camera; store the decisions that are new."""
        known = self._known[camera_id]
        for each in judge(known.values()):
            key = (camera_id, each.epoch)
            if self._stored.get(key) == (each.t_us, each.reason):
                continue
            if each.reason or self._stored.get(key, (0, ""))[1]:
                await self._audit(camera_id, known[each.epoch], each)
            await self._execute("put_hand_over", **_parameters(camera_id, known[each.epoch], each))
            self._stored[key] = (each.t_us, each.reason)

    async def _audit(self, camera_id: str, hand_over: ReportedHandOver, judged: Judged) -> None:
        correction = Correction(
            camera_id,
            judged.epoch,
            to_datetime(hand_over.reported_us),
            to_datetime(judged.t_us),
            judged.reason,
        )
        await self._execute("audit_hand_over", decided_at=to_datetime(self._now_us), **correction._asdict())
        self.changes.corrections.append(correction)

    async def _mark(self, fences: Sequence[MovedFence]) -> None:
        if not fences:
            return
        await self._execute("no_statement_timeout")
        await self._execute("no_decompression_limit")
        arrays = _fence_arrays(fences)
        rows = (await self._execute("move_crossings", **arrays, now=to_datetime(self._now_us))).all()
        await self._execute("move_visits", **arrays)
        await self._execute("move_occupancy", **arrays)
        fenced = sum(row.fenced for row in rows)
        self.changes.fenced += fenced
        self.changes.restored += len(rows) - fenced
        self.changes.buckets |= {(row.camera_id, row.bucket) for row in rows}

    async def _execute(self, name: str, **parameters: Any) -> Any:
        return await self._connection.execute(query("ingest", name), parameters)


def _hand_over(row: Any) -> ReportedHandOver:
    before = None if row.before_t is None else Sighting(to_us(row.before_t), to_us(row.before_written_at))
    return ReportedHandOver(
        epoch=row.epoch,
        reported_us=to_us(row.reported_at),
        received_us=to_us(row.received_at),
        written_us=to_us(row.written_at),
        assigned_us=None if row.assigned_at is None else to_us(row.assigned_at),
        before=before,
        first_us=None if row.first_t is None else to_us(row.first_t),
    )


def _parameters(camera_id: str, hand_over: ReportedHandOver, judged: Judged) -> Mapping[str, Any]:
    before = hand_over.before
    return {
        "camera_id": camera_id,
        "epoch": judged.epoch,
        "hand_over_at": to_datetime(judged.t_us),
        "fault": judged.reason,
        "reported_at": to_datetime(hand_over.reported_us),
        "received_at": to_datetime(hand_over.received_us),
        "written_at": to_datetime(hand_over.written_us),
        "assigned_at": None if hand_over.assigned_us is None else to_datetime(hand_over.assigned_us),
        "before_t": None if before is None else to_datetime(before.t_us),
        "before_written_at": None if before is None else to_datetime(before.written_us),
        "first_t": None if hand_over.first_us is None else to_datetime(hand_over.first_us),
    }


def _fence_arrays(fences: Sequence[MovedFence]) -> dict[str, list[Any]]:
    return {
        "camera_ids": [fence.camera_id for fence in fences],
        "first_epochs": [fence.first_epoch for fence in fences],
        "last_epochs": [fence.last_epoch for fence in fences],
        "limits": [to_datetime(fence.limit_us) for fence in fences],
        "sinces": [to_datetime(fence.since_us) for fence in fences],
    }
