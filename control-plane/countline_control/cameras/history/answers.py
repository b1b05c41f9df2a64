"""Answers of the service of cameras about the past, and about what follows from the events."""

import asyncio
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import cameras_pb2
from countline_common.access.scopes import Reach
from countline_common.data.outbox import Outbox
from countline_common.errors import FieldProblem
from countline_common.grpc.paging import invalid_page, next_token, page
from countline_common.times import from_timestamp
from countline_control.cameras import checks
from countline_control.cameras.commands.cameras import not_found
from countline_control.cameras.domain import Camera
from countline_control.cameras.events.rebuild import Rebuilt, ids_after, rebuild
from countline_control.cameras.history import queries
from countline_control.cameras.history.changes import PastChange
from countline_control.cameras.history.messages import change_message, rebuilt_message
from countline_control.cameras.messages import camera_message
from countline_control.database import Database

RESOURCE: Final = "cameras"
"""Of the audit row of a rebuild, which may write several cameras."""
MOST_EVENTS: Final = 2**31
"""Of one camera: versions are 32 bits wide."""
EVENTS_A_PAGE: Final = 10_000
"""After so many events a page of a rebuild ends: on a busy machine they take some seconds, and a call has ten."""


class CameraHistory:
    """Reads the events of cameras.

    Args:
        database: holds the schema `cameras`.
        outbox: of the service of cameras.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def camera_at(self, request: cameras_pb2.GetCameraRequest, reach: Reach) -> cameras_pb2.Camera:
        """Return a camera as it was at the time of the request.

        Raises:
            NotFoundError: there was no such camera then.
            InvalidInputError: the request asks for what is seen now too.
        """
        if request.view == cameras_pb2.CAMERA_VIEW_FULL:
            problem = "full is what is seen now; leave it out, or leave out the time"
            checks.refuse("the camera cannot be shown", [FieldProblem("view", problem)])
        camera_id, at = request.camera_id, from_timestamp(request.at)

        async def read(connection: AsyncConnection) -> Camera:
            first = await _first_version(connection, camera_id, reach)
            return await queries.camera_at(connection, camera_id, at, first=first)

        return camera_message(await self._database.read(read))

    async def changes(
        self, request: cameras_pb2.ListCameraChangesRequest, reach: Reach
    ) -> cameras_pb2.ListCameraChangesResponse:
        """Return a page of the changes of a camera, the newest first.

        Raises:
            NotFoundError: there never was such a camera.
            InvalidInputError: the page cannot be read.
        """
        camera_id = request.camera_id
        wanted = page(request.page_size, request.page_token, camera_id)
        before = _version_of(wanted.after) if wanted.after else None

        async def read(connection: AsyncConnection) -> list[PastChange]:
            first = await _first_version(connection, camera_id, reach)
            return await queries.changes_before(
                connection, camera_id, first=first, before=before, limit=wanted.size + 1
            )

        found = await self._database.read(read)
        shown = found[: wanted.size]
        token = next_token(str(shown[-1].first.version), camera_id) if len(found) > wanted.size else ""
        # A change of a camera with many lines takes about 2 ms: a page of them would block the event loop for seconds.
        changes = await asyncio.to_thread(lambda: [change_message(each) for each in shown])
        return cameras_pb2.ListCameraChangesResponse(changes=changes, next_page_token=token)

    async def rebuild(self, request: cameras_pb2.RebuildCamerasRequest) -> cameras_pb2.RebuildCamerasResponse:
        """Make a page of cameras anew from their events, each in a transaction of its own.

        A page ends early behind the camera with which it has `EVENTS_A_PAGE`.

        Raises:
            InvalidInputError: the page cannot be read.
        """
        wanted, found = page(request.page_size, request.page_token), list[Rebuilt]()
        ids = await self._database.read(lambda connection: ids_after(connection, wanted.after, wanted.size + 1))
        for camera_id in ids[: wanted.size]:
            async with self._database.begin() as connection:
                found.append(await rebuild(connection, camera_id, write=request.write))
                if found[-1].written:
                    written = rebuilt_message([each for each in found if each.written], "")
                    await self._outbox.record(connection, RESOURCE, after=written, finished=False)
            if sum(each.events for each in found) >= EVENTS_A_PAGE:
                break
        token = next_token(found[-1].camera_id) if len(ids) > len(found) else ""
        return rebuilt_message(found, token)


async def _first_version(connection: AsyncConnection, camera_id: str, reach: Reach) -> int:
    first = await queries.first_version(connection, camera_id, everything=reach.everything)
    if not first:
        raise not_found(camera_id)
    return first


def _version_of(key: str) -> int:
    """Return the version before which a page of changes ends."""
    if not (key.isascii() and key.isdigit() and len(key) < len(str(MOST_EVENTS))):
        raise invalid_page("page_token", "is not one that this service gave; begin without one")
    return int(key)
