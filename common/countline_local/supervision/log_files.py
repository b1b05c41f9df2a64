"""The parts' log files: their last lines for error messages, and a bound on their size."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

MAX_LOG_BYTES: Final = 10 * 1024 * 1024
TAIL_BYTES: Final = 16 * 1024


def tail(path: Path, lines: int, start: int = 0) -> list[str]:
    """The last lines of a file.

    Args:
        path: of a file that may be missing; then the list is empty.
        lines: maximum number of lines.
        start: lines before this offset (bytes) are ignored.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A file that was truncated meanwhile is read from the beginning.
            file.seek(max(start if start <= size else 0, size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:]


def size_bytes(path: Path) -> int:
    """Size of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def bound_all(folder: Path) -> None:
    """Bound every log in a folder."""
    for path in folder.glob("*.log"):
        with contextlib.suppress(OSError):  # the disk is full, say: the next call tries again
            bound(path)


def bound(path: Path, most_bytes: int = MAX_LOG_BYTES) -> bool:
    """Copy a log that grew too large to `.1` and truncate it; returns whether it did.

    The part holds the file open, so the file cannot be moved. A line written between copy and truncation is lost. The
    alternative, a pipe through this process, could block every part.

    Raises:
        OSError: there is no room for the copy; the log is unchanged.
    """
    if size_bytes(path) <= most_bytes:
        return False
    copy = path.with_name(f"{path.name}.1")
    try:
        shutil.copyfile(path, copy)
    except OSError:
        copy.unlink(missing_ok=True)  # half a copy only takes room
        raise
    os.truncate(path, 0)
    return True
