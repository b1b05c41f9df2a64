"""Times as whole microseconds since the Unix epoch, as datetimes for the database driver, and as protobuf; exact."""

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from countline_common.errors import InvalidInputError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
"""Before everything that was ever counted, with room to reckon."""
LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_datetime(t_us: int) -> datetime:
    """The moment as an aware datetime in UTC."""
    return EPOCH + timedelta(microseconds=t_us)


def from_unix(t: float) -> datetime:
    """Unix seconds as an aware datetime in UTC."""
    return to_datetime(round(t * 1e6))


def to_us(moment: datetime) -> int:
    """The moment as microseconds."""
    return (moment - EPOCH) // _MICROSECOND


def to_proto(moment: datetime) -> Timestamp:
    """The moment as a protobuf timestamp."""
    seconds, us = divmod(to_us(moment), 1_000_000)
    return Timestamp(seconds=seconds, nanos=us * 1000)


def from_proto(timestamp: Timestamp) -> datetime:
    """A protobuf timestamp from a caller as a datetime.

    Raises:
        InvalidInputError: it lies outside of what can be reckoned with.
    """
    try:
        moment = to_datetime(timestamp.seconds * 1_000_000 + timestamp.nanos // 1000)
    except OverflowError:
        moment = LAST
    if not FIRST <= moment < LAST:
        raise InvalidInputError("a time lies outside of the years 1 to 9998", hint="give a time that can be meant")
    return moment
