"""Cuts time into buckets. Hours, days and months follow the wall clock of the site.

Pure. Minutes and quarters of an hour are in UTC. The offset of every time zone is a multiple of a quarter of an hour,
so longer buckets are sums of quarters. A day can have 23 or 25 hours. An hour in which the clocks change can be
shorter.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.site_zones import DAY, SiteZones

MINUTE: Final = timedelta(minutes=1)
QUARTER: Final = timedelta(minutes=15)

SIZES: Final = {"1m": MINUTE, "15m": QUARTER, "1h": timedelta(hours=1), "1d": DAY, "1mo": 30 * DAY}
"""Bucket sizes of a request, each with its approximate length."""
MAX_BUCKETS: Final = 20_000


class TooManyBucketsError(InvalidInputError):
    """The answer would hold more buckets than the limit."""

    def __init__(self, size: str, count: int, limit: int) -> None:
        super().__init__(
            f"the request asks for {count} buckets of {size}; the limit is {limit}",
            hint="use larger buckets or a shorter time span",
            fields=(FieldProblem("bucket", f"{count} buckets of {size} are more than {limit}"),),
        )


def check_size(size: str) -> str:
    """Return the size.

    Raises:
        InvalidInputError: the size is unknown.
    """
    if size not in SIZES:
        known = ", ".join(SIZES)
        raise InvalidInputError(
            f"unknown bucket size {size!r}", fields=(FieldProblem("bucket", f"must be one of {known}"),)
        )
    return size


def check_length(size: str, rows: int) -> None:
    """Check the length of an answer.

    Raises:
        TooManyBucketsError: it is longer than `MAX_BUCKETS`.
    """
    if rows > MAX_BUCKETS:
        raise TooManyBucketsError(size, rows, MAX_BUCKETS)


def edges(size: str, start: datetime, end: datetime, zones: SiteZones) -> list[datetime]:
    """Return the edges in UTC of the buckets that overlap [start, end): each start in order, then the last end.

    Raises:
        TooManyBucketsError: there are more than `MAX_BUCKETS`.
    """
    estimate = (end - start) // SIZES[size]
    if estimate > MAX_BUCKETS:
        raise TooManyBucketsError(size, estimate, MAX_BUCKETS)
    found = []
    for edge in _edges_from(size, start.astimezone(UTC), zones):
        found.append(edge)
        if edge >= end:
            return found
    return found


def _edges_from(size: str, start: datetime, zones: SiteZones) -> Iterator[datetime]:
    """Yield edges without end, beginning with the last one at or before `start`."""
    if size in {"1m", "15m"}:
        return _regular(start, SIZES[size])
    if size == "1h":
        return _hours(start, zones)
    first = zones.day_of(start)
    return _days(first, zones) if size == "1d" else _months(first, zones)


def _regular(start: datetime, step: timedelta) -> Iterator[datetime]:
    edge = start - (start - datetime(1970, 1, 1, tzinfo=UTC)) % step
    while True:
        yield edge
        edge += step


def _hours(start: datetime, zones: SiteZones) -> Iterator[datetime]:
    """Yield the moments at which the wall clock enters another hour or changes its offset."""
    quarter = next(_regular(start, QUARTER))
    while _hour_of(quarter - QUARTER, zones) == _hour_of(quarter, zones):
        quarter -= QUARTER
    while True:
        yield quarter
        hour = _hour_of(quarter, zones)
        while _hour_of(quarter, zones) == hour:
            quarter += QUARTER


def _hour_of(moment: datetime, zones: SiteZones) -> tuple[int, timedelta | None]:
    local = moment.astimezone(zones.at(moment))
    return local.hour, local.utcoffset()


def _days(first: date, zones: SiteZones) -> Iterator[datetime]:
    previous = None
    while True:
        edge = zones.start_of_day(first)
        if edge != previous:  # a date that a zone skipped has no length
            yield edge
        previous = edge
        first += DAY


def _months(first: date, zones: SiteZones) -> Iterator[datetime]:
    first = first.replace(day=1)
    while True:
        yield zones.start_of_day(first)
        first = (first + 31 * DAY).replace(day=1)
