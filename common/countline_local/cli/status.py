"""`countline status`: shows the parts and their state."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from countline_common.cli.terminal import Styled, Terminal
from countline_common.settings import DataFolder
from countline_local.cli.display import parts_table
from countline_local.up.state import UpState, read_status

NOT_RUNNING: Final = 3
"""Exit code if Countline is not running, as in service managers."""


def status(
    data: Annotated[Path | None, typer.Option(help="Data folder of the Countline to show.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the parts and their state. The exit code is 3 if Countline does not run, else 0.

    Example: countline status --json
    """
    folder = DataFolder.resolve(data)
    found = read_status(folder)
    if json_output:
        print(json.dumps(found))
    else:
        _show(found)
    if found["state"] == UpState.STOPPED:
        raise typer.Exit(NOT_RUNNING)


def _show(found: dict[str, Any]) -> None:
    terminal = Terminal()
    if found["state"] == UpState.STOPPED:
        terminal.print(f"Countline is not running on {found['data']}. Start it: countline up")
        return
    terminal.print(parts_table(found["parts"]))
    for part in found["parts"]:
        if remark := part.get("remark"):
            terminal.print(Styled(f"{part['name']}: {remark}", style="yellow"))
    terminal.print("  ".join(filter(None, (found["state"], found["url"], f"data in {found['data']}"))))
