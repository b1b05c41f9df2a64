"""Event time at the border: float seconds inside, `google.protobuf.Timestamp` and RFC 3339 outside.

Inside the product a capture time is a float of Unix seconds. A double holds those to a quarter of a microsecond until
the year 2100. Every conversion rounds to whole microseconds, the resolution of PostgreSQL, so a time is unchanged after
a round trip to the database.
"""

from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

MICROSECONDS: Final = 1_000_000


def to_microseconds(t: float) -> int:
    """Unix seconds as whole microseconds, rounded half to even."""
    return round(t * MICROSECONDS)


def to_timestamp(t: float) -> Timestamp:
    """Unix seconds as a protobuf timestamp of whole microseconds."""
    seconds, microseconds = divmod(to_microseconds(t), MICROSECONDS)
    return Timestamp(seconds=seconds, nanos=microseconds * 1000)


def from_timestamp(timestamp: Timestamp) -> float:
    """A protobuf timestamp as Unix seconds."""
    return timestamp.seconds + timestamp.nanos / 1e9


def to_datetime(t: float) -> datetime:
    """Unix seconds as an aware datetime in UTC, of whole microseconds."""
    seconds, microseconds = divmod(to_microseconds(t), MICROSECONDS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)


def parse_rfc3339(text: str) -> datetime:
    """Return a time as RFC 3339 writes it. `t` and `z` may be lower-case (section 5.6). A missing offset stays missing.

    Raises:
        ValueError: the text is not a time.
    """
    return datetime.fromisoformat(text.upper())


def rfc3339(t: float) -> str:
    """Unix seconds as text, such as `2026-03-01T12:00:00.250000Z`."""
    return to_datetime(t).isoformat(timespec="microseconds").replace("+00:00", "Z")
