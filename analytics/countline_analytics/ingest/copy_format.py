"""Encodes rows in PostgreSQL's binary COPY format (PostgreSQL manual, "COPY", section "Binary Format").

This encoding costs a third of the driver's encoding of Python objects, which is the largest cost of a crossing
(`tests/benchmarks/analytics/bench_ingest.py`). Times are microseconds since the Unix epoch.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"
NULL: Final = b"\xff\xff\xff\xff"
POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01, the epoch of PostgreSQL."""

_INT4: Final = struct.Struct("!ii").pack
_INT8: Final = struct.Struct("!iq").pack
_FLOAT4: Final = struct.Struct("!if").pack
_FLOAT8: Final = struct.Struct("!id").pack
_FIELDS: Final = struct.Struct("!h").pack
TRUE: Final = b"\x00\x00\x00\x01\x01"
FALSE: Final = b"\x00\x00\x00\x01\x00"
_UUID_LENGTH: Final = b"\x00\x00\x00\x10"


def int4(value: int) -> bytes:
    """Encode an `integer`."""
    return _INT4(4, value)


def int8(value: int) -> bytes:
    """Encode a `bigint`."""
    return _INT8(8, value)


def float4(value: float) -> bytes:
    """Encode a `real`."""
    return _FLOAT4(4, value)


def float8(value: float) -> bytes:
    """Encode a `double precision`."""
    return _FLOAT8(8, value)


def boolean(value: bool) -> bytes:
    """Encode a `boolean`."""
    return TRUE if value else FALSE


def uuid(value: bytes) -> bytes:
    """Encode a `uuid` from its 16 bytes."""
    return _UUID_LENGTH + value


def timestamptz(t_us: int) -> bytes:
    """Encode a `timestamptz`."""
    return _INT8(8, t_us - POSTGRES_EPOCH_US)


@lru_cache(maxsize=4096)
def text(value: str) -> bytes:
    """Encode a `text` or an enum. Cached, because names of cameras, lines and classes repeat."""
    data = value.encode()
    return struct.pack("!i", len(data)) + data


def stream(rows: Iterable[tuple[bytes, ...]], columns: int) -> bytes:
    """Join encoded rows into one stream for `COPY … (FORMAT binary)`."""
    count = _FIELDS(columns)
    parts = [HEADER]
    for row in rows:
        parts.append(count)
        parts.extend(row)
    parts.append(TRAILER)
    return b"".join(parts)
