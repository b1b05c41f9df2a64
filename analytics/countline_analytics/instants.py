"""Converts times between whole microseconds since the Unix epoch, datetimes and protobuf timestamps, exactly."""

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from countline_common.errors import InvalidInputError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
"""Earlier than any count, with room for arithmetic."""
LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_datetime(t_us: int) -> datetime:
    """Return microseconds as an aware datetime in UTC."""
    return EPOCH + timedelta(microseconds=t_us)


def utc_now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


def to_us(moment: datetime) -> int:
    """Return a datetime as microseconds."""
    return (moment - EPOCH) // _MICROSECOND


def to_proto(moment: datetime) -> Timestamp:
    """Return a datetime as a protobuf timestamp."""
    seconds, us = divmod(to_us(moment), 1_000_000)
    return Timestamp(seconds=seconds, nanos=us * 1000)


def from_proto(timestamp: Timestamp) -> datetime:
    """Return a caller's protobuf timestamp as a datetime.

    Raises:
        InvalidInputError: the time is out of range.
    """
    try:
        moment = to_datetime(timestamp.seconds * 1_000_000 + timestamp.nanos // 1000)
    except OverflowError:
        moment = LAST
    if not FIRST <= moment < LAST:
        raise InvalidInputError("the time lies outside the years 1 to 9998", hint="check the year")
    return moment
