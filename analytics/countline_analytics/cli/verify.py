"""`countline verify`: compares counted crossings with true crossings that the server stores."""

from typing import Annotated, Any, Final

import typer

from countline_analytics.cli.rest import CameraOption, DataOption, JsonOption, ServerOption, ask
from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal
from countline_common.cli.tools import note, print_json

PATH: Final = "/api/v1/analytics/verify"
DIRECTIONS: Final = ("in", "out")


def verify(
    camera: CameraOption = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Start of the time span, such as 2026-03-01T12:00:00Z, or 2026-03-01 in the site's time zone;"
            " the start of the truth by default."
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            help="End of the time span, in the site's time zone without an offset; 3 s ago by default, because a"
            " decision takes up to 3 s."
        ),
    ] = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Compare counted crossings with true crossings.

    The comparison uses the covered time without the first and last 3 s of each span. A counted and a true crossing
    match if they are at most 1 s apart. Exit code 0: all crossings match. Exit code 1: a crossing was missed or counted
    falsely, or the server did not answer.

    Example: countline verify --camera plaza
    """
    answer = ask(PATH, {"camera_id": camera}, {"start": start, "end": end}, server, data)
    by_camera = {each["camera_id"]: each for each in answer.get("cameras", [])}
    if as_json:
        print_json({name: _lines(each) for name, each in by_camera.items()})
    else:
        _print(by_camera)
    if not all(_agrees(result) for each in by_camera.values() for result in _results(each)):
        raise typer.Exit(1)


def _lines(camera: dict[str, Any]) -> dict[str, Any]:
    return {line["line_id"]: {name: line[name] for name in DIRECTIONS} for line in camera["lines"]}


def _results(camera: dict[str, Any]) -> list[dict[str, int]]:
    return [line[name] for line in camera["lines"] for name in DIRECTIONS]


def _agrees(result: dict[str, int]) -> bool:
    return result["missed"] == 0 and result["false"] == 0


def _print(cameras: dict[str, dict[str, Any]]) -> None:
    if not cameras:
        note("No camera has a truth set.")
        return
    columns = ("COUNTED", "TRUE", "MISSED", "FALSE", "COMPARED")
    table = new_table("CAMERA", "LINE", "DIRECTION", *columns, numbers=columns)
    for camera_id, camera in cameras.items():
        for line in camera["lines"]:
            for name in DIRECTIONS:
                result = line[name]
                figures = [str(result[key]) for key in ("counted", "true", "missed", "false")]
                style = None if _agrees(result) else "bold red"
                table.add_row(camera_id, line["line_id"], name, *figures, f"{camera['verified_s']:.0f} s", style=style)
    Terminal().print(table)
