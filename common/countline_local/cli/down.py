"""`countline down`: stops a running `countline up`."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from countline_common.cli.tools import note
from countline_common.errors import DeadlineExceededError, NotFoundError, UnavailableError
from countline_common.settings import DataFolder
from countline_local.supervision import control_socket
from countline_local.supervision.folder_lock import FolderLock, has_ended

STOP_TIMEOUT_S: Final = 20.0
"""Until the lock is released and the supervisor has ended: its interpreter's exit takes seconds on a busy machine."""


def down(data: Annotated[Path | None, typer.Option(help="Data folder of the running Countline.")] = None) -> None:
    """Stop the Countline of a data folder and wait until it has stopped.

    Example: countline down --data ~/countline
    """
    folder = DataFolder.resolve(data)
    lock = FolderLock(folder.run / "lock", folder.root)
    supervisor = lock.holder()
    started = time.monotonic()
    try:
        control_socket.ask(folder.run, "stop")
    except (NotFoundError, FileNotFoundError, UnavailableError):
        if not lock.is_held():
            note(f"Countline is not running on {folder.root}.")
            return
        _terminate(supervisor)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    if not (lock.wait_released(STOP_TIMEOUT_S) and has_ended(supervisor, deadline - time.monotonic())):
        raise DeadlineExceededError(
            f"Countline on {folder.root} did not stop within {STOP_TIMEOUT_S:g} s",
            hint=f"end it: kill -9 {supervisor}; its parts end with it",
        )
    note(f"Stopped in {time.monotonic() - started:.1f} s.")


def _terminate(supervisor: int | None) -> None:
    """Ask by a signal: the process does not listen yet, or does not answer. One that was killed needs none."""
    if supervisor is not None and not has_ended(supervisor):
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)
