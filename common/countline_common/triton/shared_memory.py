"""POSIX shared-memory segments that can be cleaned up after any crash.

A segment is a file in /dev/shm (Linux). Its maker holds an flock on it as long as it lives; the kernel drops the lock
with the process, however it dies. So a segment whose lock can be taken has no owner and may be removed. The
lock, not the process id in the name, is the proof of life: containers that share /dev/shm do not share process ids.

`multiprocessing.shared_memory` is not used: it starts a tracker process and reserves no pages. A full /dev/shm would
then end the process with SIGBUS in the middle of a frame, instead of an error at the start.
"""

import errno
import fcntl
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from countline_common.errors import AlreadyExistsError, ResourceExhaustedError
from countline_common.files.locks import try_lock
from countline_common.system_user import system_user

SHARED_MEMORY_DIRECTORY: Final = Path("/dev/shm")  # noqa: S108  (where Linux keeps POSIX shared memory)


class SharedSegment:
    """A segment of shared memory that this process makes and owns until `close`.

    Args:
        name: without a slash; other processes open it as `/name`.
        size_bytes: reserved at once; 0 makes a proof of life only (`remove_stale` uses it).

    Raises:
        AlreadyExistsError: the name is taken.
        ResourceExhaustedError: /dev/shm is too small or full.
    """

    def __init__(self, name: str, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._path = SHARED_MEMORY_DIRECTORY / name
        self._fd = _create_locked(self._path, size_bytes)
        self._map = mmap.mmap(self._fd, size_bytes) if size_bytes else None

    @property
    def buffer(self) -> memoryview:
        """The whole segment, writable; release every view of it before `close`."""
        return memoryview(self._map) if self._map is not None else memoryview(b"")

    @property
    def fd(self) -> int:
        """The descriptor that carries the lock: a child that inherits it keeps the segment alive."""
        return self._fd

    def close(self) -> None:
        """Remove the segment; safe to call twice.

        Views that are still held keep their memory, but no other process can open it.
        """
        if self._fd < 0:
            return
        self._path.unlink(missing_ok=True)
        if self._map is not None:
            with suppress(BufferError):  # a view is still held and keeps the memory
                self._map.close()
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _create_locked(path: Path, size_bytes: int) -> int:
    while True:
        fd = _create(path)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            break
        os.close(fd)  # a process that cleans up had the lock first and removed the file
    try:
        if size_bytes:
            os.posix_fallocate(fd, 0, size_bytes)
    except OSError as error:
        path.unlink(missing_ok=True)
        os.close(fd)
        if error.errno in {errno.ENOSPC, errno.ENOMEM}:
            raise _too_small(size_bytes) from error
        raise
    return fd


def _create(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise AlreadyExistsError(f"the shared-memory segment {path.name!r} exists already") from error
    if user := system_user():  # Triton, which opens the segment, does not run as root
        os.fchown(fd, user.pw_uid, user.pw_gid)
    return fd


def _too_small(size_bytes: int) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"{SHARED_MEMORY_DIRECTORY} has no room for {size_bytes / 2**20:.0f} MiB of frames",
        hint="free it, or give it more room: `mount -o remount,size=1G /dev/shm`, for a container `--shm-size=1g`",
    )


def remove_stale(prefix: str) -> list[str]:
    """Remove the segments with a prefix that no living process holds; returns their names.

    A proof of life (a segment of 0 bytes) protects every segment whose name begins with its own name and a dash: they
    are removed together with it. That covers segments of programs that take no lock.
    """
    found = sorted(SHARED_MEMORY_DIRECTORY.glob(f"{prefix}*"))
    guards = [path for path in found if _size(path) == 0]
    guarded = {path: guard for path in found for guard in guards if path.name.startswith(f"{guard.name}-")}
    removed: list[str] = []
    for path in found:
        if path not in guarded and _remove_if_unheld(path):
            removed.append(path.name)
            removed += [_unlink(child) for child, guard in guarded.items() if guard == path]
    return removed


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _remove_if_unheld(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # removed meanwhile, or another user's
        return False
    try:
        if not try_lock(fd):
            return False
        _unlink(path)
    finally:
        os.close(fd)
    return True


def _unlink(path: Path) -> str:
    path.unlink(missing_ok=True)
    return path.name
