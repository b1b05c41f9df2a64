"""Reads the log files of a data folder: also those of PostgreSQL, NATS and Triton, and while nothing runs."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from countline.v1.logs_pb2 import LogLine
from countline_common.logbook.lines import LONGEST_VALUE, LineFilter, line_of
from countline_common.logs import bounded
from countline_common.redaction import redact
from countline_common.times import from_timestamp, to_timestamp

READ_BYTES: Final = 4 * 1024 * 1024
"""Read of each file, from its end."""
_TIME: Final = re.compile(r"(\d{4})([-/])(\d\d)\2(\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d{1,6})?)")
_ERROR: Final = re.compile(r"\b(?:ERROR|FATAL|PANIC|ERR|FTL)\b|^E\d{4} ")
_WARNING: Final = re.compile(r"\b(?:WARNING|WRN)\b|^W\d{4} ")


def read_files(folder: Path, wanted: LineFilter, most: int) -> list[LogLine]:
    """Return the newest lines of the files of a folder that are wanted, in order of time.

    Args:
        folder: with one `PART.log` for each part, and `PART.log.1` with what came before.
        wanted: the filter.
        most: number of lines.
    """
    found: list[LogLine] = []
    for path in sorted(folder.glob("*.log")):
        if wanted.part in ("", path.stem):
            found.extend([line for line in _lines(path) if wanted.accepts(line)][-most:])
    found.sort(key=lambda line: from_timestamp(line.at))
    return found[-most:]


def _lines(path: Path) -> Iterator[LogLine]:
    """Yield the lines of a part. A line without a time has the time of the line before."""
    machine, at = os.uname().nodename, _changed_at(path)
    for text in _texts(path):
        line = line_of(text, path.stem, machine) or _foreign(text, path.stem, machine, at)
        at = from_timestamp(line.at)
        yield line


def _texts(path: Path) -> list[str]:
    text = _end_of(path, READ_BYTES)
    if len(text) < READ_BYTES:
        text = _end_of(path.with_name(f"{path.name}.1"), READ_BYTES - len(text)) + text
    return [line for line in text.decode(errors="replace").splitlines() if line.strip()]


def _end_of(path: Path, size: int) -> bytes:
    """Return the end of a file, from the beginning of a line; empty if there is no file."""
    try:
        with path.open("rb") as file:
            whole = file.seek(0, os.SEEK_END)
            file.seek(max(0, whole - size))
            data = file.read(size)
    except FileNotFoundError:
        return b""
    return data if whole <= size else data.partition(b"\n")[2]


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _foreign(text: str, part: str, machine: str, at: float) -> LogLine:
    """Make a line of what PostgreSQL, NATS, Triton or an interpreter printed."""
    level = "error" if _ERROR.search(text) else "warning" if _WARNING.search(text) else "info"
    shown = bounded(redact(text), LONGEST_VALUE)
    return LogLine(at=to_timestamp(_time_in(text) or at), part=part, machine=machine, level=level, event=shown)


def _time_in(text: str) -> float | None:
    """Return the time that a line begins with, in Unix seconds. NATS writes local time, with slashes."""
    match = _TIME.search(text[:60])
    if match is None:
        return None
    year, sign, month, day, clock = match.groups()
    try:
        moment = datetime.fromisoformat(f"{year}-{month}-{day}T{clock}")
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC).timestamp() if sign == "-" else moment.timestamp()
