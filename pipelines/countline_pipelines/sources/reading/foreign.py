"""Files that are no video, and what they are instead.

FFmpeg says "invalid data" of an empty file, a text, a web page and an archive alike, or makes pictures of the letters
of a text. So a file is checked before FFmpeg opens it.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countline_common.files.text_files import LFS_HINT, is_lfs_pointer

_READ_BYTES: Final = 4096
_COPY_HINT: Final = "copy the file again from the recorder"
_DOWNLOAD_HINT: Final = "download the file again, and log in first if the page asks for it"
_VIDEO_HINT: Final = "give a video file or stream"
_TEXTS_OF_VIDEO: Final = ("#EXTM3U", "ffconcat version", "v=0", "YUV4MPEG2", "<MPD", "WEBVTT")
"""How the text files begin that FFmpeg reads as video or as a list of videos."""
_PAGES: Final = ("<!doctype html", "<html", "<head", "<body")
_BINARY: Final = (
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    (b"%PDF-", "a PDF document", _VIDEO_HINT),
    (b"SQLite format 3\0", "a database", _VIDEO_HINT),
)
_MARKS_OF_WIDE_TEXT: Final = (b"\xff\xfe", b"\xfe\xff")
_IN_TEXT: Final = frozenset({7, 8, 9, 10, 12, 13, 27})
"""Control characters that occur in text files."""


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """A file that is no video."""

    detail: str
    hint: str


def foreign_file(path: Path) -> ForeignFile | None:
    """Return what a file is that is certainly no video; None for one that FFmpeg may read, or that does not exist."""
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            return _not_regular(kind)
        if not os.access(path, os.R_OK):
            return ForeignFile("permission denied", "let the user who counts read the file and its folder")
        with path.open("rb") as stream:
            begin = stream.read(_READ_BYTES)
    except (OSError, ValueError):
        return None  # FFmpeg opens the file too, and reports why that fails
    return _nothing(begin) or _binary(begin) or _text(begin)


def _nothing(begin: bytes) -> ForeignFile | None:
    if not begin:
        return ForeignFile("is empty (0 bytes)", _COPY_HINT)
    if not begin.strip(b"\0"):
        return ForeignFile("begins with zeros instead of a header of a video", f"{_COPY_HINT}; it was not completed")
    return None


def _binary(begin: bytes) -> ForeignFile | None:
    for first, name, hint in _BINARY:
        if begin.startswith(first):
            return ForeignFile(f"is {name}, not a video", hint)
    return None


def _not_regular(kind: int) -> ForeignFile:
    if stat.S_ISDIR(kind):
        return ForeignFile("is a folder", "name a video file in it")
    what = "a pipe" if stat.S_ISFIFO(kind) else "a device or socket"
    return ForeignFile(f"is {what}, and only a file can be read twice", "write the video into a file first")


def _text(begin: bytes) -> ForeignFile | None:
    if is_lfs_pointer(begin):
        return ForeignFile("is a Git LFS pointer, not the video itself", LFS_HINT)
    text = _decoded(begin)
    if text is None or text.startswith(_TEXTS_OF_VIDEO) or "<MPD" in text:
        return None
    if text.lower().startswith(_PAGES):
        return ForeignFile("is a web page, not a video", _DOWNLOAD_HINT)
    return ForeignFile("is a text file, not a video", _VIDEO_HINT)


def _decoded(begin: bytes) -> str | None:
    """Return the text that a file begins with; None if it is no text."""
    if begin.startswith(_MARKS_OF_WIDE_TEXT) and b"\0" in begin[2:6]:
        return begin.decode("utf-16", errors="replace").lstrip()
    if any(byte < 32 and byte not in _IN_TEXT for byte in begin):
        return None
    try:
        return begin.decode("utf-8-sig").lstrip()
    except UnicodeDecodeError as error:
        is_cut = error.start >= len(begin) - 3  # the last character
        return begin[: error.start].decode("utf-8-sig").lstrip() if is_cut else None
