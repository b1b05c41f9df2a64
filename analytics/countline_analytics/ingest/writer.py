"""Writes records into the database, each batch in one transaction.

Each event counts once, however often it arrives and whatever its time: `event_ids` has the id of every event. The
writer copies the ids of a batch into that table. The copy fails as a whole if one of them exists; then the writer
queries which ones exist and copies the others. No other writer can interfere: a writer holds the row of `ingest_state`,
which also makes sequence numbers appear in order and without gaps.
"""

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

from psycopg import AsyncConnection, errors
from sqlalchemy.ext.asyncio import AsyncConnection as SqlConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from countline_analytics.ingest import copy_format as encode
from countline_analytics.ingest.fencing import Correction, Fencing
from countline_analytics.ingest.hand_overs import NEVER_US, Fences
from countline_analytics.ingest.records import CrossingRow, Record, VisitRow
from countline_analytics.ingest.superseding import Superseding
from countline_analytics.ingest.trajectories import TrajectoryRow, trajectory_arrays
from countline_analytics.instants import to_datetime, to_us
from countline_analytics.store.spans import CoveredSpan, cut_at_midnight, merge
from countline_analytics.store.sql import query

MINUTE_US: Final = 60_000_000

COPY_IDS: Final[LiteralString] = "COPY analytics.event_ids (event_id, kind, t) FROM STDIN (FORMAT binary)"
ID_COLUMNS: Final = 3
CROSSING, VISIT, TRAJECTORY = b"c", b"v", b"t"
"""Kinds of events in `event_ids`."""
COPY_CROSSINGS: Final[LiteralString] = """
COPY analytics.crossings (
    event_id, t, decided_at, camera_id, line_id, line_version, direction, class_name, score,
    epoch, run, track, sequence, frame, stitched, fenced, ingest_sequence, changed_at,
    speed_m_per_s, heading_deg
) FROM STDIN (FORMAT binary)
"""
CROSSING_COLUMNS: Final = 20
COPY_VISITS: Final[LiteralString] = """
COPY analytics.visits (
    event_id, t, entered_at, dwell_s, decided_at, camera_id, zone_id, zone_version, class_name,
    epoch, run, track, sequence, fenced, born_inside, lost_inside, stitched, queue
) FROM STDIN (FORMAT binary)
"""
VISIT_COLUMNS: Final = 18

# Packs neighbouring fixed-size columns together, each with its length: a call a column costs a tenth of the speed.
_ID_AND_TIMES: Final = struct.Struct("!i16siqiq").pack
_ID_AND_KIND: Final = struct.Struct("!i16sic").pack
_SCORE_AND_EPOCH: Final = struct.Struct("!ifii").pack
_TRACK_SEQUENCE_FRAME: Final = struct.Struct("!iqiiiq").pack

Run = tuple[str, int, str]
"""Camera, epoch, run."""
Key = tuple[bytes, bytes]
"""Id and kind of an event."""


@dataclass(frozen=True, slots=True)
class Written:
    """Changes of a batch."""

    crossings: int
    """Inserted rows, fenced ones included."""
    fenced: int
    """Crossings that this batch fenced, new and earlier ones."""
    duplicates: int
    """Crossings that existed already."""
    restored: int = 0
    """Crossings that count again, because a hand-over was wrong."""
    corrections: Sequence[Correction] = ()
    """Hand-overs that were judged anew."""


class _Crossing(NamedTuple):
    """A crossing before insertion. A tuple, because a frozen dataclass takes three times as long to create."""

    record: Record
    row: CrossingRow
    fenced: bool


