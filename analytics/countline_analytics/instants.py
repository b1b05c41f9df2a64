"""Times as whole microseconds since the Unix epoch, and as datetimes for the database driver; exact both ways."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_datetime(t_us: int) -> datetime:
    """The moment as an aware datetime in UTC."""
    return EPOCH + timedelta(microseconds=t_us)


def to_us(moment: datetime) -> int:
    """The moment as microseconds."""
    return (moment - EPOCH) // _MICROSECOND
