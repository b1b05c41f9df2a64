"""`countline up`: starts all parts on one machine and stops them at the end."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from countline_common.cli.child_commands import command_line
from countline_common.errors import DeadlineExceededError, UnavailableError
from countline_common.logs import configure
from countline_common.settings import DataFolder
from countline_local.cli.display import JsonDisplay, TerminalDisplay
from countline_local.demo.site import set_up_demo
from countline_local.supervision.folder_lock import FolderLock
from countline_local.supervision.log_files import size_bytes, tail
from countline_local.supervision.ports import parse_wishes
from countline_local.supervision.state_files import has_room
from countline_local.up.camera_events import show_camera_events
from countline_local.up.certificates import keep_certificates
from countline_local.up.database_protection import protect_databases
from countline_local.up.run import Background, Up, UpOptions
from countline_local.up.state import first_password, make_folders, read_status, writing_to

DETACHED_TIMEOUT_S: Final = 1800.0
"""The process in the background gives up by itself, unless it hangs."""
DETACHED_TAIL_LINES: Final = 40


def up(
    data: Annotated[Path | None, typer.Option(help="Data folder; created if it does not exist.")] = None,
    port: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]PORT", help="Port of the gateway, or of the listener NAME.")
    ] = None,
    any_ports: Annotated[bool, typer.Option(help="Take any free ports instead of the usual ones.")] = False,
    tls: Annotated[
        bool, typer.Option("--tls", help="Use TLS with client certificates between the parts; see `countline certs`.")
    ] = False,
    demo: Annotated[bool, typer.Option(help="Set up the demo site at the first start.")] = True,
    detach: Annotated[
        bool,
        typer.Option("--detach", "-d", help="Return when all parts are ready; they keep running in the background."),
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Start PostgreSQL, NATS, Triton, control-plane, analytics and a worker; run until Ctrl-C.

    Example: countline up --data ~/countline --port 8090
    """
    folder = DataFolder.resolve(data)
    wishes = parse_wishes(port or [])
    if detach:
        _detach(folder, json_output=json_output)
        return
    display = JsonDisplay() if json_output else TerminalDisplay()
    background = background_work(demo=demo)
    with log_to(folder):
        asyncio.run(Up(UpOptions(folder, wishes, any_ports, tls), display, background).run())


@contextlib.contextmanager
def log_to(folder: DataFolder) -> Iterator[None]:
    """Write log events to `supervisor.log`, so that they do not disturb the display."""
    make_folders(folder)
    with writing_to(folder):
        stream = (folder.logs / "supervisor.log").open("a")
    try:
        configure("up", stream)
        yield
    finally:
        with contextlib.suppress(OSError):  # what a full disk did not take is lost
            stream.close()


def background_work(*, demo: bool) -> list[Background]:
    """The work that runs beside the parts."""
    always: list[Background] = [show_camera_events, keep_certificates, protect_databases]
    return [*always, set_up_demo] if demo else always


def _status_by_now(folder: DataFolder) -> dict[str, Any]:
    """Return the status; on an overloaded machine the process may not answer yet."""
    try:
        return read_status(folder)
    except UnavailableError:
        return {"ready": False}


def _start_again(log: Path) -> subprocess.Popen[bytes]:
    words = [word for word in sys.argv[1:] if word not in {"--detach", "-d", "--json"}]
    with log.open("ab") as output:
        return subprocess.Popen(
            command_line(*words),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


def _detach(folder: DataFolder, *, json_output: bool) -> None:
    """Start the same command in the background and wait until it is ready."""
    # The process in the background refuses too, but it writes the reason to a log that a full disk does not take.
    FolderLock(folder.run / "lock", folder.root).refuse_if_running()
    make_folders(folder)
    log = folder.logs / "up.log"
    start = size_bytes(log)
    password = first_password(folder)
    process = _start_again(log)
    deadline = time.monotonic() + DETACHED_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        status = _status_by_now(folder)
        if status["ready"] and status["pid"] == process.pid:  # another `up` may run on this folder
            display = JsonDisplay() if json_output else TerminalDisplay()
            display.ready(status, first_password=password())
            display.note("Countline runs in the background. To stop it: countline down")
            return
        time.sleep(0.2)
    said = "\n".join(tail(log, DETACHED_TAIL_LINES, start))
    if process.poll() is not None:
        if not has_room(folder.logs):
            raise UnavailableError(
                f"Countline did not start: the disk of {folder.root} is full",
                hint="free some disk space, or name another folder with --data",
            )
        raise UnavailableError(
            f"Countline did not start; the end of its log:\n{said}", hint=f"the whole log is in {log}"
        )
    raise DeadlineExceededError(
        f"Countline is not ready after {DETACHED_TIMEOUT_S:g} s; the end of its log:\n{said}",
        hint=f"the whole log is in {log}",
    )
