"""`countline status`: shows the parts and their state."""

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from countline_common.cli.terminal import Terminal
from countline_common.settings import DataFolder
from countline_local.cli.display import parts_table
from countline_local.up.state import read_status

NOT_RUNNING: Final = 3
"""Exit code if Countline is not running, as in service managers."""


def status(
    data: Annotated[Path | None, typer.Option(help="Data folder of the Countline to show.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the parts and their state. The exit code is 0 if Countline runs, else 3.

    Example: countline status --json
    """
    folder = DataFolder.resolve(data)
    found, runs = read_status(folder)
    if json_output:
        print(json.dumps(found))
    else:
        _show(found, runs=runs)
    if not runs:
        raise typer.Exit(NOT_RUNNING)


def _show(found: dict[str, object], *, runs: bool) -> None:
    terminal = Terminal()
    if not runs:
        terminal.print(f"Countline is not running on {found['data']}. Start it: countline up")
        return
    parts = found["parts"]
    terminal.print(parts_table(parts if isinstance(parts, list) else []))
    terminal.print(f"{'ready' if found['ready'] else 'not ready'}  {found['url']}  data in {found['data']}")
