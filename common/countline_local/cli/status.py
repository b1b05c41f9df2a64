"""`countline status`: what runs, and how it is."""

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from countline_common.settings import DataFolder
from countline_local.cli.display import parts_table
from countline_local.up.state import read_status

NOT_RUNNING: Final = 3
"""Exit code where nothing runs, as that of service managers."""


def status(
    data: Annotated[Path | None, typer.Option(help="The data folder that it runs on.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the parts with their states. Exit code 0 where it runs, 3 where it does not."""
    folder = DataFolder.resolve(data)
    found, runs = read_status(folder)
    if json_output:
        typer.echo(json.dumps(found))
    else:
        _show(found, runs=runs)
    if not runs:
        raise typer.Exit(NOT_RUNNING)


def _show(found: dict[str, object], *, runs: bool) -> None:
    console = Console(highlight=False)
    if not runs:
        console.print(f"countline does not run on {found['data']}; start it: countline up")
        return
    parts = found["parts"]
    console.print(parts_table(parts if isinstance(parts, list) else []))
    console.print(f"{'ready' if found['ready'] else 'not ready'}  {found['url']}  data in {found['data']}")
