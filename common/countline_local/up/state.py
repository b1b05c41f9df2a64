"""The folder and the state of one `countline up`, as other commands read them."""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from countline_common.errors import InvalidInputError, NotFoundError, UnavailableError
from countline_common.settings import DataFolder
from countline_local.supervision import control_socket
from countline_local.supervision.credentials import Credentials
from countline_local.supervision.folder_lock import FolderLock, has_ended
from countline_local.supervision.ports import PortChoice
from countline_local.supervision.state_files import replace_text, says_full
from countline_local.supervision.supervisor import Supervisor

STATE_INTERVAL_S: Final = 0.5
WAS_READY: Final = "was-ready"
"""A file in the run folder: all parts were ready once, and the password was shown."""
FOLDER_MODE: Final = 0o711
"""Of a data folder that is made here: PostgreSQL's user may pass through it and see nothing."""


def make_folders(data: DataFolder) -> None:
    """Make the data folder and, in it, the folders `run` and `logs`.

    Raises:
        InvalidInputError: the folder cannot be made or written to.
    """
    if os.geteuid() == 0:
        os.umask(0o022)  # Triton, which does not run as root, reads models; secrets get their modes one by one
    try:
        data.root.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        for folder in (data.run, data.logs):
            folder.mkdir(exist_ok=True, mode=0o700)
        probe = data.run / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInputError(
            f"cannot use the data folder {data.root}: {error.strerror}", hint="name another one with --data"
        ) from error


@contextlib.contextmanager
def writing_to(data: DataFolder) -> Iterator[None]:
    """Work that writes to the data folder before the parts start.

    Raises:
        UnavailableError: the disk does not take it.
    """
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"cannot write to the data folder {data.root}: {says_full(error)}",
            hint="free some disk space, or name another folder with --data",
        ) from error


def first_password(data: DataFolder) -> Callable[[], str | None]:
    """Check now whether this is the first start. The result returns the admin's password if it is, else None."""
    first = not (data.run / WAS_READY).exists()
    path = Credentials(data.credentials).admin_password
    return lambda: path.read_text().strip() if first else None


def port_notes(choices: Iterable[PortChoice]) -> list[str]:
    """A remark for each port that is not the usual one."""
    return [
        f"Port {choice.replaces} is in use, or was last time: {choice.name} listens on {choice.port}."
        for choice in choices
        if choice.replaces is not None
    ]


class UpState(StrEnum):
    """State of a whole `countline up`.

    stopped → starting → ready → stopping → stopped; between ready and degraded as parts fail and come back.
    """

    STARTING = "starting"
    """Not every part has been ready yet."""
    READY = "ready"
    DEGRADED = "degraded"
    """Every part was ready once, and at least one is not ready now."""
    STOPPING = "stopping"
    STOPPED = "stopped"


def status_json(data: DataFolder, url: str, supervisor: Supervisor) -> dict[str, Any]:
    """The output of `countline status --json`."""
    parts = [status.as_json() for status in supervisor.statuses]
    return _as_json(_state_of(supervisor), os.getpid(), data, url, parts)


def _state_of(supervisor: Supervisor) -> UpState:
    if supervisor.stopping:
        return UpState.STOPPING
    if supervisor.ready:
        return UpState.READY
    return UpState.DEGRADED if supervisor.was_ready else UpState.STARTING


async def keep_state(path: Path, status: Callable[[], dict[str, Any]]) -> None:
    """Write the state after each change, until cancelled. While the disk takes nothing, it is tried again."""
    written: dict[str, Any] | None = None
    while True:
        current = status()
        if current != written and await asyncio.to_thread(write_state, path, current):
            written = current
        await asyncio.sleep(STATE_INTERVAL_S)


def write_state(path: Path, status: dict[str, Any]) -> bool:
    """Replace the state file; False where the disk does not take it. The file only serves once Countline has ended."""
    try:
        replace_text(path, json.dumps(status, indent=2) + "\n")
    except OSError:
        return False
    return True


def read_status(data: DataFolder) -> dict[str, Any]:
    """The status. If Countline does not run, the parts of the last run are listed as stopped.

    The running process answers. Before it listens and after it has ended, the lock of the folder shows whether it
    starts, or its parts are still being ended: those that live are listed as stopping.

    Raises:
        UnavailableError: the process runs and does not answer.
    """
    try:
        found: dict[str, Any] = control_socket.ask(data.run, "status")
    except (NotFoundError, FileNotFoundError):
        return _status_without_answer(data)
    return found


def _status_without_answer(data: DataFolder) -> dict[str, Any]:
    lock = FolderLock(data.run / "lock", data.root)
    holder = lock.holder() if lock.is_held() else None
    state = UpState.STOPPED
    if holder is not None:
        state = UpState.STOPPING if has_ended(holder) else UpState.STARTING
    parts, url = _last_parts(data, ending=state is UpState.STOPPING)
    return _as_json(state, holder, data, url, parts)


def _as_json(
    state: UpState, pid: int | None, data: DataFolder, url: str | None, parts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    ready = state is UpState.READY
    return {"state": state.value, "ready": ready, "pid": pid, "data": str(data.root), "url": url, "parts": parts}


def _last_parts(data: DataFolder, *, ending: bool) -> tuple[list[dict[str, Any]], str | None]:
    try:
        last = json.loads((data.run / "state.json").read_text())
    except (OSError, ValueError):
        return [], None
    return [_last_part(part, ending=ending) for part in last["parts"]], last["url"]


def _last_part(part: dict[str, Any], *, ending: bool) -> dict[str, Any]:
    lives = ending and not has_ended(part["pid"])
    return {**part, "state": "stopping"} if lives else {**part, "state": "stopped", "pid": None}
