"""`countline cameras rebuild`."""

from typing import Annotated

import typer

from countline.v1.cameras_pb2 import CameraDifference, RebuildCamerasRequest
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, YesOption, ask, confirm, note, print_json
from countline_common.cli.tools import print_table as table
from countline_common.grpc.client import Client
from countline_common.http.rest_json import to_json

_COLUMNS = ("CAMERA", "PATH", "STORED", "FROM EVENTS", "")


def rebuild(
    write: Annotated[bool, typer.Option("--write", help="Replace what is stored where it differs.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Make all cameras anew from their events, and compare them with those that are stored.

    Exits with 1 if something differs; with --write, if something still does.

    Example: countline cameras rebuild
    """
    if write:
        confirm("Replace stored cameras that differ from their events?", yes=yes, check=lambda: None)

    async def question(client: Client) -> tuple[int, int, list[CameraDifference]]:
        request, cameras, events, found = RebuildCamerasRequest(write=write), 0, 0, list[CameraDifference]()
        while True:
            answer = await client.cameras.RebuildCameras(request)
            cameras, events = cameras + answer.cameras, events + answer.events
            found.extend(answer.differences)
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                return cameras, events, found

    cameras, events, found = ask(server, data, question)
    remain = [each for each in found if not each.written]
    if json:
        print_json({"cameras": cameras, "events": events, "differences": [to_json(each) for each in found]})
    else:
        if found:
            table(_COLUMNS, [_row(each) for each in found], "")
        equal = "equal to those that are stored" if not remain else f"{len(remain)} differences"
        note(f"Rebuilt cameras: {cameras}, from {events} events: {equal}.")
    if remain:
        raise typer.Exit(1)


def _row(difference: CameraDifference) -> tuple[str, ...]:
    stored, rebuilt = difference.stored or "(none)", difference.rebuilt or "(none)"
    return difference.camera_id, difference.path, stored, rebuilt, "written" if difference.written else ""
