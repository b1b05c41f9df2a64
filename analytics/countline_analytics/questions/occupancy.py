"""QueryOccupancy: occupancy of zones in buckets.

An occupancy sample holds from its time until the next sample or until coverage ends: while a camera is down, its
occupancy is unknown. Entries and exits come from visits. A worker writes a visit when the visit has ended, so an object
that is still inside shows in `now` and not yet among the entries.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import counts_pb2
from countline_analytics.directory import KnownCamera
from countline_analytics.instants import to_datetime, to_proto, to_us, utc_now
from countline_analytics.questions.answers import Answer, Questions, answer_by_time_zone
from countline_analytics.questions.asked import asked_cameras, asked_span
from countline_analytics.questions.buckets import check_length, check_size
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.counts import LONG, read_coverage
from countline_analytics.questions.coverage import Interval, covered, shares
from countline_analytics.store.sql import query
from countline_common.site_zones import SiteZones

KNOWN_NOW_WITHIN: Final = timedelta(seconds=10)
"""`now` is known if the camera was processed this recently; a record takes a second or two to arrive."""


class CameraZone(NamedTuple):
    """One zone of one camera."""

    camera_id: str
    zone_id: str


@dataclass(slots=True)
class OccupancyCell:
    """Query rows of one zone in one bucket; None where there is no row."""

    level: Any = None
    entry: Any = None
    end: Any = None


@dataclass(frozen=True, slots=True)
class OccupancyQuestion:
    """A validated request."""

    zone_id: str
    start: datetime
    end: datetime
    size: str
    now: datetime
    by_name: bool
    """Whether the request names a camera. Then the answer holds its zones even if the camera was deleted."""


class OccupancyQueries(Questions):
    """Answers questions about zones."""

    async def query_occupancy(
        self, request: counts_pb2.QueryOccupancyRequest, caller: Caller
    ) -> counts_pb2.QueryOccupancyResponse:
        """Return occupancy, entries, exits and dwell times in buckets, each bucket with its coverage."""
        cameras = await asked_cameras(self._directory, caller, request.camera_id, zone_id=request.zone_id)
        question = _question(request, utc_now())
        buckets, zone_name = await answer_by_time_zone(
            self._engine,
            question.size,
            cameras,
            lambda connection, zones, of_zone: _Answer(connection, question, zones, of_zone).buckets(),
        )
        buckets.sort(key=lambda bucket: (bucket.camera_id, bucket.zone_id))
        return counts_pb2.QueryOccupancyResponse(buckets=buckets, bucket=question.size, time_zone=zone_name)


class _Answer(Answer[OccupancyQuestion]):
    """Builds the buckets of the cameras of one time zone."""

    def __init__(
        self, connection: AsyncConnection, question: OccupancyQuestion, zones: SiteZones, cameras: Sequence[KnownCamera]
    ) -> None:
        super().__init__(connection, question, zones, cameras)
        self._cells: dict[CameraZone, dict[int, OccupancyCell]] = defaultdict(lambda: defaultdict(OccupancyCell))

    async def buckets(self) -> list[counts_pb2.OccupancyBucket]:
        places = [CameraZone(c.camera_id, zone_id) for c in self._cameras for zone_id in self._zones(c, c.past_zones)]
        check_length(self._question.size, len(places) * (len(self._edges) - 1))
        coverage = await self._coverage()
        await self._read_levels(places, coverage)
        await self._read_visits()
        shown = self._shown()
        if len(shown) * len(self._edges) < LONG:
            return self._built(shown, coverage)
        return await asyncio.to_thread(self._built, shown, coverage)

    def _zones(self, camera: KnownCamera, past: Iterable[str]) -> list[str]:
        asked = self._question.zone_id
        return sorted(zone_id for zone_id in {*camera.zones, *past} if not asked or zone_id == asked)

    def _shown(self) -> list[CameraZone]:
        """Return the zones of the answer: current ones, ones that the request names, and ones with data."""
        places = {place for place, cells in self._cells.items() if any(map(_has_people, cells.values()))}
        for camera in self._cameras:
            gone = self._question.by_name and (self._question.zone_id or not camera.current)
            past = camera.past_zones if gone else ()
            places |= {CameraZone(camera.camera_id, zone_id) for zone_id in self._zones(camera, past)}
        return sorted(places)

    async def _coverage(self) -> dict[str, list[Interval]]:
        spans = await read_coverage(self._connection, self._camera_ids, self._edges[0], self._edges[-1])
        return {camera_id: covered(spans[camera_id]) for camera_id in self._camera_ids}

    async def _read_levels(self, places: Sequence[CameraZone], coverage: Mapping[str, Sequence[Interval]]) -> None:
        start, until = self._edges[0], min(self._edges[-1], self._question.now)
        spans = [
            (camera_id, max(span.start_us, to_us(start)), min(span.end_us, to_us(until)))
            for camera_id, of_camera in coverage.items()
            for span in of_camera
        ]
        spans = [span for span in spans if span[1] < span[2]]
        parameters = {
            "camera_ids": [place.camera_id for place in places],
            "zone_ids": [place.zone_id for place in places],
            "start": start,
            "until": until,
            "edges": [edge for edge in self._edges[:-1] if edge < until],
            "covered_ids": [camera_id for camera_id, _, _ in spans],
            "covered_from": [to_datetime(start_us) for _, start_us, _ in spans],
            "covered_until": [to_datetime(end_us) for _, _, end_us in spans],
        }
        if places and spans:
            for row in await self._connection.execute(query("zones", "occupancy"), parameters):
                self._cells[CameraZone(row.camera_id, row.zone_id)][row.n - 1].level = row

    async def _read_visits(self) -> None:
        parameters = {
            "camera_ids": self._camera_ids,
            "zone_id": self._question.zone_id,
            "start": self._edges[0],
            "end": self._edges[-1],
            "edges": self._edges[:-1],
        }
        for row in await self._connection.execute(query("zones", "visits_by_entry"), parameters):
            self._cells[CameraZone(row.camera_id, row.zone_id)][row.n - 1].entry = row
        for row in await self._connection.execute(query("zones", "visits_by_end"), parameters):
            self._cells[CameraZone(row.camera_id, row.zone_id)][row.n - 1].end = row

    def _built(
        self, places: Sequence[CameraZone], coverage: Mapping[str, Sequence[Interval]]
    ) -> list[counts_pb2.OccupancyBucket]:
        now_us = to_us(self._question.now)
        spans = [Interval(to_us(a), to_us(b)) for a, b in zip(self._edges, self._edges[1:], strict=False)]
        share = {camera_id: shares(of_camera, spans, now_us) for camera_id, of_camera in coverage.items()}
        fresh_us = now_us - KNOWN_NOW_WITHIN // timedelta(microseconds=1)
        watched = {
            camera_id for camera_id, of_camera in coverage.items() if any(s.end_us > fresh_us for s in of_camera)
        }
        return [
            self._bucket(place, n, share[place.camera_id][n], watched=place.camera_id in watched)
            for place in places
            for n in range(len(spans))
        ]

    def _bucket(self, place: CameraZone, n: int, coverage: float, *, watched: bool) -> counts_pb2.OccupancyBucket:
        start, end = self._edges[n], self._edges[n + 1]
        cell = self._cells.get(place, {}).get(n) or OccupancyCell()
        bucket = counts_pb2.OccupancyBucket(
            start=to_proto(start),
            end=to_proto(end),
            camera_id=place.camera_id,
            zone_id=place.zone_id,
            coverage=coverage,
            time_zone=self._zone_names[n],
        )
        if cell.level is not None:
            bucket.min_count, bucket.max_count = cell.level.least, cell.level.most
            bucket.mean_count = round(cell.level.mean, 6)
            if watched and start <= self._question.now < end:
                bucket.now_count = cell.level.last
        if cell.entry is not None:
            bucket.entry_count, bucket.born_count = cell.entry.entries, cell.entry.born
        if cell.end is not None:
            bucket.exit_count, bucket.lost_count = cell.end.exits, cell.end.lost
            bucket.mean_dwell_s, bucket.max_dwell_s = round(cell.end.mean_dwell_s, 6), cell.end.max_dwell_s
        return bucket


def _has_people(cell: OccupancyCell) -> bool:
    """Whether the zone held an object. A removed zone is empty from its removal on."""
    return cell.entry is not None or cell.end is not None or (cell.level is not None and cell.level.most > 0)


def _question(request: counts_pb2.QueryOccupancyRequest, now: datetime) -> OccupancyQuestion:
    start, end = asked_span(request, now)
    size = check_size(request.bucket or "1h")
    return OccupancyQuestion(request.zone_id, start, end, size, now, by_name=bool(request.camera_id))
