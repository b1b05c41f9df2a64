"""Checks the records of workers and converts them to rows.

Pure. Times are whole microseconds since the Unix epoch, as PostgreSQL keeps them. A row that cannot be written is
refused here with a reason; the other rows of its record are kept. A record whose head cannot be read is refused as a
whole. So one worker's malformed record never blocks the others.
"""

from binascii import unhexlify
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from countline.v1 import events_pb2
from countline_analytics.ingest.trajectories import TrajectoryRow, trajectory_row
from countline_analytics.ingest.wire import ROWS, UnreadableRow, read_record
from countline_analytics.instants import to_datetime
from countline_analytics.store.spans import CoveredSpan
from countline_common.errors import InvalidInputError
from countline_common.grpc.texts import text_problem
from countline_common.time_zones import find_time_zone
from countline_counting.coverage import longest_gap_s

MAX_NAME_LENGTH: Final = 200
MIN_SECONDS: Final = -62_135_596_800
"""0001-01-01, the earliest time that both protobuf and PostgreSQL can represent."""
MAX_SECONDS: Final = 253_370_764_800
"""9999-01-01, below the real limit, so that sums of times do not overflow."""
DAY_US: Final = 86_400_000_000
LIVE_AHEAD_US: Final = DAY_US
"""Rows of a live camera may lie so far after their receipt. Workers date by the clock of NATS, so this is ample."""
FILE_AHEAD_US: Final = 32 * DAY_US
"""A file may be dated a day ahead, and its events follow over its length, however fast it is counted."""
MAX_SPAN_US: Final = 31 * DAY_US
MAX_DWELL_S: Final = 366 * 86_400.0
INT32: Final = 2**31
LARGEST_REAL: Final = 3.4e38
"""The column of a speed is a `real`."""
ROUNDING: Final = 1e-6
"""A mean of scores of 1 may exceed 1 by so much."""

_Row = TypeVar("_Row")
_DIRECTIONS: Final = {events_pb2.DIRECTION_IN: "in", events_pb2.DIRECTION_OUT: "out"}


class MalformedRecordError(InvalidInputError):
    """A message that is not a valid record."""


class CrossingRow(NamedTuple):
    """A crossing, without the fields that the writer adds (fenced, sequence, time of change)."""

    event_id: bytes
    """16 bytes."""
    t_us: int
    decided_at_us: int
    line_id: str
    line_version: int
    direction: str
    class_name: str
    score: float
    track: int
    sequence: int
    frame: int
    stitched: bool
    speed_m_per_s: float | None
    heading_deg: float | None


class VisitRow(NamedTuple):
    """A visit. Its event time is the end of the stay, or the last sighting if the object did not leave."""

    event_id: bytes
    t_us: int
    entered_at_us: int
    dwell_s: float
    decided_at_us: int
    zone_id: str
    zone_version: int
    class_name: str
    track: int
    sequence: int
    born_inside: bool
    lost_inside: bool
    stitched: bool
    queue: bool


class OccupancyRow(NamedTuple):
    """The number of objects in a zone at one time."""

    zone_id: str
    t_us: int
    zone_version: int
    objects: int


class RefusedRow(NamedTuple):
    """A row of a record that cannot be written."""

    field: str
    """One of `ROWS`."""
    row: Any
    """The message of the row; an `UnreadableRow` if it is none."""
    reason: str


class Record(NamedTuple):
    """A `CountRecord`, checked."""

    site_id: str
    camera_id: str
    time_zone: str
    epoch: int
    run: str
    hand_over_at_us: int | None
    crossings: list[CrossingRow]
    visits: list[VisitRow]
    occupancy: list[OccupancyRow]
    coverage: list[CoveredSpan]
    trajectories: list[TrajectoryRow]
    assigned_at_us: int | None = None
    """When the control-plane gave the epoch out; None if the record does not say."""
    received_at_us: int | None = None
    """When JetStream received the record; None if unknown."""
    refused: Sequence[RefusedRow] = ()
    recording: str = ""
    """Key of a file that is played once; empty for a live camera, and for a worker that sends none."""
    rule_version: int = 0
    """Version of the counting rule, if there is a recording."""


