"""The output of `countline up`: progress of each part, then a table, the URL and the first password.

Progress and remarks go to standard error, the result to standard output. On a terminal one line per part is redrawn in
place; elsewhere each change is one line.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Styled, Terminal
from countline_common.settings import DataFolder
from countline_common.tasks import cancel
from countline_local.supervision.part import PartEvent, PartState, PartStatus

REFRESH_S: Final = 0.1
STYLES: Final = {
    PartState.READY: "green",
    PartState.STARTING: "yellow",
    PartState.FAILED: "red",
    PartState.STOPPED: "dim",
}

Statuses = Callable[[], list[PartStatus]]


class TerminalDisplay:
    """Output for people, on a terminal or in a log."""

    def __init__(self) -> None:
        self._errors = Terminal(stderr=True)
        self._output = Terminal()

    def note(self, text: str) -> None:
        """A remark in a line of its own."""
        self._say(Styled(text, style="dim"))

    def event(self, event: PartEvent) -> None:
        """What happened to a part, with the time."""
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        style = "green" if event.good else "yellow"
        self._say(Styled.assemble((f"{now} ", "dim"), (event.name, style), f": {event.text}"))

    @contextlib.asynccontextmanager
    async def progress(self, statuses: Statuses) -> AsyncIterator[None]:
        """A line a part, until the context ends."""
        show = self._redraw(statuses) if self._errors.is_terminal else self._print_changes(statuses)
        task = asyncio.create_task(show, name="progress")
        try:
            yield
        finally:
            await cancel(task)

    def ready(self, status: dict[str, Any], *, first_password: str | None) -> None:
        """The table of parts, the address of the dashboard and, the first time, the password."""
        with contextlib.suppress(OSError):  # as in `_say`
            self._output.print(parts_table(status["parts"]))
            self._output.print(Styled.assemble("Dashboard  ", (status["url"], "bold cyan")))
            if first_password is not None:
                self._output.print(Styled.assemble("User       ", ("admin", "bold")))
                self._output.print(self._password_line(status, first_password))
            self._output.print(Styled(f"Data       {status['data']}"))

    def _password_line(self, status: dict[str, Any], password: str) -> RenderableType:
        """Show the password on a terminal. Elsewhere name its file, lest the password stays in a log."""
        if self._output.is_terminal:
            return Styled.assemble("Password   ", (password, "bold"), "  (shown once; stored in the data folder)")
        return Styled(f"Password   in {DataFolder(Path(status['data'])).credential('admin-password')}")

    async def _redraw(self, statuses: Statuses) -> None:
        spinners: dict[str, Spinner] = {}
        with Live(console=self._errors, refresh_per_second=1 / REFRESH_S, transient=False) as live:
            try:
                while True:
                    live.update(progress_table(statuses(), spinners))
                    await asyncio.sleep(REFRESH_S)
            finally:
                live.update(progress_table(statuses(), spinners))

    async def _print_changes(self, statuses: Statuses) -> None:
        shown: dict[str, str] = {}
        try:
            while True:
                self._print_new(statuses(), shown)
                await asyncio.sleep(REFRESH_S)
        finally:
            self._print_new(statuses(), shown)

    def _print_new(self, statuses: Sequence[PartStatus], shown: dict[str, str]) -> None:
        for status in statuses:
            text = describe(status)
            if shown.get(status.name) != text:
                shown[status.name] = text
                self._say(Styled(f"{status.name}: {text}"))

    def _say(self, text: RenderableType) -> None:
        # A remark that cannot be written, on a full disk, must not end the parts.
        with contextlib.suppress(OSError):
            self._errors.print(text, soft_wrap=True)  # no wrapping: programs and logs need one line per event


class JsonDisplay(TerminalDisplay):
    """Progress for people on standard error, the status as JSON on standard output."""

    def ready(self, status: dict[str, Any], *, first_password: str | None) -> None:  # noqa: ARG002  (it is in the data folder)
        """The status, once."""
        with contextlib.suppress(OSError):  # as in `_say`
            sys.stdout.write(json.dumps(status) + "\n")
            sys.stdout.flush()


def describe(status: PartStatus) -> str:
    """The state of a part, in words."""
    if status.state is PartState.READY:
        took = f" after {status.ready_after_s:.1f} s" if status.ready_after_s is not None else ""
        return f"ready{took} at {status.address}"
    return f"{status.state.value}: {status.detail}" if status.detail else status.state.value


def progress_table(statuses: Sequence[PartStatus], spinners: dict[str, Spinner]) -> Table:
    """One line per part: a spinner while it starts, its name, what it waits for and for how long."""
    table = Table.grid(padding=(0, 1))
    for status in statuses:
        style = STYLES[status.state]
        sign: Spinner | Styled = Styled("✓" if status.state is PartState.READY else "·", style=style)
        if status.state is PartState.STARTING:
            sign = spinners.setdefault(status.name, Spinner("dots", style=style))
        elif status.state is PartState.FAILED:
            sign = Styled("✗", style=style)
        table.add_row(sign, Styled(status.name, style="bold"), Styled(_progress_text(status), style=style))
    return table


def _progress_text(status: PartStatus) -> str:
    if status.state is PartState.STARTING:
        return f"{status.detail}  {time.monotonic() - status.since:.0f} s"
    return describe(status)


def parts_table(parts: Sequence[dict[str, Any]]) -> Table:
    """The parts with address and state, from the status's JSON."""
    table = new_table("PART", "STATE", "ADDRESS", "PID", "RESTARTS", numbers=("PID", "RESTARTS"))
    for part in parts:
        state = PartState(part["state"])
        cells = (part["name"], Styled(state.value, style=STYLES[state]), part["address"], str(part["pid"] or "-"))
        table.add_row(*cells, str(part["restarts"]))
    return table
