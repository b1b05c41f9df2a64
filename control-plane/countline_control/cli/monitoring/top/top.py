"""`countline top`."""

import asyncio
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.live import Live

from countline_common.cli.completion import complete_site
from countline_common.cli.terminal import Terminal
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, print_json
from countline_common.errors import (
    CountlineError,
    DeadlineExceededError,
    InvalidInputError,
    NotRunningError,
    UnavailableError,
)
from countline_common.grpc.discovery import discover
from countline_common.tasks import cancel
from countline_control.cli.monitoring.top.keys import pressed_keys
from countline_control.cli.monitoring.top.screen import TopView, screen
from countline_control.cli.monitoring.top.snapshot import TopSnapshot, TopSort
from countline_control.cli.monitoring.top.watch import take_snapshot

REDRAW_S: Final = 1.0
"""The screen is drawn anew after this time, so that it follows the size of the terminal and the clock."""
LONGEST_POLL_S: Final = 15.0
_AWAY: Final = (UnavailableError, DeadlineExceededError, NotRunningError)
_PAGE: Final = 10
_STEPS: Final = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -_PAGE, "page down": _PAGE, "home": -(10**9)}


def top(
    site: Annotated[str, typer.Option("--site", help="Only cameras of this site.", autocompletion=complete_site)] = "",
    sort: Annotated[TopSort, typer.Option("--sort", help="By what cameras are sorted at first.")] = TopSort.STATE,
    interval_s: Annotated[
        float, typer.Option("--interval", min=0.5, max=3600, metavar="SECONDS", help="Time between two looks.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one screen and end.")] = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Watch cameras and workers live: frames a second, latency, counts per minute, load.

    Keys: q quits, s sorts by the next column, r reverses the order, the arrows scroll. COUNTS/MIN are the crossings of
    the last full minute.

    Example: countline top --site lab --sort latency
    """
    if json or once:
        snapshot = asyncio.run(_within_limit(server, data, site))
        if json:
            print_json(snapshot.as_dict())
        else:
            terminal = Terminal()
            terminal.print(screen(snapshot, TopView(sort, server=_name(server, data)), terminal.width, 0))
        return
    if not sys.stdin.isatty() or not sys.stdout.isatty() or Terminal().is_dumb_terminal:
        raise InvalidInputError(
            "countline top needs a terminal that can move its cursor", hint="elsewhere: countline top --once, or --json"
        )
    asyncio.run(_live(TopView(sort, server=_name(server, data)), server, data, site, interval_s))


def _name(server: str | None, data: Path | None) -> str:
    """The server in a word, for the heading."""
    try:
        found = discover(server, data)
    except CountlineError:
        return ""
    return found.context or found.endpoints.auth


async def _within_limit(server: str | None, data: Path | None, site: str) -> TopSnapshot:
    try:
        async with asyncio.timeout(LONGEST_POLL_S):
            return await take_snapshot(server, data, site)
    except TimeoutError:
        raise DeadlineExceededError(f"the server gave no answer within {LONGEST_POLL_S:g} s") from None


@dataclass
class _Shown:
    """What the screen shows now."""

    view: TopView
    snapshot: TopSnapshot | None = None
    problem: str = ""
    failing_since: float = 0.0
    """Unix seconds; 0 while the server answers."""
    fault: CountlineError | None = None
    """Ends the command: an error that no time cures."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def press(self, key: str) -> bool:
        """Act on a key; False if it ends the command."""
        if key in {"q", "Q", "end", "\x04"}:
            return False
        cameras = len(self.snapshot.cameras) if self.snapshot else 0
        if key == "s":
            self.view = self.view.sorted_further()
        elif key == "r":
            self.view = replace(self.view, backwards=not self.view.backwards)
        elif key in _STEPS:
            self.view = self.view.moved(_STEPS[key], cameras)
        return True

    def fail(self, error: CountlineError) -> None:
        """Go on with the old snapshot while the server is away. Another error before the first snapshot ends all."""
        if self.snapshot is None and not isinstance(error, _AWAY):
            self.fault = error
        self.failing_since = self.failing_since or time.time()
        self.problem = error.message

    def succeed(self, snapshot: TopSnapshot) -> None:
        """Show a new snapshot."""
        self.snapshot, self.problem, self.failing_since = snapshot, "", 0.0

    @property
    def banner(self) -> str:
        """Why the snapshot is old, and since when; empty if it is not."""
        if not self.problem:
            return ""
        return f"No answer for {time.time() - self.failing_since:.0f} s, trying again: {self.problem}"


async def _live(view: TopView, server: str | None, data: Path | None, site: str, interval_s: float) -> None:
    terminal, shown = Terminal(), _Shown(view)

    async def poll() -> None:
        while shown.fault is None:
            try:
                shown.succeed(await _within_limit(server, data, site))
            except CountlineError as error:
                shown.fail(error)
            shown.changed.set()
            await asyncio.sleep(interval_s)

    polling = asyncio.create_task(poll(), name="poll")
    try:
        with pressed_keys() as keys, Live(console=terminal, screen=True, auto_refresh=False) as live:
            await _draw_until_quit(live, terminal, shown, keys, polling)
    finally:
        await cancel(polling)
    if shown.fault is not None:
        raise shown.fault


async def _draw_until_quit(
    live: Live, terminal: Terminal, shown: _Shown, keys: "asyncio.Queue[str]", polling: "asyncio.Task[None]"
) -> None:
    while shown.fault is None:
        size = terminal.size
        drawn = screen(shown.snapshot, shown.view, size.width, size.height, shown.banner)
        live.update(drawn, refresh=True)
        if polling.done() and shown.fault is None:
            polling.result()  # an error that nobody foresaw ends the command
        if not await _next_event(shown, keys):
            return


async def _next_event(shown: _Shown, keys: "asyncio.Queue[str]") -> bool:
    """Wait for a key, a snapshot or the time to redraw; False if a key ends the command."""
    key, change = asyncio.create_task(keys.get()), asyncio.create_task(shown.changed.wait())
    try:
        await asyncio.wait({key, change}, timeout=REDRAW_S, return_when=asyncio.FIRST_COMPLETED)
        shown.changed.clear()
        return shown.press(key.result()) if key.done() else True
    finally:
        await cancel(key, change)
