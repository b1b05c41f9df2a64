"""`--watch` of commands that list something: the table is drawn again in place until Ctrl-C."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Group, RenderableType
from rich.live import Live

from countline_common.cli.output import is_wide
from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Styled, Terminal
from countline_common.errors import (
    DeadlineExceededError,
    InvalidInputError,
    NotRunningError,
    UnavailableError,
)

WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Draw the table again every 2 s, until Ctrl-C.")]
INTERVAL_S: Final = 2.0
_AWAY: Final = (UnavailableError, DeadlineExceededError, NotRunningError)

Rows = Iterable[Sequence[str | Styled]]


def watch_table(columns: Sequence[str], rows: Callable[[], Rows], *, as_json: bool) -> NoReturn:
    """Draw a table again and again. While the server is away, the last rows stay, with a line that says so.

    Args:
        columns: headings.
        rows: asks the server for the present rows.
        as_json: whether JSON is asked for, which cannot be watched.

    Raises:
        InvalidInputError: there is no terminal, or JSON is asked for.
        CountlineError: the server refuses; an answer that is late or missing ends nothing.
    """
    terminal = Terminal()
    if as_json or not sys.stdout.isatty() or terminal.is_dumb_terminal:
        raise InvalidInputError(
            "--watch draws tables on a terminal", hint="leave it out, and run the command again and again"
        )
    shown: list[Sequence[str | Styled]] = []
    with Live(console=terminal, screen=True, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            problem = ""
            try:
                shown = list(rows())
            except _AWAY as error:
                problem = error.message
            live.update(_drawn(columns, shown, problem), refresh=True)
            time.sleep(INTERVAL_S)


def _drawn(columns: Sequence[str], rows: Rows, problem: str) -> RenderableType:
    table = new_table(*columns)
    for column in table.columns:
        column.no_wrap = is_wide()
    for row in rows:
        table.add_row(*row)
    at = Styled(time.strftime("%H:%M:%S  Ctrl-C ends"), "dim")
    if problem:
        at.append(f"  no answer, trying again: {' '.join(problem.split())}", "bold red")
    return Group(at, table)
