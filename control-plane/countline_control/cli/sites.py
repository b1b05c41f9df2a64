"""`countline sites`."""

from typing import Annotated

import typer

from countline.v1.cameras_pb2 import CreateSiteRequest, ListSitesRequest, Site
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    ask,
    note,
    print_json,
    print_message,
    print_table,
)
from countline_common.grpc.client import Client
from countline_common.grpc.paging import every_page
from countline_common.http.rest_json import to_json

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Manage sites: places with a time zone.")


@app.command("add")
def add(
    site_id: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    time_zone: Annotated[str, typer.Option(help="IANA time zone in which the days of counts are cut.")] = "UTC",
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
    if json:
        print_message(site)
    else:
        note(f"Created site {site.site_id} ({site.time_zone}).")


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
    rows = [(site.site_id, site.time_zone, site.title) for site in sites]
    nothing = "No sites found. Add one: countline sites add ID --time-zone ZONE"
    print_table(("SITE", "TIME ZONE", "TITLE"), rows, nothing)
