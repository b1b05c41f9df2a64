"""The boxes of an MP4 or MOV file at its top level: whether its index is there, and whether files were joined.

FFmpeg reads one recording, from a file's first `ftyp` box. If a tool without knowledge of MP4 appended another file
(`cat a.mp4 b.mp4`), FFmpeg ignores the second without a word.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_HEADER: Final = struct.Struct(">I4s")
_FIRST: Final = b"ftyp"
_INDEX: Final = b"moov"


@dataclass(frozen=True, slots=True)
class Mp4Part:
    """One recording in a file."""

    start: int
    """First byte."""
    end: int
    """One past the last byte."""
    has_index: bool


def mp4_parts(path: str) -> tuple[Mp4Part, ...]:
    """Return the recordings in a file, one after the other; empty for a file that is no MP4 or cannot be read."""
    try:
        if not Path(path).is_file():  # opening a pipe waits for its writer
            return ()
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            return tuple(_parts(file, size))
    except OSError:
        return ()


def _parts(file: Any, size: int) -> Iterator[Mp4Part]:
    start, end, has_index, has_begun = 0, 0, False, False
    for place, kind, box_end in _boxes(file, size):
        if not has_begun and kind != _FIRST:
            return
        if kind == _FIRST and has_begun and has_index:
            yield Mp4Part(start, place, has_index)
            start, has_index = place, False
        has_begun, end = True, min(box_end, size)
        has_index = has_index or kind == _INDEX
    if has_begun:
        yield Mp4Part(start, end, has_index)


def _boxes(file: Any, size: int) -> Iterator[tuple[int, bytes, int]]:
    """Place, kind and end of each box, up to bytes that are no box."""
    place = 0
    while place + _HEADER.size <= size:
        file.seek(place)
        length, kind = _HEADER.unpack(file.read(_HEADER.size))
        body = _HEADER.size
        if length == 1:
            wide = file.read(8)
            length, body = (struct.unpack(">Q", wide)[0], 16) if len(wide) == 8 else (0, 16)
        if not (kind.isascii() and kind.decode().isprintable()) or (length != 0 and length < body):
            return
        end = place + length if length else size
        yield place, kind, end
        place = end
