"""QueryCounts and ListCrossings: crossings in buckets, and one by one."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import counts_pb2
from countline_analytics.directory import KnownCamera
from countline_analytics.instants import to_proto, to_us, utc_now
from countline_analytics.questions.answers import Answer, Questions, answer_by_time_zone
from countline_analytics.questions.asked import asked_cameras, asked_limits, asked_span
from countline_analytics.questions.buckets import check_length, check_size
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.coverage import Interval, StoredSpan, covered, merged, shares
from countline_analytics.questions.paging import read_page
from countline_analytics.store.spans import CoveredSpan
from countline_analytics.store.sql import query
from countline_common.errors import FieldProblem, InvalidInputError

GROUPS: Final = ("line", "direction", "class")
FINAL_AFTER: Final = timedelta(seconds=30)
"""A bucket stays provisional this long after its end: a decision takes up to 3 s, then the record travels."""
LATEST: Final = timedelta(days=1)
"""The oldest crossing that is shown as a latest one."""
LONG: Final = 1000
"""An answer with at least this many buckets is built in a thread, so that the event loop keeps running."""


class Group(NamedTuple):
    """One series of an answer."""

    camera_id: str
    line_id: str
    class_name: str
    direction: str


@dataclass(slots=True)
class CountCell:
    """Counts of one group in one bucket."""

    in_count: int = 0
    out_count: int = 0
    changed_at: datetime | None = None

    def add(self, direction: str, count: int, changed_at: datetime) -> None:
        if direction == "in":
            self.in_count += count
        else:
            self.out_count += count
        self.changed_at = changed_at if self.changed_at is None else max(self.changed_at, changed_at)


@dataclass(frozen=True, slots=True)
class CountQuestion:
    """A validated request."""

    line_id: str
    start: datetime
    end: datetime
    size: str
    groups: frozenset[str]
    now: datetime
    by_name: bool
    """Whether the request names a camera. Then the answer holds zeros even if the camera was deleted."""


class CountQueries(Questions):
    """Answers questions about counts."""

    async def query_counts(
        self, request: counts_pb2.QueryCountsRequest, caller: Caller
    ) -> counts_pb2.QueryCountsResponse:
        """Return crossings in buckets, zeros included, each bucket with its coverage and state."""
        cameras = await asked_cameras(self._directory, caller, request.camera_id, line_id=request.line_id)
        question = _question(request, utc_now())
        buckets, zone_name = await answer_by_time_zone(
            self._engine,
            question.size,
            cameras,
            lambda connection, zones, of_zone: _Answer(connection, question, zones, of_zone).buckets(),
        )
        buckets.sort(key=lambda bucket: bucket.camera_id)  # stable: the series of a camera keep their order
        return counts_pb2.QueryCountsResponse(buckets=buckets, bucket=question.size, time_zone=zone_name)

    async def list_crossings(
        self, request: counts_pb2.ListCrossingsRequest, caller: Caller
    ) -> counts_pb2.ListCrossingsResponse:
        """Return a page of crossings, newest first."""
        cameras = await asked_cameras(self._directory, caller, request.camera_id, line_id=request.line_id)
        rows, token = await read_page(
            self._engine,
            "list_crossings",
            request,
            camera_ids=[camera.camera_id for camera in cameras],
            line_id=request.line_id,
            **asked_limits(request),
        )
        return counts_pb2.ListCrossingsResponse(crossings=[_crossing(row) for row in rows], next_page_token=token)

    async def today(self, cameras: Sequence[KnownCamera]) -> list[counts_pb2.CountBucket]:
        """Return the crossings of the current day, by line, zeros included."""
        now = utc_now()
        moment = timedelta(microseconds=1)
        question = CountQuestion("", now - moment, now, "1d", frozenset({"line"}), now, by_name=False)
        buckets, _ = await answer_by_time_zone(
            self._engine,
            question.size,
            cameras,
            lambda connection, zones, of_zone: _Answer(connection, question, zones, of_zone).buckets(),
        )
        return buckets

    async def latest_crossings(self, cameras: Sequence[KnownCamera], limit: int) -> list[counts_pb2.CameraCrossing]:
        """Return the newest counted crossings of each camera, of the last day."""
        wanted = {
            "camera_ids": [camera.camera_id for camera in cameras],
            "since": utc_now() - LATEST,
            "limit": limit,
        }
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query("counts", "latest_crossings"), wanted)).mappings().all()
        return [_crossing(row) for row in rows]


class _Answer(Answer[CountQuestion]):
    """Builds the buckets of the cameras of one time zone."""

    async def buckets(self) -> list[counts_pb2.CountBucket]:
        cells = await self._cells()
        groups = self._groups(cells)
        length = len(groups) * (len(self._edges) - 1)
        check_length(self._question.size, length)
        coverage = await self._coverage()
        if length < LONG:
            return self._built(groups, cells, coverage)
        return await asyncio.to_thread(self._built, groups, cells, coverage)

    def _built(
        self,
        groups: Sequence[Group],
        cells: Mapping[Group, Mapping[int, CountCell]],
        coverage: Mapping[str, Sequence[float]],
    ) -> list[counts_pb2.CountBucket]:
        return [
            self._bucket(group, n, cells.get(group, {}).get(n, CountCell()), coverage[group.camera_id][n])
            for group in groups
            for n in range(len(self._edges) - 1)
        ]

    async def _cells(self) -> dict[Group, dict[int, CountCell]]:
        """Read counts by group and bucket number."""
        name = "counts_1m" if self._question.size == "1m" else "counts_15m"
        parameters = {
            "camera_ids": self._camera_ids,
            "line_id": self._question.line_id,
            "edges": self._edges[:-1],
            "start": self._edges[0],
            "end": self._edges[-1],
        }
        cells: dict[Group, dict[int, CountCell]] = defaultdict(lambda: defaultdict(CountCell))
        for row in await self._connection.execute(query("counts", name), parameters):
            group = self._group(row.camera_id, row.line_id, row.class_name, row.direction)
            cells[group][row.n - 1].add(row.direction, row.crossings, row.changed_at)
        return cells

    def _group(self, camera_id: str, line_id: str, class_name: str, direction: str) -> Group:
        by = self._question.groups
        return Group(
            camera_id,
            line_id if "line" in by else "",
            class_name if "class" in by else "",
            direction if "direction" in by else "",
        )

    def _groups(self, cells: Iterable[Group]) -> list[Group]:
        """Return the series of the answer: those with crossings, and every line and direction that exists."""
        groups = set(cells)
        for camera in self._cameras:
            classes = {group.class_name for group in groups if group.camera_id == camera.camera_id} or {""}
            groups |= {
                self._group(camera.camera_id, line_id, class_name, direction)
                for line_id in self._lines(camera)
                for class_name in classes
                for direction in ("in", "out")
            }
        return sorted(groups)

    def _lines(self, camera: KnownCamera) -> Iterable[str]:
        """Return the lines, or the one group of all lines, that the answer holds even without crossings."""
        if not camera.current and not self._question.by_name:
            return ()
        if "line" not in self._question.groups:
            return ("",)
        if self._question.line_id:
            return (self._question.line_id,)
        return camera.lines if camera.current else camera.past_lines

    async def _coverage(self) -> dict[str, list[float]]:
        """Read the coverage of each bucket, by camera."""
        now_us = to_us(self._question.now)
        buckets = [Interval(to_us(a), to_us(b)) for a, b in zip(self._edges, self._edges[1:], strict=False)]
        spans = await read_coverage(self._connection, self._camera_ids, self._edges[0], self._edges[-1])
        return {camera_id: shares(covered(spans[camera_id]), buckets, now_us) for camera_id in self._camera_ids}

    def _bucket(self, group: Group, n: int, cell: CountCell, coverage: float) -> counts_pb2.CountBucket:
        start, end = self._edges[n], self._edges[n + 1]
        return counts_pb2.CountBucket(
            start=to_proto(start),
            end=to_proto(end),
            camera_id=group.camera_id,
            line_id=group.line_id,
            class_name=group.class_name,
            direction=group.direction,
            in_count=cell.in_count,
            out_count=cell.out_count,
            coverage=coverage,
            state=_state(end, cell.changed_at, self._question.now),
            time_zone=self._zone_names[n],
        )


async def read_coverage(
    connection: AsyncConnection, camera_ids: Sequence[str], start: datetime, end: datetime
) -> dict[str, list[CoveredSpan]]:
    """Read when each camera was processed: merged spans, which may reach beyond `start` and `end`."""
    stored: dict[str, list[StoredSpan]] = {camera_id: [] for camera_id in camera_ids}
    hand_overs: dict[str, dict[int, int]] = {camera_id: {} for camera_id in camera_ids}
    parameters = {"camera_ids": list(camera_ids), "start": start, "end": end}
    for row in await connection.execute(query("counts", "coverage"), parameters):
        span = CoveredSpan(to_us(row.start_t), to_us(row.end_t), to_us(row.covered_until))
        stored[row.camera_id].append(StoredSpan(row.epoch, span))
    for row in await connection.execute(query("counts", "hand_overs"), {"camera_ids": list(camera_ids)}):
        hand_overs[row.camera_id][row.epoch] = to_us(row.hand_over_at)
    return {camera_id: merged(stored[camera_id], hand_overs[camera_id]) for camera_id in camera_ids}


def _question(request: counts_pb2.QueryCountsRequest, now: datetime) -> CountQuestion:
    start, end = asked_span(request, now)
    return CountQuestion(
        line_id=request.line_id,
        start=start,
        end=end,
        size=check_size(request.bucket or "1h"),
        groups=_groups_of(request.group_by),
        now=now,
        by_name=bool(request.camera_id),
    )


def _groups_of(text: str) -> frozenset[str]:
    groups = frozenset(part.strip() for part in (text or "line").split(",") if part.strip())
    unknown = groups - set(GROUPS)
    if unknown:
        known = ", ".join(GROUPS)
        raise InvalidInputError(
            f"cannot group by {', '.join(sorted(unknown))}", fields=(FieldProblem("group_by", f"any of {known}"),)
        )
    return groups


def _state(end: datetime, changed_at: datetime | None, now: datetime) -> counts_pb2.BucketState.ValueType:
    if now < end + FINAL_AFTER:
        return counts_pb2.BUCKET_STATE_PROVISIONAL
    if changed_at is not None and changed_at > end + FINAL_AFTER:
        return counts_pb2.BUCKET_STATE_CORRECTED
    return counts_pb2.BUCKET_STATE_FINAL


def _rounded(value: float | None) -> float | None:
    """Remove the digits that double precision adds to a single-precision number."""
    return None if value is None else round(value, 3)


def _crossing(row: Any) -> counts_pb2.CameraCrossing:
    return counts_pb2.CameraCrossing(
        camera_id=row["camera_id"],
        crossing_id=row["event_id"].hex,
        line_id=row["line_id"],
        line_version=row["line_version"],
        direction=row["direction"],
        class_name=row["class_name"],
        score=round(row["score"], 6),
        t=to_proto(row["t"]),
        decided_at=to_proto(row["decided_at"]),
        stitched=row["stitched"],
        fenced=row["fenced"],
        speed_m_per_s=_rounded(row["speed_m_per_s"]),
        heading_deg=_rounded(row["heading_deg"]),
    )
