"""Shared by the commands that query analytics: REST calls, times, options."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import aiohttp
import typer

from countline_common.grpc.client import connect
from countline_common.grpc.discovery import discover
from countline_common.http.rest_client import get
from countline_common.http.site_times import read_times

TIMEOUT_S: Final = 30.0

CameraOption = Annotated[str | None, typer.Option("--camera", help="Camera to show; all cameras by default.")]
StartOption = Annotated[
    str | None,
    typer.Option(
        "--start",
        help="Start of the time span, such as 2026-03-01T12:00:00Z, or 2026-03-01 in the site's time zone;"
        " the last hour by default.",
    ),
]
EndOption = Annotated[
    str | None,
    typer.Option("--end", help="End of the time span, in the site's time zone without an offset; now by default."),
]
BucketOption = Annotated[str, typer.Option("--bucket", help="Bucket size: 1m, 15m, 1h, 1d or 1mo.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ServerOption = Annotated[
    str | None, typer.Option("--server", help="Server address; default: the context, or the last login.")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder of a Countline on this machine.")]


def clock(bucket: Mapping[str, Any], size: str = "") -> str:
    """Return the start of a bucket as the site's clocks show it; a day or a month as its date.

    An hour that occurs twice, because the clocks are set back, has its offset.
    """
    local = datetime.fromisoformat(bucket["start"]).astimezone(ZoneInfo(bucket["time_zone"]))
    if size in {"1d", "1mo"}:
        return local.strftime("%Y-%m-%d" if size == "1d" else "%Y-%m")
    occurs_twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    return local.strftime("%Y-%m-%d %H:%M%z" if occurs_twice else "%Y-%m-%d %H:%M")


def ask(
    path: str,
    asked: Mapping[str, str | None],
    times: Mapping[str, str | None],
    server: str | None,
    data: Path | None,
) -> dict[str, Any]:
    """Return the data of a GET.

    Args:
        path: such as `/api/v1/analytics/counts`.
        asked: query parameters; None values are left out.
        times: query parameters that are times as the user wrote them. Without an offset they are those of the site of
            `asked["camera_id"]`.
        server: address of a server, or None.
        data: data folder of a local server, or None.

    Raises:
        InvalidInputError: a time cannot be read.
        CountlineError: the server does not answer, or reports an error.
    """
    parameters = {name: value for name, value in asked.items() if value}
    return asyncio.run(_ask(path, parameters, times, server, data))


async def _ask(
    path: str, parameters: dict[str, str], times: Mapping[str, str | None], server: str | None, data: Path | None
) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with connect(discover(server, data)) as client, aiohttp.ClientSession(timeout=timeout) as session:

        async def rest(path: str, query: Mapping[str, str]) -> dict[str, Any]:
            return await get(session, client.rest_base_url + path, query, await client.authorization())

        moments = await read_times(rest, times, parameters.get("camera_id"))
        return await rest(path, {**parameters, **{name: moment.isoformat() for name, moment in moments.items()}})
