"""Reads records of which a row is no message, such as one with text that is not UTF-8.

A protobuf parser refuses such a record as a whole. Its other rows are counts that would be lost.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from countline.v1 import events_pb2

ROWS: Final = ("crossings", "visits", "occupancy", "coverage", "trajectories")
"""The fields of a `CountRecord` that hold rows."""
_FIELDS: Final = events_pb2.CountRecord.DESCRIPTOR.fields_by_number
_LENGTH_DELIMITED: Final = 2


class UnreadableRow(NamedTuple):
    """The bytes of a row that is no message."""

    field: str
    """One of `ROWS`."""
    content: bytes
    reason: str

    def on_the_wire(self) -> bytes:
        """Return the row as it was within its record: tag, length, content."""
        number = events_pb2.CountRecord.DESCRIPTOR.fields_by_name[self.field].number
        return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(self.content)) + self.content


def read_record(data: bytes) -> tuple[events_pb2.CountRecord, tuple[UnreadableRow, ...]]:
    """Return a record with the rows that can be read, and the others.

    Raises:
        DecodeError: the data are no record, or its head cannot be read.
    """
    try:
        return events_pb2.CountRecord.FromString(data), ()
    except DecodeError:
        return _read_by_field(data)


def _read_by_field(data: bytes) -> tuple[events_pb2.CountRecord, tuple[UnreadableRow, ...]]:
    record, unreadable = events_pb2.CountRecord(), list[UnreadableRow]()
    for unknown in cast("Iterable[Any]", UnknownFieldSet(Empty.FromString(data))):  # its stub lacks iteration
        field = _FIELDS.get(unknown.field_number)
        if field is None:
            continue
        try:
            _set(record, field, unknown.data)
        except (DecodeError, TypeError, ValueError) as error:
            if field.name not in ROWS or not isinstance(unknown.data, bytes):
                raise DecodeError(f"{field.name}: {error}") from error
            unreadable.append(UnreadableRow(field.name, unknown.data, f"not a row: {error}"))
    return record, tuple(unreadable)


def _set(record: events_pb2.CountRecord, field: Any, value: Any) -> None:
    if field.name in ROWS:
        row = GetMessageClass(field.message_type).FromString(value)
        getattr(record, field.name).append(row)
    elif field.message_type is not None:
        getattr(record, field.name).MergeFromString(value)
    else:
        setattr(record, field.name, value.decode() if isinstance(value, bytes) else value)


def _varint(value: int) -> bytes:
    """Return a number in groups of seven bits, lowest first, as protobuf writes it."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
