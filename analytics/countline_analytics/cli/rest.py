"""What the commands that ask analytics have in common: the questions over REST, times, and options."""

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

CameraOption = Annotated[str | None, typer.Option("--camera", help="Only this camera.")]
StartOption = Annotated[
    str | None, typer.Option("--start", help="From when on, such as 2026-03-01T12:00:00Z; else the last hour.")
]
EndOption = Annotated[str | None, typer.Option("--end", help="Until when; else now.")]
BucketOption = Annotated[str, typer.Option("--bucket", help="1m, 15m, 1h, 1d or 1mo.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]
ServerOption = Annotated[
    str | None, typer.Option("--server", help="Which server to ask; else the one that you logged in to.")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder of `countline up` on this machine.")]


def moment(text: str | None, option: str) -> str | None:
    """A time as the server reads it; one without an offset is in this machine's zone.

    Raises:
        InvalidInputError: it is none.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError as error:
        raise InvalidInputError(f"--{option} {text!r} is no time", hint="write it as 2026-03-01T12:00:00Z") from error


def clock(text: str) -> str:
    """A time of an answer in this machine's zone, for people."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")


def ask(path: str, asked: dict[str, str | None], server: str | None, data: Path | None) -> dict[str, Any]:
    """The data of a GET.

    Args:
        path: such as `/api/v1/analytics/counts`.
        asked: parameters; those that are None are left out.
        server: which server, or None.
        data: the data folder of a local one, or None.

    Raises:
        CountlineError: nobody answers, or the server says what was wrong.
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
