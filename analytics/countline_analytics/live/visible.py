"""What a WebSocket client of limited reach receives: only messages about cameras that it may see."""

import json
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from countline_analytics.directory import CameraDirectory, Cameras
from countline_analytics.questions.callers import Caller
from countline_common.errors import UnavailableError
from countline_common.grpc.authorization import bearer
from countline_common.grpc.tokens import Principal

LOOK_PERIOD_S: Final = 5.0
"""How often the cameras within reach are read again: cameras come and go."""

Put = Callable[[str], None]


class VisibleCameras:
    """The cameras that a client may see, for one permission.

    Args:
        directory: looks up cameras.
        principal: the client.
        token: its access token.
        permission: what the client needs over a camera.
    """

    def __init__(self, directory: CameraDirectory, principal: Principal, token: str, permission: str) -> None:
        self._directory = directory
        self._permission = permission
        self._cameras: frozenset[str] = frozenset()
        self.renew(principal, token)

    def renew(self, principal: Principal, token: str) -> None:
        """Take a newer token of the client."""
        self._caller = Caller(principal, bearer(token), principal.reach(self._permission))

    @property
    def is_open(self) -> bool:
        """Whether the client may see every camera."""
        return self._caller.reach.everything

    async def look(self) -> bool:
        """Read the cameras within reach; return whether they are others than before.

        Raises:
            UnavailableError: the database does not answer.
        """
        if self.is_open:
            return False
        before, self._cameras = self._cameras, frozenset(await self._known())
        return self._cameras != before

    async def current(self) -> frozenset[str]:
        """Return the cameras within reach that exist; while the camera service is away, deleted ones too.

        Raises:
            UnavailableError: the database does not answer.
        """
        return frozenset(name for name, camera in (await self._known()).items() if camera.current)

    async def _known(self) -> Cameras:
        try:
            return await self._directory.cameras(self._caller)
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            raise UnavailableError("the database does not answer", hint="try again later") from error

    def shows(self, camera_id: str) -> bool:
        """Whether the client may see a camera."""
        return self.is_open or camera_id in self._cameras

    def statuses(self, put: Put) -> Put:
        """Return a function that passes on the statuses of visible cameras."""

        def put_visible(message: str) -> None:
            if self.is_open or self.shows(json.loads(message)["camera_id"]):
                put(message)

        return put_visible


class CountsView:
    """Passes on the messages of the feed that concern visible cameras, as a `FeedListener`.

    The numbers of crossings that are left out are missing. So each crossing names the `previous` number that the client
    knows, by which the client still notices a lost message.

    Args:
        window: the cameras that the client may see.
        put: takes messages.
        after: number of the last crossing that the client has; None if it has none.
    """

    def __init__(self, window: VisibleCameras, put: Put, after: int | None) -> None:
        self._window = window
        self._put = put
        self._previous = after

    def put(self, message: str) -> None:
        """Pass on a message of the feed, as far as it is visible."""
        if self._window.is_open:
            self._put(message)
            return
        content = json.loads(message)
        if content["type"] == "snapshot":
            for part in ("day", "cameras"):
                content[part] = {key: value for key, value in content[part].items() if self._window.shows(key)}
        elif self._window.shows(content["camera_id"]):
            content["previous"] = self._previous
        else:
            return
        self._previous = content["sequence"]
        self._put(json.dumps(content, separators=(",", ":")))
