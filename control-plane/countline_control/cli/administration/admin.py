"""`countline admin`."""

from typing import Annotated, Final

import typer

from countline.v1 import administration_pb2 as pb
from countline.v1.parts_pb2 import (
    ListMigrationsRequest,
    ListMigrationsResponse,
    ListPartsRequest,
    ListPartsResponse,
    PartState,
    SchemaMigrations,
)
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    ask,
    print_change,
    print_message,
    print_table,
    say,
)
from countline_common.grpc.client import Client
from countline_common.http.rest_json import enum_word
from countline_common.times import from_timestamp, to_datetime

_STATES: Final = PartState.DESCRIPTOR

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


@app.command("parts")
def parts(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List the parts with version, machine and state. A part that has stopped is shown as lost for 15 minutes.

    PostgreSQL, NATS and Triton do not report themselves: countline status shows them.

    Example: countline admin parts
    """

    async def question(client: Client) -> ListPartsResponse:
        return await client.parts.ListParts(ListPartsRequest())

    found = ask(server, data, question)
    if json:
        print_message(found)
        return
    rows = [
        (
            each.name,
            each.instance,
            each.machine,
            each.version,
            f"{to_datetime(from_timestamp(each.started_at)):%Y-%m-%d %H:%M} UTC",
            enum_word(_STATES, each.state),
            "; ".join(f"{name}: {problem}" for name, problem in sorted(each.problems.items())),
        )
        for each in found.parts
    ]
    print_table(("PART", "INSTANCE", "MACHINE", "VERSION", "SINCE", "STATE", "PROBLEM"), rows, "No parts found.")


@app.command("migrations")
def migrations(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List the database schemas with their migrations. Exits with 1 if one is pending, or a database does not fit.

    Example: countline admin migrations
    """

    async def question(client: Client) -> ListMigrationsResponse:
        return await client.parts.ListMigrations(ListMigrationsRequest())

    found = ask(server, data, question)
    if json:
        print_message(found)
    else:
        rows = [(each.schema, each.part, each.applied, each.expected, _shown(each)) for each in found.migrations]
        print_table(("SCHEMA", "PART", "APPLIED", "EXPECTED", "STATE"), rows, "No migrations found.")
    if any(each.pending or each.problem for each in found.migrations):
        raise typer.Exit(1)


def _shown(found: SchemaMigrations) -> str:
    if found.problem:
        return found.problem
    return f"pending: {', '.join(found.pending)}" if found.pending else "up to date"


def _switch(request: pb.SetMaintenanceRequest, server: str | None, data: DataOption) -> pb.Maintenance:
    async def question(client: Client) -> pb.SetMaintenanceResponse:
        return await client.administration.SetMaintenance(request)

    return ask(server, data, question).maintenance
