"""`countline sites`."""

from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1.cameras_pb2 import (
    CreateSiteRequest,
    DeleteSiteRequest,
    GetSiteRequest,
    ListSitesRequest,
    Site,
    UpdateSiteRequest,
)
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    YesOption,
    ask,
    confirm,
    note,
    print_change,
    print_json,
    print_table,
)
from countline_common.errors import InvalidInputError
from countline_common.grpc.client import Client
from countline_common.grpc.paging import every_page
from countline_common.http.rest_json import to_json

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Manage sites: places with a time zone.")


@app.command("add")
def add(
    site_id: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    time_zone: Annotated[
        str, typer.Option("--time-zone", "--timezone", help="IANA time zone in which the days of counts are cut.")
    ] = "UTC",
    title: Annotated[str, typer.Option(help="Display name.")] = "",
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Create a site.

    Example: countline sites add lab --time-zone Europe/Berlin
    """

    async def question(client: Client) -> Site:
        site = Site(site_id=site_id, title=title, time_zone=time_zone)
        return (await client.cameras.CreateSite(CreateSiteRequest(site=site))).site

    site = ask(server, data, question)
    print_change(site, f"Created site {site.site_id} ({site.time_zone}).", as_json=json)


@app.command("set")
def set_(
    site_id: Annotated[str, typer.Argument(help="Site to change.")],
    time_zone: Annotated[
        str | None,
        typer.Option("--time-zone", "--timezone", help="IANA time zone in which the days of counts are cut."),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", help="First day of the new time zone, such as 2026-03-01; the whole history by default."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Display name.")] = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Change a site. All counts follow a new time zone at once.

    Example: countline sites set lab --time-zone Europe/Berlin --from 2026-03-01
    """
    paths = [name for name, value in (("title", title), ("time_zone", time_zone)) if value is not None]
    if not paths:
        raise InvalidInputError("there is nothing to change", hint="give --time-zone or --title")
    if from_ is not None and time_zone is None:
        raise InvalidInputError("--from belongs to a time zone", hint="give --time-zone")
    site = Site(site_id=site_id, title=title or "", time_zone=time_zone or "")
    request = UpdateSiteRequest(site=site, update_mask=FieldMask(paths=paths), time_zone_from=from_ or "")

    async def question(client: Client) -> Site:
        return (await client.cameras.UpdateSite(request)).site

    changed = ask(server, data, question)
    print_change(changed, f"Changed site {changed.site_id} ({_zones(changed)}).", as_json=json)


def _zones(site: Site) -> str:
    """Return the time zones of a site as text: the current one, and those of earlier days."""
    earlier = [f"{each.time_zone} before {each.until}" for each in reversed(site.earlier_time_zones)]
    return ", ".join([site.time_zone, *earlier])


async def all_sites(client: Client) -> list[Site]:
    """Return every site."""
    return await every_page(
        lambda token: client.cameras.ListSites(ListSitesRequest(page_token=token)), lambda answer: answer.sites
    )


@app.command("list")
def list_(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List sites.

    Example: countline sites list
    """
    sites = ask(server, data, all_sites)
    if json:
        print_json({"sites": [to_json(site) for site in sites]})
        return
    rows = [(site.site_id, _zones(site), site.title) for site in sites]
    nothing = "No sites found. Add one: countline sites add ID --time-zone ZONE"
    print_table(("SITE", "TIME ZONE", "TITLE"), rows, nothing)


@app.command("rm")
def remove(
    site_id: Annotated[str, typer.Argument(help="Site to delete.")],
    yes: YesOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Delete a site that has no cameras. Counts of its former cameras are kept.

    Example: countline sites rm lab --yes
    """

    async def read(client: Client) -> None:
        await client.cameras.GetSite(GetSiteRequest(site_id=site_id))

    async def question(client: Client) -> None:
        await client.cameras.DeleteSite(DeleteSiteRequest(site_id=site_id))

    confirm(f"Delete site {site_id}?", yes=yes, check=lambda: ask(server, data, read))
    ask(server, data, question)
    note(f"Deleted site {site_id}.")
