"""What an ASF file (`.asf`, `.wmv`) states and FFmpeg does not report: its duration, and the numbers of its pictures.

FFmpeg reports the duration only if the file has the size that its header states, so never of a file that was cut off.
It reports no duration of a picture either. So only the numbers, one byte each, distinguish a hole from a picture that
is held. Layout: Advanced Systems Format specification, revision 01.20.05, sections 3.2 and 5.2.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

_HEADER_BYTES: Final = 64 * 1024
"""The object with the properties is one of the first."""
_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FIELDS: Final = struct.Struct("<40xQ8xQII")
"""Behind the object's size: duration with the preroll in 100 ns, preroll in ms, flags, size of every data packet."""
_OBJECT_SIZE_BYTES: Final = 8
_PACKET: Final = b"\x82\0\0"
"""How a data packet begins: two bytes of error correction, which are zero."""
_SEND_TIME_BYTES: Final = 6
_REPLICATED: Final = struct.Struct("<II")
"""Size of the picture in bytes, presentation time in ms."""
_MARGIN_BYTES: Final = 64 * 1024
"""A packet of a file is at most so long."""
_MOST_SEARCHED_BYTES: Final = 64 * 1024 * 1024
_IS_BROADCAST: Final = 1
"""The flag of a file whose recorder stated no duration."""


def asf_duration_s(path: Path) -> Fraction | None:
    """Return the duration that an ASF file states, in seconds; None if it states none or cannot be read."""
    if (stated := _properties(path)) is None:
        return None
    duration_s = Fraction(stated.ticks, 10_000_000) - Fraction(stated.preroll_ms, 1000)
    return duration_s if duration_s > 0 and not stated.flags & _IS_BROADCAST else None


class _Properties(NamedTuple):
    ticks: int
    """Duration with the preroll, in 100 ns."""
    preroll_ms: int
    flags: int
    packet_bytes: int


def _properties(path: Path) -> _Properties | None:
    with suppress(OSError, struct.error), path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        place = header.find(_PROPERTIES)
        if place >= 0:
            return _Properties(*_FIELDS.unpack_from(header, place + len(_PROPERTIES) + _OBJECT_SIZE_BYTES))
    return None


def asf_lacks_pictures(path: Path, stream: int, pts_s: tuple[float, float], span: tuple[int, int]) -> bool:
    """Return whether pictures are missing between two that FFmpeg gives one after the other.

    Args:
        path: of the file.
        stream: number of the video in the file.
        pts_s: of the two pictures, seconds.
        span: first and last byte between which both begin; some packets more are searched.
    """
    if (stated := _properties(path)) is None:
        return False
    begin = max(0, span[0] - _MARGIN_BYTES)
    with suppress(OSError), path.open("rb") as file:
        file.seek(begin)
        data = file.read(min(span[1] + _MARGIN_BYTES - begin, _MOST_SEARCHED_BYTES))
        pictures = list(_pictures(data, stream, stated.packet_bytes))
        times = [time_ms - stated.preroll_ms for time_ms, _ in pictures]
        ends = [round(1000 * each) for each in pts_s]
        if not all(end in times for end in ends):
            return True
        first, last = sorted(times.index(end) for end in ends)  # B-frames lie in another order than they are shown
        numbers = [number for _, number in pictures[first : last + 1]]
        return any((after - before) % 256 != 1 for before, after in pairwise(numbers))
    return False


def _pictures(data: bytes, stream: int, packet_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield presentation time in ms, and number, of each picture that begins in the packets of a part of a file."""
    place = data.find(_PACKET)
    while place >= 0:
        step = packet_bytes
        try:
            yield from list(_PacketReader(data, place + len(_PACKET)).pictures(stream))
        except (struct.error, IndexError):  # it is damaged, or no packet
            step = len(_PACKET)
        place = data.find(_PACKET, place + step)


class _PacketReader:
    """Reads one data packet, from behind its error correction."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data = data
        self._place = place

    def _take(self, size_code: int) -> int:
        """Take a number whose size a field of two bits states: none, one, two or four bytes."""
        size = (0, 1, 2, 4)[size_code & 3]
        if self._place + size > len(self._data):
            raise IndexError
        self._place += size
        return int.from_bytes(self._data[self._place - size : self._place], "little")

    def pictures(self, stream: int) -> Iterator[tuple[int, int]]:
        """Yield presentation time in ms, and number, of each picture of a stream that begins in the packet."""
        lengths, sizes = self._take(1), self._take(1)
        for code in (lengths >> 5, lengths >> 1, lengths >> 3):
            self._take(code)
        self._place += _SEND_TIME_BYTES
        has_several = lengths & 1
        flags = self._take(1) if has_several else 1
        for _ in range(flags & 0x3F):
            number_of_stream = self._take(1) & 0x7F
            number, offset, replicated = self._take(sizes >> 4), self._take(sizes >> 2), self._take(sizes)
            if replicated < _REPLICATED.size:
                return  # a compressed payload: no FFmpeg, no recorder of pictures writes it
            _, time_ms = _REPLICATED.unpack_from(self._data, self._place)
            self._place += replicated
            length = self._take(flags >> 6) if has_several else 0
            self._place += length
            if number_of_stream == stream and offset == 0:
                yield time_ms, number & 0xFF
