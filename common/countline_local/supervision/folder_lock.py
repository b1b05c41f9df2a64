"""One `countline up` on one data folder.

The lock is an flock, which the kernel drops with the process however it dies. The guard inherits it: as long as a
killed supervisor's parts are being ended the folder stays locked, and who comes next waits for that.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from countline_common.errors import AlreadyExistsError

ENDING_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.05


class FolderLock:
    """The lock of a data folder, held from `acquire` to `release`.

    Args:
        path: the lock file; it stays, and holds the process id of its last holder.
        folder: what is locked, for messages.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._fd = -1

    @property
    def fd(self) -> int:
        """The descriptor that carries the lock; a child that inherits it keeps the folder locked."""
        return self._fd

    def acquire(self, on_wait: Callable[[], None] = lambda: None, timeout_s: float = ENDING_TIMEOUT_S) -> Self:
        """Take the lock; waits while the parts of a supervisor that was killed are being ended.

        Args:
            on_wait: called once, when there is something to wait for.
            timeout_s: how long.

        Raises:
            AlreadyExistsError: another one runs on this folder.
        """
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + timeout_s
        told = False
        while not self._try():
            holder = self.holder()
            if not has_ended(holder) or time.monotonic() > deadline:
                os.close(self._fd)
                raise self._refusal(holder)
            if not told:
                on_wait()
                told = True
            time.sleep(POLL_S)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return self

    def wait_released(self, timeout_s: float) -> bool:
        """Whether nobody holds the lock, now or within some seconds."""
        deadline = time.monotonic() + timeout_s
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
            else:
                return True
            finally:
                os.close(fd)
            time.sleep(POLL_S)

    def holder(self) -> int | None:
        """Process id of whoever took the lock last."""
        try:
            return int(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def release(self) -> None:
        """Give the lock back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _refusal(self, holder: int | None) -> AlreadyExistsError:
        return AlreadyExistsError(
            f"countline runs already on {self._folder} (process {holder})",
            hint="see it with `countline status`, stop it with `countline down`, or use another folder with --data",
        )


def has_ended(pid: int | None, within_s: float = 0.0) -> bool:
    """Whether a process is gone, or dead and only not buried by its parent yet, now or within some seconds."""
    deadline = time.monotonic() + within_s
    while pid is not None:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