def decode(data: bytes, subject: str, oldest_us: float = float("-inf"), received_at_us: int | None = None) -> Record:
    """Read a message from `countline.counts.<site>.<camera>`.

    Args:
        data: the message.
        subject: where it was published.
        oldest_us: crossings before this time are refused.
        received_at_us: when JetStream received the message; rows that lie long after it are refused.

    Raises:
        MalformedRecordError: it is not a record, its head cannot be read, or none of its rows can be written. The error
            names the field.
    """
    try:
        message, unreadable = read_record(data)
    except DecodeError as error:
        raise MalformedRecordError(f"not a CountRecord: {error}") from error
    _check_subject(message, subject)
    epoch = _within(message.epoch, 0, INT32, "epoch")
    latest_us = _latest_us(epoch, received_at_us)
    reader = _RowReader([RefusedRow(each.field, each, each.reason) for each in unreadable], latest_us)
    record = Record(
        site_id=message.site_id,
        camera_id=message.camera_id,
        time_zone=_time_zone(message.time_zone or "UTC"),
        epoch=epoch,
        run=_name(message.run, "run"),
        hand_over_at_us=_nearest_us(message.hand_over_at) if message.HasField("hand_over_at") else None,
        crossings=reader.read("crossings", message.crossings, lambda row: _crossing(row, oldest_us)),
        visits=reader.read("visits", message.visits, _visit),
        occupancy=reader.read("occupancy", message.occupancy, _occupancy),
        coverage=reader.read("coverage", message.coverage, _span),
        trajectories=reader.read("trajectories", message.trajectories, _trajectory),
        assigned_at_us=_nearest_us(message.assigned_at) if message.HasField("assigned_at") else None,
        received_at_us=received_at_us,
        refused=reader.refused,
        recording=_name(message.recording, "recording") if message.recording else "",
        rule_version=_within(message.rule_version, 0, INT32, "rule_version"),
    )
    if record.refused and record.hand_over_at_us is None and not any(getattr(record, field) for field in ROWS):
        raise MalformedRecordError(record.refused[0].reason)
    return record


def _latest_us(epoch: int, received_at_us: int | None) -> float:
    """Return the latest plausible time of the rows of a record. Epoch 0 is a file."""
    if received_at_us is None:
        return float("inf")
    return received_at_us + (LIVE_AHEAD_US if epoch else FILE_AHEAD_US)


class _RowReader:
    """Converts rows, and collects those that are refused.

    Args:
        refused: rows that are refused already.
        latest_us: rows after it are refused, because their clock was wrong. A recording may have any age, and a spool
            too, so no row is too old.
    """

    def __init__(self, refused: Iterable[RefusedRow], latest_us: float) -> None:
        self.refused = list(refused)
        self._latest_us = latest_us

    def read(self, field: str, messages: Iterable[Any], convert: Callable[[Any], _Row]) -> list[_Row]:
        rows = []
        for message in messages:
            try:
                row = convert(message)
                self._check_time(_end_us(row))
            except MalformedRecordError as error:
                self.refused.append(RefusedRow(field, message, error.message))
            else:
                rows.append(row)
        return rows

    def _check_time(self, t_us: int) -> None:
        if t_us > self._latest_us:
            at = to_datetime(t_us).isoformat()
            raise MalformedRecordError(f"{at} lies after the time at which the server received the record")


def _end_us(row: Any) -> int:
    """Return the last time of a row."""
    return row.end_us if isinstance(row, CoveredSpan | TrajectoryRow) else row.t_us


