"""Cuts time into buckets, by the wall clock of a site where they are hours, days or months.

Pure. Minutes and quarters of an hour are those of UTC; every zone's offset is a multiple of a quarter of an hour, so
hours and longer are sums of quarters. A day may have 23 or 25 hours, and an hour that clocks were changed in may be
shorter.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from countline_common.errors import FieldProblem, InvalidInputError

MINUTE: Final = timedelta(minutes=1)
QUARTER: Final = timedelta(minutes=15)
DAY: Final = timedelta(days=1)

SIZES: Final = {"1m": MINUTE, "15m": QUARTER, "1h": timedelta(hours=1), "1d": DAY, "1mo": 30 * DAY}
"""The sizes that can be asked for, with how long they are, roughly."""
MAX_BUCKETS: Final = 20_000


class TooManyBucketsError(InvalidInputError):
    """The answer would be larger than anybody could look at."""

    def __init__(self, size: str, count: int, limit: int) -> None:
        super().__init__(
            f"this asks for {count} buckets of {size}, and {limit} is the limit",
            hint="ask for larger buckets or a shorter span",
            fields=(FieldProblem("bucket", f"{count} buckets of {size} are more than {limit}"),),
        )


def check_size(size: str) -> str:
    """The size, if it is one.

    Raises:
        InvalidInputError: it is not.
    """
    if size not in SIZES:
        known = ", ".join(SIZES)
        raise InvalidInputError(
            f"{size!r} is no size of buckets", fields=(FieldProblem("bucket", f"must be one of {known}"),)
        )
    return size


def edges(size: str, start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """Where the buckets that hold any part of [start, end) begin, in order, and where the last one ends; in UTC.

    Raises:
        TooManyBucketsError: there are more than `MAX_BUCKETS`.
    """
    estimate = (end - start) // SIZES[size]
    if estimate > MAX_BUCKETS:
        raise TooManyBucketsError(size, estimate, MAX_BUCKETS)
    found = []
    for edge in _edges_from(size, start.astimezone(UTC), zone):
        found.append(edge)
        if edge >= end:
            return found
    return found


def _edges_from(size: str, start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Edges of buckets without end, the last one at or before `start` first."""
    if size in {"1m", "15m"}:
        return _regular(start, SIZES[size])
    if size == "1h":
        return _hours(start, zone)
    return _days(start.astimezone(zone).date(), zone) if size == "1d" else _months(start.astimezone(zone).date(), zone)


def _regular(start: datetime, step: timedelta) -> Iterator[datetime]:
    edge = start - (start - datetime(1970, 1, 1, tzinfo=UTC)) % step
    while True:
        yield edge
        edge += step


def _hours(start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Moments at which the clock on the wall comes to another hour, or is set."""
    quarter = next(_regular(start, QUARTER))
    while _hour_of(quarter - QUARTER, zone) == _hour_of(quarter, zone):
        quarter -= QUARTER
    while True:
        yield quarter
        hour = _hour_of(quarter, zone)
        while _hour_of(quarter, zone) == hour:
            quarter += QUARTER


def _hour_of(moment: datetime, zone: ZoneInfo) -> tuple[int, timedelta | None]:
    local = moment.astimezone(zone)
    return local.hour, local.utcoffset()


def _days(first: date, zone: ZoneInfo) -> Iterator[datetime]:
    previous = None
    while True:
        edge = start_of_day(first, zone)
        if edge != previous:  # a date that a zone skipped has no length
            yield edge
        previous = edge
        first += DAY


def _months(first: date, zone: ZoneInfo) -> Iterator[datetime]:
    first = first.replace(day=1)
    while True:
        yield start_of_day(first, zone)
        first = (first + 31 * DAY).replace(day=1)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a day of a zone, in UTC; where midnight is skipped, the moment at which clocks are set."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def day_of(moment: datetime, zone: ZoneInfo) -> date:
    """The day of a zone that a moment lies in."""
    return moment.astimezone(zone).date()
