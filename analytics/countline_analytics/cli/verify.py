"""`countline verify`: holds what was counted against the truth, as the server knows both."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from countline_common.client import connect, discover
from countline_common.errors import FieldProblem, InternalError, InvalidInputError, UnavailableError

TIMEOUT_S: Final = 30.0
PATH: Final = "/api/v1/analytics/verify"
DIRECTIONS: Final = ("in", "out")


def verify(
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    start: Annotated[
        str | None, typer.Option(help="From when on, such as 2026-03-01T12:00:00Z; else since the truth was recorded.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Until when; else until 3 s ago: a decision may take that long.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    server: Annotated[str | None, typer.Option(help="Which server to ask; else the one that you logged in to.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder of `countline up` on this machine.")] = None,
) -> None:
    """Hold what was counted against the truth, crossing by crossing.

    Compared is the time that was covered, without the first and last 3 s of each span. A counted and a true crossing
    match within 1 s. Exit code 0: everything agrees; 1: something was missed or counted falsely, or the server could
    not be asked.
    """
    asked = {"camera_id": camera, "start": _moment(start, "start"), "end": _moment(end, "end")}
    answer = asyncio.run(_ask({name: value for name, value in asked.items() if value}, server, data))
    by_camera = {each["camera_id"]: each for each in answer.get("cameras", [])}
    if as_json:
        typer.echo(json.dumps({name: _lines(each) for name, each in by_camera.items()}, indent=2))
    else:
        _print(by_camera)
    if not all(_agrees(result) for each in by_camera.values() for result in _results(each)):
        raise typer.Exit(1)


def _moment(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(f"--{option} {text!r} is no time", cure="write it as 2026-03-01T12:00:00Z") from error
    return moment.astimezone().isoformat()  # one without an offset is in this machine's zone


async def _ask(parameters: dict[str, str], server: str | None, data: Path | None) -> dict[str, Any]:
    async with connect(discover(server, data)) as client:
        url = client.rest_base_url + PATH
        headers = await client.authorization()
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, params=parameters, headers=headers) as response,
            ):
                return _data(await response.json(), url)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise UnavailableError(
                f"{url} does not answer: {str(error) or type(error).__name__}", cure="see: countline status"
            ) from error


def _data(body: Any, url: str) -> dict[str, Any]:
    """What a successful answer holds.

    Raises:
        CountlineError: the server says what was wrong.
    """
    if isinstance(body, dict) and body.get("success") is True:
        found: dict[str, Any] = body["data"]
        return found
    errors = body.get("errors") if isinstance(body, dict) else None
    if not errors:
        raise InternalError(f"{url} gave an answer that is none of ours")
    fields = tuple(FieldProblem(each["field"], each["message"]) for each in errors if each["field"])
    raise InvalidInputError(errors[0]["message"] if not fields else "the request was refused", fields=fields)


def _lines(camera: dict[str, Any]) -> dict[str, Any]:
    return {line["line_id"]: {name: line[name] for name in DIRECTIONS} for line in camera["lines"]}


def _results(camera: dict[str, Any]) -> list[dict[str, int]]:
    return [line[name] for line in camera["lines"] for name in DIRECTIONS]


def _agrees(result: dict[str, int]) -> bool:
    return result["missed"] == 0 and result["false"] == 0


def _print(cameras: dict[str, dict[str, Any]]) -> None:
    if not cameras:
        Console(stderr=True).print("No camera has a truth to hold counts against.")
        return
    table = Table("camera", "line", "direction", *(("counted", "true", "missed", "false")), "compared")
    for column in table.columns[3:]:
        column.justify = "right"
    for camera_id, camera in cameras.items():
        for line in camera["lines"]:
            for name in DIRECTIONS:
                result = line[name]
                figures = [str(result[key]) for key in ("counted", "true", "missed", "false")]
                style = None if _agrees(result) else "bold red"
                table.add_row(camera_id, line["line_id"], name, *figures, f"{camera['verified_s']:.0f} s", style=style)
    Console().print(table)
