"""Small files of the data folder that are replaced as a whole, and what a full disk means for them."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
PROBE_BYTES: Final = 1024 * 1024
"""A part that is started with less room would soon stop storing again."""


def replace_text(path: Path, text: str) -> None:
    """Replace a file atomically. A file that already has this content is left alone, so a full disk is no obstacle.

    Raises:
        OSError: the new content cannot be written; the old file is unchanged.
    """
    data = text.encode()
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def has_room(folder: Path) -> bool:
    """Return whether the disk of a folder has room for a mebibyte.

    It writes one, because a quota can be full while the disk has free space.
    """
    probe = folder / f".room-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return True


def says_full(error: OSError) -> str:
    """An error of the disk in words."""
    return "the disk is full" if error.errno in FULL else error.strerror or str(error)
