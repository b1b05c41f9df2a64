"""Temporary folders that are removed even if their process was killed.

A process holds an flock on a file in its folder as long as it lives. The kernel drops the lock with the process,
however the process dies. `scratch_folder` first removes folders of the same purpose whose lock can be taken.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from countline_common.files.locks import try_lock
from countline_common.system_user import system_user

LOCK: Final = ".lock"
UNLOCKED_S: Final = 60.0
"""A younger folder without a lock file counts as one that is just being made."""


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A temporary folder named `countline-<purpose>-…`; it exists as long as the block lasts."""
    _remove_abandoned(purpose)
    with tempfile.TemporaryDirectory(prefix=f"countline-{purpose}-", ignore_cleanup_errors=True) as name:
        if user := system_user():  # root's Triton reads models from such folders as that user
            os.chown(name, -1, user.pw_gid)
            Path(name).chmod(0o710)
        fd = os.open(Path(name, LOCK), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(fd)


def _remove_abandoned(purpose: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"countline-{purpose}-*"):
        try:
            if folder.stat().st_uid == os.getuid() and _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # another process removed it meanwhile


def _is_abandoned(folder: Path) -> bool:
    try:
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > UNLOCKED_S
    try:
        return try_lock(fd)
    finally:
        os.close(fd)