class CountWriter:
    """Writes batches of records.

    Args:
        engine: connects to the analytics database.
        clock: Unix seconds, for the change time of rows.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock

    async def write(self, records: Sequence[Record]) -> Written:
        """Write a batch and commit it.

        Raises:
            psycopg.Error, sqlalchemy.exc.DBAPIError: the database holds nothing of the batch.
        """
        async with self._engine.begin() as connection:
            return await _Transaction(connection, records, round(self._clock() * 1e6)).run()


class _Transaction:
    """One batch in one transaction."""

    def __init__(self, connection: SqlConnection, records: Sequence[Record], now_us: int) -> None:
        self._connection = connection
        self._records = records
        self._now_us = now_us
        self._fencing = Fencing(connection, now_us)
        self._superseding = Superseding(connection, now_us)
        self._fences = Fences(())
        self._changed: set[tuple[str, datetime]] = set()
        self._last_sequence = 0

    async def run(self) -> Written:
        self._last_sequence = before = int((await self._execute("lock_state")).scalar_one())
        await _remember(self._connection, self._records)
        await self._move_fences()
        new = await self._claim_ids()
        inserted = await self._insert_crossings(self._crossings(new))
        await self._insert_visits(new)
        await self._insert_occupancy()
        await self._insert_trajectories(new)
        await self._insert_coverage()
        await mark_changed(self._connection, self._changed)
        if self._last_sequence > before:
            since_us = min((each.row.t_us for each in inserted if not each.fenced), default=self._now_us)
            await announce(self._connection, before, self._last_sequence, since_us)
        changes = self._fencing.changes
        return Written(
            crossings=len(inserted),
            fenced=changes.fenced + self._superseding.fenced + sum(crossing.fenced for crossing in inserted),
            duplicates=sum(len(record.crossings) for record in self._records) - len(inserted),
            restored=changes.restored,
            corrections=changes.corrections,
        )

    async def _execute(self, name: str, **parameters: Any) -> Any:
        return await self._connection.execute(query("ingest", name), parameters)

    async def _move_fences(self) -> None:
        """Store new hand-overs and runs over files, and fence or restore the events that they concern."""
        await self._fencing.load({record.camera_id for record in self._records})
        self._fences = await self._fencing.take(self._records)
        await self._superseding.take(self._records)
        self._changed |= self._fencing.changes.buckets | self._superseding.buckets
        if self._changed:
            # A sequence number without a row: followers of the crossings see that totals changed and read them again.
            self._last_sequence += 1

    def _limit_us(self, record: Record) -> int:
        """Return the time after which events of a record are fenced."""
        if self._superseding.is_superseded(record):
            return -NEVER_US
        return self._fences.limit_us(record.camera_id, record.epoch)

    async def _claim_ids(self) -> set[Key]:
        """Store the ids of the events that are new; return these ids."""
        given: dict[Key, int] = {}
        for record in self._records:
            for crossing in record.crossings:
                given.setdefault((crossing.event_id, CROSSING), crossing.t_us)
            for visit in record.visits:
                given.setdefault((visit.event_id, VISIT), visit.t_us)
            for trajectory in record.trajectories:
                given.setdefault((trajectory.event_id, TRAJECTORY), trajectory.start_us)
        if given and not await self._copy(COPY_IDS, _id_stream(given)):
            for known in await self._known(given):
                del given[known]
            if given:
                await self._copy(COPY_IDS, _id_stream(given), must=True)
        return set(given)

    async def _known(self, given: Iterable[Key]) -> list[Key]:
        keys = list(given)
        rows = await self._execute(
            "known_ids",
            event_ids=[event_id.hex() for event_id, _ in keys],
            kinds=[kind.decode() for _, kind in keys],
        )
        return [(row.event_id.bytes, row.kind.encode()) for row in rows]

    def _crossings(self, new: set[Key]) -> list[_Crossing]:
        """Return the new crossings of the records, each once."""
        found: dict[bytes, _Crossing] = {}
        for record in self._records:
            limit_us = self._limit_us(record)
            for row in record.crossings:
                if (row.event_id, CROSSING) in new:
                    found.setdefault(row.event_id, _Crossing(record, row, row.t_us > limit_us))
        return list(found.values())

    async def _insert_crossings(self, given: list[_Crossing]) -> list[_Crossing]:
        if given:
            await self._copy(COPY_CROSSINGS, self._crossing_stream(given), must=True)
        self._last_sequence += sum(not crossing.fenced for crossing in given)
        self._changed.update(
            (camera_id, to_datetime(minute * MINUTE_US))
            for camera_id, minute in {(c.record.camera_id, c.row.t_us // MINUTE_US) for c in given}
        )
        return given

    def _crossing_stream(self, given: list[_Crossing]) -> bytes:
        rows = []
        sequence = self._last_sequence
        changed_at = encode.timestamptz(self._now_us)
        for crossing in given:
            sequence += not crossing.fenced
            number = encode.NULL if crossing.fenced else encode.int8(sequence)
            rows.append(_encode_crossing(crossing, number, changed_at))
        return encode.stream(rows, CROSSING_COLUMNS)

    async def _copy(self, statement: LiteralString, data: bytes, *, must: bool = False) -> bool:
        """Copy rows into their table. Return False, with nothing copied, if one of them exists."""
        raw = (await self._connection.get_raw_connection()).driver_connection
        assert isinstance(raw, AsyncConnection)
        try:
            async with raw.transaction(), raw.cursor() as cursor, cursor.copy(statement) as copy:
                await copy.write(data)
        except errors.UniqueViolation:
            if must:
                raise
            return False
        return True

    async def _insert_visits(self, new: set[Key]) -> None:
        found: dict[bytes, tuple[Record, VisitRow, bool]] = {}
        for record in self._records:
            limit_us = self._limit_us(record)
            for row in record.visits:
                if (row.event_id, VISIT) in new:
                    found.setdefault(row.event_id, (record, row, row.t_us > limit_us))
        if found:
            await self._copy(COPY_VISITS, _visit_stream(found.values()), must=True)

    async def _insert_occupancy(self) -> None:
        samples = [(record, row) for record in self._records for row in record.occupancy]
        if not samples:
            return
        await self._execute(
            "add_occupancy",
            camera_ids=[record.camera_id for record, _ in samples],
            zone_ids=[row.zone_id for _, row in samples],
            times=[to_datetime(row.t_us) for _, row in samples],
            zone_versions=[row.zone_version for _, row in samples],
            epochs=[record.epoch for record, _ in samples],
            runs=[record.run for record, _ in samples],
            counts=[row.objects for _, row in samples],
            fenced=[row.t_us > self._limit_us(record) for record, row in samples],
        )

    async def _insert_trajectories(self, new: set[Key]) -> None:
        found: dict[bytes, tuple[Record, TrajectoryRow]] = {}
        for record in self._records:
            for row in record.trajectories:
                if (row.event_id, TRAJECTORY) in new:
                    found.setdefault(row.event_id, (record, row))
        if found:
            await self._execute("add_trajectories", **trajectory_arrays(list(found.values())))

    async def _insert_coverage(self) -> None:
        """Merge the new spans with spans of the same run that they touch."""
        new: dict[Run, list[CoveredSpan]] = {}
        for record in self._records:
            if record.coverage:
                new.setdefault((record.camera_id, record.epoch, record.run), []).extend(record.coverage)
        new = {run: merge(spans) for run, spans in new.items()}
        if not new:
            return
        known = await self._touching(new)
        united = {
            run: [piece for span in merge([*spans, *known.get(run, ())]) for piece in cut_at_midnight(span)]
            for run, spans in new.items()
        }
        swallowed = {
            run: [span for span in spans if span.start_us not in {kept.start_us for kept in united[run]}]
            for run, spans in known.items()
        }
        if any(swallowed.values()):
            await self._execute("drop_coverage", **_starts(swallowed))
        await self._execute("put_coverage", **_spans(united), ends=_times(united, 1))

    async def _touching(self, new: Mapping[Run, list[CoveredSpan]]) -> dict[Run, list[CoveredSpan]]:
        rows = await self._execute("touching_coverage", **_spans(new))
        known: dict[Run, list[CoveredSpan]] = {}
        for row in rows:
            span = CoveredSpan(to_us(row.start_t), to_us(row.end_t), to_us(row.covered_until))
            known.setdefault((row.camera_id, row.epoch, row.run), []).append(span)
        return known


async def _remember(connection: SqlConnection, records: Sequence[Record]) -> None:
    """Store the cameras, lines and zones that the records name."""
    cameras = {record.camera_id: (record.site_id, record.time_zone) for record in records}
    given = {
        "camera_ids": list(cameras),
        "site_ids": [site_id for site_id, _ in cameras.values()],
        "time_zones": [time_zone for _, time_zone in cameras.values()],
    }
    await connection.execute(query("ingest", "remember_cameras"), given)
    lines = {(record.camera_id, row.line_id) for record in records for row in record.crossings}
    if lines:
        camera_ids, line_ids = zip(*sorted(lines), strict=True)
        given = {"camera_ids": list(camera_ids), "line_ids": list(line_ids)}
        await connection.execute(query("ingest", "remember_lines"), given)
    zones = {(record.camera_id, visit.zone_id) for record in records for visit in record.visits}
    zones |= {(record.camera_id, sample.zone_id) for record in records for sample in record.occupancy}
    if zones:
        camera_ids, zone_ids = zip(*sorted(zones), strict=True)
        given = {"camera_ids": list(camera_ids), "zone_ids": list(zone_ids)}
        await connection.execute(query("ingest", "remember_zones"), given)


async def mark_changed(connection: SqlConnection, buckets: Iterable[tuple[str, datetime]]) -> None:
    """Put minutes of cameras on the list of changed buckets."""
    changed = sorted(buckets)
    if changed:
        camera_ids, minutes = zip(*changed, strict=True)
        await connection.execute(
            query("ingest", "mark_changed"), {"camera_ids": list(camera_ids), "buckets": list(minutes)}
        )


async def announce(connection: SqlConnection, before: int, last: int, since_us: int) -> None:
    """Store the last sequence number and announce it to the API processes; no new crossing lies before `since_us`."""
    await connection.execute(query("ingest", "advance_state"), {"last_sequence": last})
    payload = json.dumps({"after": before, "last": last, "since_us": since_us})
    await connection.execute(query("ingest", "announce"), {"payload": payload})


def _id_stream(ids: Mapping[Key, int]) -> bytes:
    rows = ((_ID_AND_KIND(16, event_id, 1, kind), encode.timestamptz(t_us)) for (event_id, kind), t_us in ids.items())
    return encode.stream(rows, ID_COLUMNS)


def _encode_crossing(crossing: _Crossing, sequence: bytes, changed_at: bytes) -> tuple[bytes, ...]:
    row, record, epoch_us = crossing.row, crossing.record, encode.POSTGRES_EPOCH_US
    return (
        _ID_AND_TIMES(16, row.event_id, 8, row.t_us - epoch_us, 8, row.decided_at_us - epoch_us),
        encode.text(record.camera_id),
        encode.text(row.line_id),
        encode.int4(row.line_version),
        encode.text(row.direction),
        encode.text(row.class_name),
        _SCORE_AND_EPOCH(4, row.score, 4, record.epoch),
        encode.text(record.run),
        _TRACK_SEQUENCE_FRAME(8, row.track, 4, row.sequence, 8, row.frame),
        encode.boolean(row.stitched),
        encode.boolean(crossing.fenced),
        sequence,
        changed_at,
        _optional(row.speed_m_per_s),
        _optional(row.heading_deg),
    )


def _optional(value: float | None) -> bytes:
    return encode.NULL if value is None else encode.float4(value)


def _visit_stream(visits: Iterable[tuple[Record, VisitRow, bool]]) -> bytes:
    return encode.stream((_encode_visit(*visit) for visit in visits), VISIT_COLUMNS)


def _encode_visit(record: Record, row: VisitRow, fenced: bool) -> tuple[bytes, ...]:
    return (
        encode.uuid(row.event_id),
        encode.timestamptz(row.t_us),
        encode.timestamptz(row.entered_at_us),
        encode.float8(row.dwell_s),
        encode.timestamptz(row.decided_at_us),
        encode.text(record.camera_id),
        encode.text(row.zone_id),
        encode.int4(row.zone_version),
        encode.text(row.class_name),
        encode.int4(record.epoch),
        encode.text(record.run),
        encode.int8(row.track),
        encode.int4(row.sequence),
        encode.boolean(fenced),
        encode.boolean(row.born_inside),
        encode.boolean(row.lost_inside),
        encode.boolean(row.stitched),
        encode.boolean(row.queue),
    )


def _runs(spans: Mapping[Run, list[CoveredSpan]]) -> dict[str, list[Any]]:
    repeated = [run for run, of_run in spans.items() for _ in of_run]
    return {
        "camera_ids": [camera_id for camera_id, _, _ in repeated],
        "epochs": [epoch for _, epoch, _ in repeated],
        "runs": [run for _, _, run in repeated],
    }


def _times(spans: Mapping[Run, list[CoveredSpan]], field: int) -> list[datetime]:
    return [to_datetime(span[field]) for of_run in spans.values() for span in of_run]


def _starts(spans: Mapping[Run, list[CoveredSpan]]) -> dict[str, list[Any]]:
    return {**_runs(spans), "starts": _times(spans, 0)}


def _spans(spans: Mapping[Run, list[CoveredSpan]]) -> dict[str, list[Any]]:
    return {**_starts(spans), "covered_untils": _times(spans, 2)}
