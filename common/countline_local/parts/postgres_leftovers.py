"""Ends a PostgreSQL server that outlived its supervisor, and removes what a killed one left behind."""

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Final

from countline_common.errors import ConflictError

STOP_TIMEOUT_S: Final = 20.0
DETACH_TIMEOUT_S: Final = 10.0

_IPC_RMID: Final = 0
_SHARED_MEMORY_LINE: Final = 6
"""Of postmaster.pid, counted from 0: the key and the id of the interlock's segment."""
_ATTACHED_COLUMN: Final = 6
"""Of /proc/sysvipc/shm: how many processes are attached."""


def stop_leftover(data_dir: Path) -> None:
    """Stop a server of this cluster that still runs, and clear what a killed one left.

    Raises:
        ConflictError: the server cannot be stopped.
    """
    pid_file = data_dir / "postmaster.pid"
    if not pid_file.exists():
        return
    lines = pid_file.read_text().splitlines()
    pid = int(lines[0])
    if runs_on(pid, data_dir):
        _stop(pid, data_dir)
    if len(lines) > _SHARED_MEMORY_LINE:
        _remove_segment(lines[_SHARED_MEMORY_LINE])
    # PostgreSQL refuses to start if another process of the same user has that number by now.
    pid_file.unlink(missing_ok=True)


def runs_on(pid: int, data_dir: Path) -> bool:
    """Whether a process is the PostgreSQL server of this cluster, not another process with the same number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return words[0].endswith(b"postgres") and os.fsencode(data_dir) in words


def _stop(pid: int, data_dir: Path) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    # Fast shutdown, then an immediate one: both leave a cluster that recovers.
    for number, until in ((signal.SIGINT, deadline - STOP_TIMEOUT_S / 2), (signal.SIGQUIT, deadline)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        while time.monotonic() < until:
            if not runs_on(pid, data_dir):
                return
            time.sleep(0.05)
    raise ConflictError(
        f"a PostgreSQL server (process {pid}) still runs on this data folder and does not stop",
        hint=f"end it with `kill -QUIT {pid}`, then start again",
    )


def _remove_segment(line: str) -> None:
    """Remove the System V segment by which PostgreSQL detects another server.

    It is removed only if key and id are both the recorded ones: a reboot reassigns ids. The children of a killed server
    stay attached until they notice its death, and a new server must not start before that.
    """
    key, segment_id = line.split()
    deadline = time.monotonic() + DETACH_TIMEOUT_S
    while (attached := _attached(key, segment_id)) > 0:
        if time.monotonic() > deadline:
            raise ConflictError(
                f"{attached} processes of a PostgreSQL server that was killed still use this data folder",
                hint="end them (`ps -C postgres`), then start again",
            )
        time.sleep(0.02)
    if attached == 0:
        ctypes.CDLL(None, use_errno=True).shmctl(int(segment_id), _IPC_RMID, None)


def _attached(key: str, segment_id: str) -> int:
    """Number of processes attached to a segment; -1 if there is no such segment."""
    for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        columns = row.split()
        if columns[:2] == [key, segment_id]:
            return int(columns[_ATTACHED_COLUMN])
    return -1
