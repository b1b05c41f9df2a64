"""The parts' log files: their last lines for error messages, and a bound on their size."""

import os
import shutil
from pathlib import Path
from typing import Final

MAX_LOG_BYTES: Final = 10 * 1024 * 1024
TAIL_BYTES: Final = 16 * 1024


def tail(path: Path, lines: int, start: int = 0) -> list[str]:
    """The last lines of a file.

    Args:
        path: may be missing: then there are none.
        lines: at most so many.
        start: nothing before this offset, in bytes.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A file that was truncated meanwhile is read from its beginning.
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
        bound(path)


def bound(path: Path, most_bytes: int = MAX_LOG_BYTES) -> bool:
    """Keep a log that grew too large as `.1` and begin it anew; tells whether it did.

    The part holds the file open, so it is copied and truncated, not moved. A line written between the two is lost,
    which a log can bear and a pipe through this process, on which every part would hang, is not worth.
    """
    if size_bytes(path) <= most_bytes:
        return False
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
    return True
