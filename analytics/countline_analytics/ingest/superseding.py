"""Fences the runs over a file that a run with a later version of the counting rule supersedes.

It runs inside the writer's transaction: the first rows of the new run become visible together with the fences, so a
query never counts a file twice, and never counts half of it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_analytics.ingest.records import Record
from countline_analytics.instants import to_datetime
from countline_analytics.store.sql import query

FileRun = tuple[str, str]
"""Camera and run."""


class Superseding:
    """The runs over files of one batch.

    Args:
        connection: of the transaction; it holds the lock of the writer.
        now_us: time of writing.
    """

    def __init__(self, connection: AsyncConnection, now_us: int) -> None:
        self._connection = connection
        self._now = to_datetime(now_us)
        self._superseded: set[FileRun] = set()
        self.fenced = 0
        """Crossings that count no longer."""
        self.buckets: set[tuple[str, datetime]] = set()
        """Camera and minute of these crossings."""

    async def take(self, records: Sequence[Record]) -> None:
        """Store the runs of records, and fence the events of the runs that they supersede."""
        begun = {(r.camera_id, r.run): (r.recording, r.rule_version) for r in records if r.recording and r.epoch == 0}
        if not begun:
            return
        cameras = sorted({camera_id for camera_id, _ in begun})
        await self._execute(
            "put_file_runs",
            now=self._now,
            **_arrays(begun),
            recordings=[recording for recording, _ in begun.values()],
            rule_versions=[version for _, version in begun.values()],
        )
        old = [(row.camera_id, row.run) for row in await self._execute("supersede_runs", camera_ids=cameras)]
        if old:
            await self._fence(old)
        rows = await self._execute("superseded_runs", camera_ids=cameras)
        self._superseded = {(row.camera_id, row.run) for row in rows}

    def is_superseded(self, record: Record) -> bool:
        """Whether the events of a record are fenced, because its run is superseded."""
        return record.epoch == 0 and (record.camera_id, record.run) in self._superseded

    async def _fence(self, runs: Sequence[FileRun]) -> None:
        await self._execute("no_statement_timeout")
        await self._execute("no_decompression_limit")
        rows = (await self._execute("fence_crossings_of_runs", now=self._now, **_arrays(runs))).all()
        await self._execute("fence_visits_of_runs", **_arrays(runs))
        await self._execute("fence_occupancy_of_runs", **_arrays(runs))
        self.fenced += len(rows)
        self.buckets |= {(row.camera_id, row.bucket) for row in rows}

    async def _execute(self, name: str, **parameters: Any) -> Any:
        return await self._connection.execute(query("ingest", name), parameters)


def _arrays(runs: Sequence[FileRun] | dict[FileRun, Any]) -> dict[str, list[str]]:
    return {"camera_ids": [camera_id for camera_id, _ in runs], "runs": [run for _, run in runs]}
