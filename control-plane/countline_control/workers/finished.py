"""The files that were played to their end, in memory, so that they are not played again until they change."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from countline_control.workers.domain import AssignableCamera, FinishedFile

FINISHED_SETTLES_S: Final = 3.0
"""After a change of the spec, a report that the file has ended may still be about the old spec for so long."""


class FinishedFiles:
    """Remembers finished files, and which reports of an end can be trusted.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._finished: dict[str, FinishedFile] = {}
        self._unsettled: dict[str, float] = {}
        """Files that were assigned or changed, and that no worker has reported as playing since → when that was."""

    def seed(self, finished: Mapping[str, FinishedFile]) -> None:
        """Load the files of the database."""
        self._finished = dict(finished)

    def unsettle(self, camera_id: str) -> None:
        """Distrust reports of an end for a while: the file was assigned or changed."""
        self._unsettled[camera_id] = self._clock()

    def settle(self, camera_id: str) -> None:
        """Trust reports of an end: a worker has reported the file as playing."""
        self._unsettled.pop(camera_id, None)

    def settle_except(self, held: AbstractSet[str]) -> None:
        """Drop what is no longer needed: no worker holds these cameras."""
        for camera_id in self._unsettled.keys() - held:
            del self._unsettled[camera_id]

    def is_settled(self, camera_id: str) -> bool:
        """Whether a report of an end can be trusted now."""
        return self._clock() - self._unsettled.get(camera_id, float("-inf")) >= FINISHED_SETTLES_S

    def find(self, camera_id: str, item: AssignableCamera | None) -> FinishedFile | None:
        """Return the finished file of a camera; None if there is none, or if the camera's file changed since."""
        done = self._finished.get(camera_id)
        return done if done is not None and item is not None and done.fingerprint == item.fingerprint else None

    def outdated(self, cameras: Mapping[str, AssignableCamera]) -> set[str]:
        """Return the finished files that changed since, or whose camera is gone."""
        return {camera_id for camera_id in self._finished if self.find(camera_id, cameras.get(camera_id)) is None}

    def note(self, done: Mapping[str, FinishedFile], outdated: AbstractSet[str]) -> None:
        """Take over what the database stored: new finished files, and outdated ones that it dropped."""
        for camera_id in outdated:
            self._finished.pop(camera_id, None)
        self._finished.update(done)
