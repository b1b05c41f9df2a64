"""`countline admin`."""

from typing import Annotated

import typer

from countline.v1 import administration_pb2 as pb
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, print_change, print_message, say
from countline_common.grpc.client import Client
from countline_common.times import from_timestamp, to_datetime

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Maintain the running system (system:admin).")
maintenance = typer.Typer(add_completion=False, no_args_is_help=True, help="Refuse changes; counting goes on.")
app.add_typer(maintenance, name="maintenance")


@maintenance.command("on")
def on(
    reason: Annotated[str, typer.Option("--reason", help="Why; callers whose changes are refused see it.")],
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Begin maintenance: all services refuse changes. Cameras are counted, and everything can be read.

    Example: countline admin maintenance on --reason "backup until 22:00"
    """
    found = _switch(pb.SetMaintenanceRequest(on=True, reason=reason), server, data)
    print_change(found, "Maintenance is on. End it with: countline admin maintenance off", as_json=json)


@maintenance.command("off")
def off(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """End maintenance.

    Example: countline admin maintenance off
    """
    print_change(_switch(pb.SetMaintenanceRequest(), server, data), "Maintenance is off.", as_json=json)


@maintenance.command("show")
def show(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """Show whether the system is in maintenance, who began it, and why.

    Example: countline admin maintenance show
    """

    async def question(client: Client) -> pb.GetMaintenanceResponse:
        return await client.administration.GetMaintenance(pb.GetMaintenanceRequest())

    found = ask(server, data, question).maintenance
    if json:
        print_message(found)
    elif found.on:
        at = to_datetime(from_timestamp(found.changed_at))
        say(f"on since {at:%Y-%m-%d %H:%M} UTC, by {found.changed_by}: {found.reason}")
    else:
        say("off")


def _switch(request: pb.SetMaintenanceRequest, server: str | None, data: DataOption) -> pb.Maintenance:
    async def question(client: Client) -> pb.SetMaintenanceResponse:
        return await client.administration.SetMaintenance(request)

    return ask(server, data, question).maintenance
