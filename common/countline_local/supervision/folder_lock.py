"""The lock that permits one `countline up` per data folder.

The lock is an flock, which the kernel drops with the process, however it dies. The guard inherits it: while the guard
ends the parts of a killed supervisor, the folder stays locked and the next `countline up` waits. It also waits while
another one stops.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from countline_common.errors import AlreadyExistsError, CountlineError
from countline_common.files.locks import try_lock
from countline_local.supervision import control_socket

ENDING_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.05
PID_CHARACTERS: Final = 10


class FolderLock:
    """The lock of a data folder, held from `acquire` to `release`.

    Args:
        path: the lock file; it is never deleted and contains the process id of its last holder.
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
        """Take the lock; wait while the last holder stops, or while the guard ends the parts of a killed one.

        Args:
            on_wait: called once, if there is a wait.
            timeout_s: limit of the wait.

        Raises:
            AlreadyExistsError: another `countline up` uses this folder, or does not stop in time.
        """
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + timeout_s
        stops = False
        while not try_lock(self._fd):
            holder = self.holder()
            ends = has_ended(holder) or self._holder_stops(before=stops)
            if not ends or time.monotonic() > deadline:
                os.close(self._fd)
                raise self._refusal(holder, stops=ends)
            if not stops:
                on_wait()
            stops = True
            time.sleep(POLL_S)
        # Always of the same length, so that a full disk takes it where there was one before.
        os.pwrite(self._fd, f"{os.getpid():<{PID_CHARACTERS}}\n".encode(), 0)
        return self

    def wait_released(self, timeout_s: float) -> bool:
        """Whether the lock is free now or becomes free within some seconds."""
        deadline = time.monotonic() + timeout_s
        while self.is_held():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def is_held(self) -> bool:
        """Whether a process holds the lock now. Nothing is written, so a full disk or another user's folder is fine."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def refuse_if_running(self) -> None:
        """Check before a start, without taking the lock.

        Raises:
            AlreadyExistsError: a process holds the lock and is not stopping.
        """
        if self.is_held() and not self._holder_stops(before=True):
            raise self._refusal(self.holder(), stops=False)

    def holder(self) -> int | None:
        """Process id of the last holder."""
        try:
            return int(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def release(self) -> None:
        """Release the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _holder_stops(self, *, before: bool) -> bool:
        """Whether a living holder is stopping. One that no longer listens was stopping before, or has written so."""
        run = self._path.parent
        try:
            found = control_socket.ask(run, "status")
        except (CountlineError, FileNotFoundError):
            if before:
                return True
            found = _written_state(run)
        return found.get("state") == "stopping"

    def _refusal(self, holder: int | None, *, stops: bool) -> AlreadyExistsError:
        if stops:
            return AlreadyExistsError(
                f"Countline on {self._folder} is stopping (process {holder})",
                hint="try again soon; countline status shows what still runs",
            )
        return AlreadyExistsError(
            f"Countline is already running on {self._folder} (process {holder})",
            hint="show it: countline status; stop it: countline down; or use another folder: --data",
        )


def _written_state(run: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((run / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def has_ended(pid: int | None, within_s: float = 0.0) -> bool:
    """Whether a process has ended (zombies included) now or within some seconds."""
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