def with_rows(head: events_pb2.CountRecord, rows: Iterable[tuple[str, Any]]) -> events_pb2.CountRecord:
    """Return a record with the head of another one, and these rows, each with its field."""
    part = events_pb2.CountRecord()
    part.CopyFrom(head)
    for field in ROWS:
        part.ClearField(field)
    for field, row in rows:
        getattr(part, field).append(row)
    return part


def letter_of(head: events_pb2.CountRecord, refused: Sequence[RefusedRow]) -> bytes:
    """Return a record of the rows that were refused, as it goes to the dead letters."""
    readable = [(each.field, each.row) for each in refused if not isinstance(each.row, UnreadableRow)]
    unreadable = [each.row.on_the_wire() for each in refused if isinstance(each.row, UnreadableRow)]
    return b"".join([with_rows(head, readable).SerializeToString(deterministic=True), *unreadable])


def halves(record: events_pb2.CountRecord) -> list[events_pb2.CountRecord]:
    """Return two records with the same head and half of the rows each; the record itself if it cannot be split."""
    rows = [(field, row) for field in ROWS for row in getattr(record, field)]
    if len(rows) < 2:
        return [record]
    return [with_rows(record, rows[: len(rows) // 2]), with_rows(record, rows[len(rows) // 2 :])]


def _check_subject(message: events_pb2.CountRecord, subject: str) -> None:
    # Permission to publish is granted by subject, so a record of another camera is refused.
    site_id = _name(message.site_id, "site_id")
    camera_id = _name(message.camera_id, "camera_id")
    if subject.split(".")[2:] != [site_id, camera_id]:
        raise MalformedRecordError(f"the record of site {site_id!r}, camera {camera_id!r} came on {subject!r}")


def _crossing(crossing: events_pb2.Crossing, oldest_us: float) -> CrossingRow:
    direction = _DIRECTIONS.get(crossing.direction)
    if direction is None:
        raise MalformedRecordError(f"crossing {crossing.crossing_id!r} has no direction")
    t_us = _us(crossing.t, "crossings.t")
    if t_us < oldest_us:  # its neighbours are deleted: the counts of its buckets would be wrong
        raise MalformedRecordError(
            f"crossing {crossing.crossing_id!r} is older than COUNTLINE_CROSSINGS_RETENTION_DAYS"
        )
    return CrossingRow(
        _event_id(crossing.crossing_id),
        t_us,
        _us(crossing.decided_at, "crossings.decided_at"),
        _name(crossing.line_id, "crossings.line_id"),
        _number(crossing.line_version, "crossings.line_version"),
        direction,
        _text(crossing.class_name, "crossings.class_name"),
        _between(crossing.score, 0.0, 1.0, "crossings.score"),
        crossing.track,
        _number(crossing.sequence, "crossings.sequence"),
        _number(crossing.frame, "crossings.frame"),
        crossing.stitched,
        _between(crossing.speed_m_per_s, 0.0, LARGEST_REAL, "crossings.speed_m_per_s")
        if crossing.HasField("speed_m_per_s")
        else None,
        _between(crossing.heading_deg, 0.0, 360.0, "crossings.heading_deg")
        if crossing.HasField("heading_deg")
        else None,
    )


def _visit(visit: events_pb2.Visit) -> VisitRow:
    if not 0 <= visit.dwell_s <= MAX_DWELL_S:  # also refuses NaN
        raise MalformedRecordError(f"visit {visit.visit_id!r} lasts {visit.dwell_s} s")
    entered_at_us = _us(visit.entered_at, "visits.entered_at")
    seen_until_us = entered_at_us + round(visit.dwell_s * 1e6)
    left_at_us = _us(visit.left_at, "visits.left_at") if visit.HasField("left_at") else seen_until_us
    if left_at_us < entered_at_us:
        raise MalformedRecordError(f"visit {visit.visit_id!r} left before it entered")
    return VisitRow(
        _event_id(visit.visit_id),
        left_at_us,
        entered_at_us,
        visit.dwell_s,
        _us(visit.decided_at, "visits.decided_at"),
        _name(visit.zone_id, "visits.zone_id"),
        _number(visit.zone_version, "visits.zone_version"),
        _text(visit.class_name, "visits.class_name"),
        visit.track,
        _number(visit.sequence, "visits.sequence"),
        visit.born_inside,
        visit.lost_inside,
        visit.stitched,
        visit.queue,
    )


def _occupancy(sample: events_pb2.OccupancySample) -> OccupancyRow:
    return OccupancyRow(
        _name(sample.zone_id, "occupancy.zone_id"),
        _us(sample.t, "occupancy.t"),
        _number(sample.zone_version, "occupancy.zone_version"),
        _number(sample.count, "occupancy.count"),
    )


def _trajectory(trajectory: events_pb2.Trajectory) -> TrajectoryRow:
    _between(trajectory.score, 0.0, 1.0, "trajectories.score")
    _between(trajectory.error_heights, 0.0, LARGEST_REAL, "trajectories.error_heights")
    _number(trajectory.part, "trajectories.part")
    try:
        return trajectory_row(
            trajectory,
            _event_id(trajectory.trajectory_id),
            _us(trajectory.start, "trajectories.start"),
            _text(trajectory.class_name, "trajectories.class_name"),
        )
    except ValueError as error:
        raise MalformedRecordError(f"trajectory {trajectory.trajectory_id}: {error}") from error


def _span(span: events_pb2.CoverageSpan) -> CoveredSpan:
    start_us, end_us = _us(span.start, "coverage.start"), _us(span.end, "coverage.end")
    if not start_us <= end_us <= start_us + MAX_SPAN_US:
        raise MalformedRecordError("a span of coverage ends before it starts, or is longer than 31 days")
    if not 0 <= span.period_s <= MAX_SPAN_US / 1e6:  # also refuses NaN
        raise MalformedRecordError(f"coverage.period_s is {span.period_s}")
    return CoveredSpan(start_us, end_us, end_us + round(longest_gap_s(span.period_s) * 1e6))


def _event_id(text: str) -> bytes:
    try:
        event_id = unhexlify(text)
    except ValueError:
        event_id = b""
    if len(event_id) != 16:
        raise MalformedRecordError(f"{text!r} is no event id: 32 hexadecimal digits are")
    return event_id


def _us(timestamp: Timestamp, field: str) -> int:
    if not MIN_SECONDS <= timestamp.seconds <= MAX_SECONDS or not 0 <= timestamp.nanos < 1_000_000_000:
        raise MalformedRecordError(f"{field} is no time: {timestamp.seconds} s, {timestamp.nanos} ns")
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000


def _nearest_us(timestamp: Timestamp) -> int:
    """Return the time, or the nearest one that can be stored. The fences decide whether a hand-over is plausible."""
    seconds = min(max(timestamp.seconds, MIN_SECONDS), MAX_SECONDS)
    return seconds * 1_000_000 + min(max(timestamp.nanos, 0), 999_999_999) // 1000


def _name(text: str, field: str) -> str:
    if not text:
        raise MalformedRecordError(f"{field} is empty")
    return _text(text, field)


def _text(text: str, field: str) -> str:
    if problem := text_problem(text, MAX_NAME_LENGTH):
        raise MalformedRecordError(f"{field} {problem}")
    return text


def _between(value: float, low: float, high: float, field: str) -> float:
    if not low <= value <= high + ROUNDING:  # also refuses NaN
        raise MalformedRecordError(f"{field} is {value}")
    return value


def _number(value: int, field: str) -> int:
    if value < 0:
        raise MalformedRecordError(f"{field} is {value}")
    return value


def _within(value: int, low: int, high: int, field: str) -> int:
    if not low <= value < high:
        raise MalformedRecordError(f"{field} is {value}")
    return value


def _time_zone(name: str) -> str:
    if find_time_zone(name) is None:
        raise MalformedRecordError(f"time_zone {name[:MAX_NAME_LENGTH]!r} is not known")
    return name
