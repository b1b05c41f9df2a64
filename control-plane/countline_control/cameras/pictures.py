"""Watches the displayed pictures of cameras: a stored line whose picture turns gets a new version.

Normalised coordinates mean other places when a picture turns or changes its proportion. Counts before and after must
then be kept apart.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from countline_common.data.database import is_away
from countline_common.display import PictureShape
from countline_common.errors import CountlineError, NotFoundError
from countline_common.logs import get_logger
from countline_common.waiting import happens
from countline_control.cameras import store
from countline_control.cameras.commands.cameras import CameraCommands
from countline_control.cameras.domain import CameraObservation
from countline_control.cameras.service import NAME
from countline_control.cameras.shown import ObservationSource
from countline_control.database import Database

LOOK_EVERY_S: Final = 1.0
MOST_CHANGES: Final = 5
CHANGES_WITHIN_S: Final = 600.0
"""At most `MOST_CHANGES` of one camera in this time: a stream that changes to and fro must not make versions without
end."""
_log = get_logger(__name__)


class TurnWatch:
    """The task that compares pictures that workers report with those that are stored.

    Args:
        database: holds the schema `cameras`.
        observations: source of observations.
        commands: records changes.
        on_change: called after each committed change.
    """

    def __init__(
        self,
        database: Database,
        observations: ObservationSource,
        commands: CameraCommands,
        on_change: Callable[[], None],
    ) -> None:
        self._on_change = on_change
        self._database = database
        self._observations = observations
        self._commands = commands
        self._changes: dict[str, deque[float]] = {}
        """Monotonic times of the last changes, by camera."""
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let `run` end after the current step."""
        self._stopping.set()

    async def run(self) -> None:
        """Compare once a second until `stop` is called."""
        while not await happens(self._stopping, LOOK_EVERY_S):
            try:
                await self._step()
            except CountlineError as error:
                _log.debug("pictures.unknown", error=error.message)
            except Exception as error:  # noqa: BLE001  (no error may end the one task that watches pictures)
                if not is_away(error):
                    _log.error("pictures.fault", exc_info=error)

    async def _step(self) -> None:
        stored = await self._database.read(store.pictures_of_all)
        observations = await self._observations.observations(list(stored)) if stored else {}
        for camera_id, picture in changed_pictures(stored, observations).items():
            if stored[camera_id] is None or self._may_change(camera_id, time.monotonic()):
                await self._take(camera_id, picture)
        self._changes = {camera_id: times for camera_id, times in self._changes.items() if camera_id in stored}

    async def _take(self, camera_id: str, picture: PictureShape) -> None:
        """Store the displayed picture that a worker has seen. If it turned, lines and zones get new versions."""
        with contextlib.suppress(NotFoundError):  # it was deleted meanwhile
            async with self._database.begin() as connection:
                noted = await self._commands.see_picture(connection, camera_id, picture, NAME)
            if noted:
                self._on_change()

    def _may_change(self, camera_id: str, now: float) -> bool:
        times = self._changes.setdefault(camera_id, deque(maxlen=MOST_CHANGES))
        if len(times) == MOST_CHANGES and now - times[0] < CHANGES_WITHIN_S:
            return False
        times.append(now)
        return True


def changed_pictures(
    stored: Mapping[str, PictureShape | None], observations: Mapping[str, CameraObservation]
) -> dict[str, PictureShape]:
    """Return the pictures that workers report and that do not match the stored ones, by camera."""
    found = {}
    for camera_id, before in stored.items():
        status = observations.get(camera_id)
        picture = status.picture if status is not None else None
        if picture is not None and (before is None or not before.matches(picture)):
            found[camera_id] = picture
    return found
