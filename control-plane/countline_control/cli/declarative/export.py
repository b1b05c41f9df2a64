"""`countline sites export`."""

from typing import Annotated

import typer

from countline_common.cli.completion import complete_site
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, print_json, say
from countline_common.errors import NotFoundError
from countline_control.cli.declarative.execution import read_state
from countline_control.cli.sites import app
from countline_control.declarative.exporting import document_of, file_text

__all__ = ["app"]


@app.command("export")
def export(
    site_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SITE]...", help="Sites to export; all by default.", autocompletion=complete_site),
    ] = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Print sites with their cameras as a file for `countline apply`. Passwords are left out.

    Example: countline sites export lab > lab.yaml
    """
    state = ask(server, data, read_state)
    chosen = site_ids or sorted(state.sites)
    if unknown := [site_id for site_id in chosen if site_id not in state.sites]:
        raise NotFoundError(f"there is no site {unknown[0]!r}", hint="list the sites: countline sites list")
    cameras = [camera for camera in state.cameras.values() if camera.site_id in chosen]
    document = document_of([state.sites[site_id] for site_id in chosen], cameras)
    if json:
        print_json(document)
    else:
        say(file_text(document).removesuffix("\n"))
