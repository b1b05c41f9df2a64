"""True crossings of cameras: stores, lists and deletes truth sets, and compares counts with them."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from countline.v1 import counts_pb2
from countline_analytics.directory import CameraDirectory
from countline_analytics.instants import EPOCH, from_proto, to_datetime, to_proto, to_us, utc_now
from countline_analytics.questions.answers import Questions
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.counts import read_coverage
from countline_analytics.questions.coverage import Interval, decided, intersection, length_us, union
from countline_analytics.questions.matching import MARGIN_US, TOLERANCE_US, MatchResult, compare, occurrences
from countline_analytics.store.spans import CoveredSpan
from countline_analytics.store.sql import query
from countline_common.data.outbox import Outbox
from countline_common.errors import AlreadyExistsError, FieldProblem, InvalidInputError, NotFoundError
from countline_counting.rules import NOISY_LATEST_S

MAX_CROSSINGS: Final = 200_000
"""Limit for one truth set, and for one comparison."""
LONGEST_DURATION_S: Final = 366 * 24 * 3600
DIRECTIONS: Final = ("in", "out")


@dataclass(frozen=True, slots=True)
class TruthSet:
    """True crossings of one line, as `countline.v1.TruthSet`."""

    truth_set_id: uuid.UUID
    camera_id: str
    line_id: str
    start: datetime
    duration_s: float
    repeats: bool
    source: str
    created_at: datetime
    crossings: tuple[tuple[float, str, str], ...]
    """Seconds after the start, direction, class; sorted."""

    def claims(self, start: datetime | None, end: datetime) -> Interval | None:
        """Return the requested time for which this set has every crossing; None if there is none.

        A repeating set begins when it was created, unless `start` is given: what the camera showed before is unknown.
        """
        first, last = to_us(self.start), to_us(self.start) + round(self.duration_s * 1e6)
        if self.repeats:
            first, last = to_us(start or self.created_at), to_us(end)
        first, last = max(first, to_us(start)) if start else first, min(last, to_us(end))
        return Interval(first, last) if first < last else None

    def times_us(self, direction: str, span: Interval) -> list[int]:
        """Return the times of the crossings in a direction within a span, microseconds."""
        times_s = [t_s for t_s, of, _ in self.crossings if of == direction]
        start_s = (self.start - EPOCH).total_seconds()
        return list(occurrences(start_s, self.duration_s, self.repeats, times_s, span))


class Truths(Questions):
    """Stores truth sets and compares counts with them.

    Args:
        engine: connects to the analytics database.
        directory: looks up cameras, lines and zones.
        outbox: takes the audit rows of changes.
    """

    def __init__(self, engine: AsyncEngine, directory: CameraDirectory, outbox: Outbox) -> None:
        super().__init__(engine, directory)
        self._outbox = outbox

    async def create_truth_set(
        self, request: counts_pb2.CreateTruthSetRequest, caller: Caller
    ) -> counts_pb2.CreateTruthSetResponse:
        """Store a truth set (`CountService.CreateTruthSet`).

        Raises:
            AlreadyExistsError: the line has a truth set for a part of the same time; two would contradict each other.
        """
        truth = _checked(request.truth_set, utc_now())
        await self._require_camera(truth.camera_id, caller)
        async with self._engine.begin() as connection:
            await connection.execute(query("counts", "lock_truth"), {"camera_id": truth.camera_id})
            parameters = _parameters(truth)
            if (await connection.execute(query("counts", "overlapping_truth"), parameters)).first() is not None:
                raise AlreadyExistsError(
                    f"line {truth.line_id!r} of {truth.camera_id!r} has a truth set for that time already",
                    hint="delete that one first",
                )
            await connection.execute(query("counts", "add_truth_set"), parameters)
            await connection.execute(query("counts", "add_truth_crossings"), parameters)
            await self._outbox.record(connection, _place(truth), after=_message(truth))
        return counts_pb2.CreateTruthSetResponse(truth_set=_message(truth))

    async def list_truth_sets(
        self, request: counts_pb2.ListTruthSetsRequest, caller: Caller
    ) -> counts_pb2.ListTruthSetsResponse:
        """List the truth sets of a camera (`CountService.ListTruthSets`)."""
        await self._require_camera(request.camera_id, caller)
        async with self._engine.connect() as connection:
            truths = await _read(connection, request.camera_id)
        return counts_pb2.ListTruthSetsResponse(truth_sets=[_message(truth) for truth in truths])

    async def get_truth_set(self, request: counts_pb2.GetTruthSetRequest, _: Caller) -> counts_pb2.GetTruthSetResponse:
        """Return a truth set (`CountService.GetTruthSet`)."""
        truth_set_id = _asked_id(request)
        async with self._engine.connect() as connection:
            truths = await _read(connection, request.camera_id)
        for truth in truths:
            if truth.truth_set_id == truth_set_id:
                return counts_pb2.GetTruthSetResponse(truth_set=_message(truth))
        raise _no_truth_set(request)

    async def delete_truth_set(
        self, request: counts_pb2.DeleteTruthSetRequest, _: Caller
    ) -> counts_pb2.DeleteTruthSetResponse:
        """Delete a truth set (`CountService.DeleteTruthSet`)."""
        truth_set_id = _asked_id(request)
        parameters = {"truth_set_id": truth_set_id, "camera_id": request.camera_id}
        async with self._engine.begin() as connection:
            await connection.execute(query("counts", "lock_truth"), {"camera_id": request.camera_id})
            truths = await _read(connection, request.camera_id)
            truth = next((each for each in truths if each.truth_set_id == truth_set_id), None)
            if truth is None:
                raise _no_truth_set(request)
            await connection.execute(query("counts", "drop_truth_set"), parameters)
            await self._outbox.record(connection, _place(truth), before=_message(truth))
        return counts_pb2.DeleteTruthSetResponse()

    async def verify_counts(
        self, request: counts_pb2.VerifyCountsRequest, caller: Caller
    ) -> counts_pb2.VerifyCountsResponse:
        """Compare counts with the truth sets of cameras (`CountService.VerifyCounts`)."""
        start = from_proto(request.start) if request.HasField("start") else None
        end = from_proto(request.end) if request.HasField("end") else utc_now() - timedelta(seconds=NOISY_LATEST_S)
        asked = request.camera_id
        known = await self._directory.cameras(caller, lambda cameras: not asked or asked in cameras)
        if asked and asked not in known:
            raise _no_camera(asked)
        async with self._engine.connect() as connection:
            truths = [truth for truth in await _read(connection, request.camera_id) if truth.camera_id in known]
            comparison = await _load(connection, truths, start, end)
        # Hundreds of thousands of crossings take a moment, which must not block the event loop.
        cameras = await asyncio.to_thread(comparison.cameras)
        return counts_pb2.VerifyCountsResponse(cameras=cameras, end=to_proto(end))

    async def _require_camera(self, camera_id: str, caller: Caller) -> None:
        if camera_id not in await self._directory.cameras(caller, lambda cameras: camera_id in cameras):
            raise _no_camera(camera_id)


def _place(truth: TruthSet) -> str:
    """Return the resource of a truth set in the audit."""
    return f"cameras/{truth.camera_id}/truth/{truth.truth_set_id}"


def _asked_id(request: counts_pb2.GetTruthSetRequest | counts_pb2.DeleteTruthSetRequest) -> uuid.UUID:
    try:
        return uuid.UUID(request.truth_set_id)
    except ValueError as error:
        raise _no_truth_set(request) from error


def _no_truth_set(request: counts_pb2.GetTruthSetRequest | counts_pb2.DeleteTruthSetRequest) -> NotFoundError:
    return NotFoundError(
        f"camera {request.camera_id!r} has no truth set {request.truth_set_id!r}",
        hint="list them: GET /api/v1/cameras/CAMERA/truth",
    )


def _no_camera(camera_id: str) -> NotFoundError:
    return NotFoundError(f"there is no camera {camera_id!r}", hint="list them: countline cameras list")


@dataclass(frozen=True, slots=True)
class TruthComparison:
    """The data of one comparison."""

    truths: Sequence[TruthSet]
    claims: Mapping[uuid.UUID, Interval]
    """By truth set, the requested time for which it has every crossing."""
    coverage: Mapping[str, Sequence[CoveredSpan]]
    """By camera, when it was processed."""
    counted_us: Mapping[tuple[str, str, str], Sequence[int]]
    """By camera, line and direction, sorted."""

    def cameras(self) -> list[counts_pb2.VerifiedCamera]:
        """Return the results by camera and line, sorted."""
        by_camera: dict[str, dict[str, list[TruthSet]]] = defaultdict(lambda: defaultdict(list))
        for truth in self.truths:
            by_camera[truth.camera_id][truth.line_id].append(truth)
        return [self._camera(camera_id, lines) for camera_id, lines in sorted(by_camera.items())]

    def _camera(self, camera_id: str, lines: Mapping[str, Sequence[TruthSet]]) -> counts_pb2.VerifiedCamera:
        windows = union(window for truths in lines.values() for window in self._windows(camera_id, truths))
        return counts_pb2.VerifiedCamera(
            camera_id=camera_id,
            lines=[self._line(camera_id, line_id, truths) for line_id, truths in sorted(lines.items())],
            verified_s=length_us(windows) / 1e6,
        )

    def _windows(self, camera_id: str, truths: Iterable[TruthSet]) -> list[Interval]:
        """Return the times that can be compared: claimed by the truth, and well inside the covered spans."""
        claims = union(self.claims[truth.truth_set_id] for truth in truths if truth.truth_set_id in self.claims)
        return intersection(decided(self.coverage[camera_id], MARGIN_US), claims)

    def _line(self, camera_id: str, line_id: str, truths: Sequence[TruthSet]) -> counts_pb2.VerifiedLine:
        windows = self._windows(camera_id, truths)
        results = {
            direction: compare(
                self.counted_us.get((camera_id, line_id, direction), ()), self._true_us(truths, direction), windows
            )
            for direction in DIRECTIONS
        }
        return counts_pb2.VerifiedLine(
            line_id=line_id, in_result=_direction(results["in"]), out_result=_direction(results["out"])
        )

    def _true_us(self, truths: Sequence[TruthSet], direction: str) -> list[int]:
        times: list[int] = []
        for truth in truths:
            claim = self.claims.get(truth.truth_set_id)
            if claim is not None:
                around = Interval(claim.start_us - TOLERANCE_US, claim.end_us + TOLERANCE_US)
                times += truth.times_us(direction, around)
        return sorted(times)


async def _load(
    connection: AsyncConnection, truths: Sequence[TruthSet], start: datetime | None, end: datetime
) -> TruthComparison:
    claims = {truth.truth_set_id: claim for truth in truths if (claim := truth.claims(start, end)) is not None}
    _check_amount(truths, claims)
    camera_ids = sorted({truth.camera_id for truth in truths})
    first = min((claim.start_us for claim in claims.values()), default=0) - 2 * TOLERANCE_US
    last = max((claim.end_us for claim in claims.values()), default=0) + 2 * TOLERANCE_US
    parameters = {
        "camera_ids": camera_ids,
        "start": to_datetime(first),
        "end": to_datetime(last),
        "limit": MAX_CROSSINGS + 1,
    }
    counted: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    rows = (await connection.execute(query("counts", "crossing_times"), parameters)).all()
    if len(rows) > MAX_CROSSINGS:
        raise _too_much(len(rows))
    for camera_id, line_id, direction, t in rows:
        counted[camera_id, line_id, direction].append(to_us(t))
    coverage = await read_coverage(connection, camera_ids, to_datetime(first), to_datetime(last))
    return TruthComparison(truths, claims, coverage, counted)


def _check_amount(truths: Sequence[TruthSet], claims: Mapping[uuid.UUID, Interval]) -> None:
    amount = sum(
        (claim.end_us - claim.start_us) / 1e6 / truth.duration_s * len(truth.crossings)
        for truth in truths
        if (claim := claims.get(truth.truth_set_id)) is not None
    )
    if amount > MAX_CROSSINGS:
        raise _too_much(round(amount))


def _too_much(amount: int) -> InvalidInputError:
    return InvalidInputError(
        f"this compares {amount} crossings or more, and {MAX_CROSSINGS} is the limit",
        hint="name a camera, or a start that is nearer",
        fields=(FieldProblem("start", "must be nearer to the end"),),
    )


def _direction(result: MatchResult) -> counts_pb2.VerifiedDirection:
    return counts_pb2.VerifiedDirection(
        counted_count=result.counted,
        true_count=result.true,
        missed_count=result.missed,
        false_count=result.false,
    )


def _checked(message: counts_pb2.TruthSet, now: datetime) -> TruthSet:
    """Return the truth set of a request, with its crossings sorted.

    Raises:
        InvalidInputError: lists each field that cannot be used.
    """
    problems = [*_problems(message)]
    if problems:
        raise InvalidInputError("the truth set cannot be used", fields=tuple(problems))
    return TruthSet(
        truth_set_id=uuid.uuid4(),
        camera_id=message.camera_id,
        line_id=message.line_id,
        start=from_proto(message.start) if message.HasField("start") else EPOCH,
        duration_s=message.duration_s,
        repeats=message.repeats,
        source=message.source,
        created_at=now,
        crossings=tuple(
            sorted((crossing.t, crossing.direction, crossing.class_name) for crossing in message.crossings)
        ),
    )


def _problems(message: counts_pb2.TruthSet) -> Iterable[FieldProblem]:
    if not message.line_id:
        yield FieldProblem("line_id", "must not be empty")
    if not 0 < message.duration_s <= LONGEST_DURATION_S:
        yield FieldProblem("duration_s", f"must be more than 0 seconds, and {LONGEST_DURATION_S} at most (366 days)")
    if not message.repeats and not message.HasField("start"):
        yield FieldProblem("start", "must be given unless the set repeats")
    if len(message.crossings) > MAX_CROSSINGS:
        yield FieldProblem("crossings", f"must be {MAX_CROSSINGS} at most")
    for i, crossing in enumerate(message.crossings):
        if crossing.direction not in DIRECTIONS:
            yield FieldProblem(f"crossings[{i}].direction", "must be `in` or `out`")
        if not 0 <= crossing.t < message.duration_s:
            yield FieldProblem(f"crossings[{i}].t", "must lie within the duration, from 0 s")


def _parameters(truth: TruthSet) -> dict[str, Any]:
    return {
        "truth_set_id": truth.truth_set_id,
        "camera_id": truth.camera_id,
        "line_id": truth.line_id,
        "start": truth.start,
        "duration_s": truth.duration_s,
        "repeats": truth.repeats,
        "source": truth.source,
        "created_at": truth.created_at,
        "times_s": [t_s for t_s, _, _ in truth.crossings],
        "directions": [direction for _, direction, _ in truth.crossings],
        "class_names": [class_name for _, _, class_name in truth.crossings],
    }


async def _read(connection: AsyncConnection, camera_id: str) -> list[TruthSet]:
    rows = await connection.execute(query("counts", "truth_sets"), {"camera_id": camera_id})
    return [
        TruthSet(
            truth_set_id=row.truth_set_id,
            camera_id=row.camera_id,
            line_id=row.line_id,
            start=row.start_t,
            duration_s=row.duration_s,
            repeats=row.repeats,
            source=row.source,
            created_at=row.created_at,
            crossings=tuple(zip(row.times_s, row.directions, row.class_names, strict=True)),
        )
        for row in rows
    ]


def _message(truth: TruthSet) -> counts_pb2.TruthSet:
    return counts_pb2.TruthSet(
        truth_set_id=str(truth.truth_set_id),
        camera_id=truth.camera_id,
        line_id=truth.line_id,
        start=to_proto(truth.start),
        duration_s=truth.duration_s,
        repeats=truth.repeats,
        crossings=[
            counts_pb2.TrueCrossing(t=t_s, direction=direction, class_name=class_name)
            for t_s, direction, class_name in truth.crossings
        ],
        source=truth.source,
        created_at=to_proto(truth.created_at),
    )
