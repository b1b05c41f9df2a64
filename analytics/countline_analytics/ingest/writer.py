"""Writes records into the database, each batch in one transaction. Each event counts once, however often it arrives.

The writer copies crossings straight into their table. The copy fails as a whole if one of them exists; then the writer
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
from countline_analytics.ingest.records import CrossingRow, Record, VisitRow
from countline_analytics.ingest.trajectories import trajectory_arrays
from countline_analytics.instants import to_datetime, to_us
from countline_analytics.store.spans import CoveredSpan, cut_at_midnight, merge
from countline_analytics.store.sql import query

MINUTE_US: Final = 60_000_000
NO_FENCE_US: Final = 2**62

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
_SCORE_AND_EPOCH: Final = struct.Struct("!ifii").pack
_TRACK_SEQUENCE_FRAME: Final = struct.Struct("!iqiiiq").pack

Run = tuple[str, int, str]
"""Camera, epoch, run."""


@dataclass(frozen=True, slots=True)
class Written:
    """Changes of a batch."""

    crossings: int
    """Inserted rows, fenced ones included."""
    fenced: int
    """Crossings that this batch fenced, new and earlier ones."""
    duplicates: int
    """Crossings that existed already."""


class Fences:
    """The time from which events of an epoch are fenced. Files (epoch 0) neither fence nor are fenced."""

    def __init__(self, hand_overs: Iterable[tuple[str, int, int]]) -> None:
        """Take (camera, epoch, time in microseconds) of each hand-over."""
        self._by_camera: dict[str, list[tuple[int, int]]] = {}
        for camera_id, epoch, t_us in hand_overs:
            self._by_camera.setdefault(camera_id, []).append((epoch, t_us))

    def limit_us(self, camera_id: str, epoch: int) -> int:
        """Return the time after which events of this epoch are fenced."""
        later = [t_us for other, t_us in self._by_camera.get(camera_id, ()) if other > epoch > 0]
        return min(later, default=NO_FENCE_US)


class _Crossing(NamedTuple):
    """A crossing before insertion. A tuple, because a frozen dataclass takes three times as long to create."""

    record: Record
    row: CrossingRow
    fenced: bool

    @property
    def key(self) -> tuple[bytes, int]:
        return self.row.event_id, self.row.t_us


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
        self._changed: set[tuple[str, datetime]] = set()
        self._last_sequence = 0

    async def run(self) -> Written:
        self._last_sequence = before = int((await self._execute("lock_state")).scalar_one())
        await self._remember()
        newly_fenced = await self._fence_earlier()
        fences = await self._fences()
        given = self._crossings(fences)
        inserted = await self._insert_crossings(given)
        await self._insert_visits(fences)
        await self._insert_occupancy(fences)
        await self._insert_trajectories()
        await self._insert_coverage()
        await self._mark_changed()
        if self._last_sequence > before:
            await self._announce(before, inserted)
        return Written(
            crossings=len(inserted),
            fenced=newly_fenced + sum(crossing.fenced for crossing in inserted),
            duplicates=sum(len(record.crossings) for record in self._records) - len(inserted),
        )

    async def _execute(self, name: str, **parameters: Any) -> Any:
        return await self._connection.execute(query("ingest", name), parameters)

    async def _remember(self) -> None:
        """Store the cameras, lines and zones that the records name."""
        cameras = {record.camera_id: (record.site_id, record.time_zone) for record in self._records}
        await self._execute(
            "remember_cameras",
            camera_ids=list(cameras),
            site_ids=[site_id for site_id, _ in cameras.values()],
            time_zones=[time_zone for _, time_zone in cameras.values()],
        )
        lines = {(record.camera_id, row.line_id) for record in self._records for row in record.crossings}
        if lines:
            camera_ids, line_ids = zip(*sorted(lines), strict=True)
            await self._execute("remember_lines", camera_ids=list(camera_ids), line_ids=list(line_ids))
        zones = {(record.camera_id, visit.zone_id) for record in self._records for visit in record.visits}
        zones |= {(record.camera_id, sample.zone_id) for record in self._records for sample in record.occupancy}
        if zones:
            camera_ids, zone_ids = zip(*sorted(zones), strict=True)
            await self._execute("remember_zones", camera_ids=list(camera_ids), zone_ids=list(zone_ids))

    async def _fence_earlier(self) -> int:
        """Store new hand-overs and fence later events of older epochs; return the number of fenced crossings."""
        given = [(r.camera_id, r.epoch, r.hand_over_at_us) for r in self._records if r.hand_over_at_us is not None]
        if not given:
            return 0
        new = (await self._execute("add_hand_overs", **_hand_over_arrays(given))).all()
        if not new:
            return 0
        arrays = _hand_over_arrays([(row.camera_id, row.epoch, to_us(row.hand_over_at)) for row in new])
        fenced = (await self._execute("fence_crossings", **arrays, now=to_datetime(self._now_us))).all()
        await self._execute("fence_visits", **arrays)
        await self._execute("fence_occupancy", **arrays)
        self._changed.update((row.camera_id, row.bucket) for row in fenced)
        if fenced:
            # A sequence number without a row: followers of the crossings see that totals decreased and read them again.
            self._last_sequence += 1
        return len(fenced)

    async def _fences(self) -> Fences:
        camera_ids = sorted({record.camera_id for record in self._records})
        rows = await self._execute("read_hand_overs", camera_ids=camera_ids)
        return Fences((row.camera_id, row.epoch, to_us(row.hand_over_at)) for row in rows)

    def _crossings(self, fences: Fences) -> list[_Crossing]:
        """Return the crossings of the records, each once."""
        found: dict[tuple[bytes, int], _Crossing] = {}
        for record in self._records:
            limit_us = fences.limit_us(record.camera_id, record.epoch)
            for row in record.crossings:
                found.setdefault((row.event_id, row.t_us), _Crossing(record, row, row.t_us > limit_us))
        return list(found.values())

    async def _insert_crossings(self, given: list[_Crossing]) -> list[_Crossing]:
        if given and not await self._copy(COPY_CROSSINGS, self._crossing_stream(given)):
            known = await self._known("known_crossings", [crossing.key for crossing in given])
            given = [crossing for crossing in given if crossing.key not in known]
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

    async def _known(self, name: str, keys: Sequence[tuple[bytes, int]]) -> set[tuple[bytes, int]]:
        rows = await self._execute(
            name, event_ids=[event_id.hex() for event_id, _ in keys], times=[to_datetime(t_us) for _, t_us in keys]
        )
        return {(event_id.bytes, to_us(t)) for event_id, t in rows}

    async def _insert_visits(self, fences: Fences) -> None:
        found: dict[tuple[bytes, int], tuple[Record, VisitRow]] = {}
        for record in self._records:
            for row in record.visits:
                found.setdefault((row.event_id, row.t_us), (record, row))
        if not found or await self._copy(COPY_VISITS, _visit_stream(found.values(), fences)):
            return
        known = await self._known("known_visits", list(found))
        missing = [visit for key, visit in found.items() if key not in known]
        if missing:
            await self._copy(COPY_VISITS, _visit_stream(missing, fences), must=True)

    async def _insert_occupancy(self, fences: Fences) -> None:
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
            fenced=[row.t_us > fences.limit_us(record.camera_id, record.epoch) for record, row in samples],
        )

    async def _insert_trajectories(self) -> None:
        rows = [(record, row) for record in self._records for row in record.trajectories]
        if rows:
            await self._execute("add_trajectories", **trajectory_arrays(rows))

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

    async def _mark_changed(self) -> None:
        if self._changed:
            camera_ids, buckets = zip(*sorted(self._changed), strict=True)
            await self._execute("mark_changed", camera_ids=list(camera_ids), buckets=list(buckets))

    async def _announce(self, before: int, inserted: list[_Crossing]) -> None:
        await self._execute("advance_state", last_sequence=self._last_sequence)
        since_us = min((crossing.row.t_us for crossing in inserted if not crossing.fenced), default=self._now_us)
        payload = {"after": before, "last": self._last_sequence, "since_us": since_us}
        await self._execute("announce", payload=json.dumps(payload))


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


def _visit_stream(visits: Iterable[tuple[Record, VisitRow]], fences: Fences) -> bytes:
    return encode.stream((_encode_visit(record, row, fences) for record, row in visits), VISIT_COLUMNS)


def _encode_visit(record: Record, row: VisitRow, fences: Fences) -> tuple[bytes, ...]:
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
        encode.boolean(row.t_us > fences.limit_us(record.camera_id, record.epoch)),
        encode.boolean(row.born_inside),
        encode.boolean(row.lost_inside),
        encode.boolean(row.stitched),
        encode.boolean(row.queue),
    )


def _hand_over_arrays(hand_overs: Sequence[tuple[str, int, int]]) -> dict[str, list[Any]]:
    return {
        "camera_ids": [camera_id for camera_id, _, _ in hand_overs],
        "epochs": [epoch for _, epoch, _ in hand_overs],
        "times": [to_datetime(t_us) for _, _, t_us in hand_overs],
    }


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
