"""Shared by the commands that query analytics: REST calls, times, options."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import typer

from countline_common.errors import InvalidInputError
from countline_common.grpc.client import connect
from countline_common.grpc.discovery import discover
from countline_common.http.rest_client import get

TIMEOUT_S: Final = 30.0

CameraOption = Annotated[str | None, typer.Option("--camera", help="Camera to show; all cameras by default.")]
StartOption = Annotated[
    str | None,
    typer.Option("--start", help="Start of the time span, such as 2026-03-01T12:00:00Z; the last hour by default."),
]
EndOption = Annotated[str | None, typer.Option("--end", help="End of the time span; now by default.")]
BucketOption = Annotated[str, typer.Option("--bucket", help="Bucket size: 1m, 15m, 1h, 1d or 1mo.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ServerOption = Annotated[
    str | None, typer.Option("--server", help="Server address; default: the server of the last login.")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder of a Countline on this machine.")]


def moment(text: str | None, option: str) -> str | None:
    """Return a time for the server; a time without offset is in this machine's time zone.

    Raises:
        InvalidInputError: the text is not a time.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError as error:
        hint = "write a time such as 2026-03-01T12:00:00Z"
        raise InvalidInputError(f"--{option}: {text!r} is not a time", hint=hint) from error


def clock(text: str) -> str:
    """Return a time of an answer as local time of this machine."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")


def ask(path: str, asked: dict[str, str | None], server: str | None, data: Path | None) -> dict[str, Any]:
    """Return the data of a GET.

    Args:
        path: such as `/api/v1/analytics/counts`.
        asked: query parameters; None values are left out.
        server: address of a server, or None.
        data: data folder of a local server, or None.

    Raises:
        CountlineError: the server does not answer, or reports an error.
    """
    parameters = {name: value for name, value in asked.items() if value}
    return asyncio.run(_ask(path, parameters, server, data))


async def _ask(path: str, parameters: dict[str, str], server: str | None, data: Path | None) -> dict[str, Any]:
    async with connect(discover(server, data)) as client:
        url = client.rest_base_url + path
        headers = await client.authorization()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            return await get(session, url, parameters, headers)
