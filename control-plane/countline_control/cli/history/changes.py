"""`countline cameras history`."""

from collections.abc import Awaitable
from typing import Annotated, Final

import typer

from countline.v1.cameras_pb2 import (
    CameraChange,
    CameraConsequence,
    CameraEvent,
    ListCameraChangesRequest,
    ListCameraChangesResponse,
)
from countline_common.cli.output import is_wide
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, print_json, print_table
from countline_common.cli.watching import WatchOption, watch_table
from countline_common.grpc.client import Client
from countline_common.grpc.paging import first_items
from countline_common.http.rest_json import to_json
from countline_common.times import from_timestamp, rfc3339
from countline_control.cli.cameras import CameraArgument

COLUMNS: Final = ("AT", "WHO", "REVISION", "WHAT", "FOR COUNTING", "LOST")
MORE_COLUMNS: Final = ("FIELDS",)
"""Columns that `-o wide` adds."""
_WORDS: Final = {
    "CameraImported": "taken over from an older release",
    "CameraCreated": "created",
    "CameraDeleted": "deleted",
    "CameraRenamed": "renamed",
    "CameraMoved": "moved",
    "CameraTagged": "tagged",
    "StreamAddressChanged": "address changed",
    "CameraConfigured": "configured",
    "CameraActivated": "activated",
    "CameraResumed": "resumed",
    "CameraPaused": "paused",
    "CameraDeactivated": "deactivated",
    "CameraRetired": "retired",
    "PictureChanged": "picture changed",
    "LineDrawn": "line {} drawn",
    "LineChanged": "line {} changed",
    "LineRemoved": "line {} removed",
    "ZoneDrawn": "zone {} drawn",
    "ZoneChanged": "zone {} changed",
    "ZoneRemoved": "zone {} removed",
    "DrawingsOrdered": "lines and zones ordered",
    "DrawingsConfirmed": "lines and zones confirmed",
}


def history(
    camera_id: CameraArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most changes to print.")] = 100,
    watch: WatchOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """List what happened to a camera, the newest change first, and what each change meant for counting.

    Example: countline cameras history door
    """

    async def question(client: Client) -> list[CameraChange]:
        def ask_page(size: int, token: str) -> Awaitable[ListCameraChangesResponse]:
            request = ListCameraChangesRequest(camera_id=camera_id, page_size=size, page_token=token)
            return client.cameras.ListCameraChanges(request)

        return await first_items(limit, ask_page, lambda answer: answer.changes)

    columns = (*COLUMNS, *MORE_COLUMNS) if is_wide() else COLUMNS
    if watch:
        watch_table(columns, lambda: [row(each) for each in ask(server, data, question)], as_json=json)
    changes = ask(server, data, question)
    if json:
        print_json({"changes": [to_json(each) for each in changes]})
        return
    print_table(columns, [row(each) for each in changes], "No changes found.")


def row(change: CameraChange) -> tuple[str, ...]:
    """Return the row of a change."""
    cells = (
        rfc3339(from_timestamp(change.occurred_at)),
        change.actor,
        str(change.revision or ""),
        "; ".join(event_words(each) for each in change.events),
        "; ".join(each.text for each in change.consequences),
        _lost(change),
    )
    return (*cells, ", ".join(each.path for each in change.fields)) if is_wide() else cells


def event_words(event: CameraEvent) -> str:
    """Describe an event; one that this release does not know by its kind."""
    words = _WORDS.get(event.kind, event.kind).format(event.subject)
    return f"{words} (version {event.subject_version})" if event.subject_version else words


def _lost(change: CameraChange) -> str:
    """Return the seconds of coverage that a change cost at most; `?` where that is not known yet."""
    lost = [_lost_s(each) for each in change.consequences]
    if any(each is None for each in lost):
        return "?"
    total = sum(each for each in lost if each is not None)
    return f"{total:.0f} s" if total else ""


def _lost_s(consequence: CameraConsequence) -> float | None:
    return consequence.lost_s if consequence.HasField("lost_s") else None
