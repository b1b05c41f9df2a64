"""The folder and the state of one `countline up`, as other commands read them."""

import asyncio
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from countline_common.errors import CountlineError, InvalidInputError
from countline_common.settings import DataFolder
from countline_local.supervision import control_socket
from countline_local.supervision.credentials import Credentials
from countline_local.supervision.ports import PortChoice
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


def status_json(data: DataFolder, url: str, supervisor: Supervisor) -> dict[str, Any]:
    """The output of `countline status --json`."""
    parts = [status.as_json() for status in supervisor.statuses]
    return {"ready": supervisor.ready, "data": str(data.root), "url": url, "parts": parts}


async def keep_state(path: Path, status: Callable[[], dict[str, Any]]) -> None:
    """Write the state after each change, until cancelled."""
    written: dict[str, Any] | None = None
    while True:
        current = status()
        if current != written:
            await asyncio.to_thread(write_state, path, current)
            written = current
        await asyncio.sleep(STATE_INTERVAL_S)


def write_state(path: Path, status: dict[str, Any]) -> None:
    """Replace the state file atomically."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(status, indent=2) + "\n")
    partial.replace(path)


def read_status(data: DataFolder) -> tuple[dict[str, Any], bool]:
    """The status, and whether Countline runs. If it does not, the parts of the last run are listed as stopped."""
    try:
        return control_socket.ask(data.run, "status"), True
    except CountlineError as error:
        if error.code != "NOT_FOUND":
            raise
    except FileNotFoundError:  # no such data folder
        pass
    try:
        last = json.loads((data.run / "state.json").read_text())
    except (FileNotFoundError, ValueError):
        return {"ready": False, "data": str(data.root), "url": None, "parts": []}, False
    parts = [{**part, "state": "stopped", "pid": None} for part in last["parts"]]
    return {**last, "ready": False, "parts": parts}, False
