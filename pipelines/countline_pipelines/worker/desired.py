"""Reconciles the plane's cameras with the assigned ones. Each time, the whole set of assignments is compared.

A finite file that was counted to its end is not counted again after a restart: the worker writes a mark into the
spool's folder once the file's last record is on disk. The file is reported as finished once JetStream has stored its
last record; until then it is running.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from countline.v1 import workers_pb2
from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_pipelines.planes.interface import CameraCondition, CameraPlan, CameraState, Fault, Plane, fault_of
from countline_pipelines.worker.assignments import Ownership, counting_key, ownership_of, plan_of, recording_of
from countline_pipelines.worker.stored_files import StoredFiles

MARKS: Final = "finished"
UNRELATED: Final = (
    "observed", "revision", "updated_at", "picture", "name", "location", "position", "floor", "status", "tags"
)  # fmt: skip
"""Fields of a camera that change while the work stays the same."""
STORED_WITHIN_S: Final = 3.0
"""Records that wait for longer are a fault that people see."""
NOT_STORED: Final = Fault(
    "not_stored",
    "all frames are counted, but the last counts are not stored yet",
    "check that NATS runs and that the disk has room: countline status",
)
_log = get_logger(__name__)


@dataclass(slots=True)
class _Entry:
    key: bytes
    """Of the assignment; another one means other work."""
    assignment: workers_pb2.Assignment
    epoch: int
    plan: CameraPlan | None
    fault: Fault | None = None
    finished: bool = False
    ended_at_s: float | None = None
    """Monotonic time at which the file was first seen as counted to its end, with records that are not stored yet."""


class DesiredCameras:
    """The cameras that this worker holds; used from the worker's event loop.

    Args:
        plane: runs the cameras.
        spool_folder: holds the marks of finished files.
        default_model: for cameras whose spec names no model.
        owners: site and time zone of each camera that is or was held; updated here.
        stored: the files of which no record waits in the spool.
    """

    def __init__(
        self,
        plane: Plane,
        spool_folder: Path,
        default_model: str,
        owners: dict[str, Ownership],
        stored: StoredFiles,
    ) -> None:
        self._stored = stored
        self._plane = plane
        self._marks = spool_folder / MARKS
        self._default_model = default_model
        self._entries: dict[str, _Entry] = {}
        self._lock = asyncio.Lock()
        self._owners = owners

    async def apply(self, assignments: Sequence[workers_pb2.Assignment]) -> None:
        """Hold exactly the assigned cameras."""
        async with self._lock:
            wanted = {assignment.camera.camera_id: assignment for assignment in assignments}
            for camera_id in [*self._entries.keys() - wanted.keys()]:
                self._remove(camera_id)
            for assignment in wanted.values():
                await self._hold(assignment)

    def _remove(self, camera_id: str) -> None:
        # The owner stays: the plane's thread may still be writing the camera's last record.
        del self._entries[camera_id]
        self._plane.remove_camera(camera_id)
        _log.info("camera.removed", camera=camera_id)

    async def _hold(self, assignment: workers_pb2.Assignment) -> None:
        camera_id = assignment.camera.camera_id
        key = _comparable(assignment)
        known = self._entries.get(camera_id)
        if known is not None and known.key == key and known.fault is None:
            return
        self._owners[camera_id] = ownership_of(assignment)
        entry = _Entry(key, assignment, assignment.epoch, None)
        try:
            entry.plan = await asyncio.to_thread(plan_of, assignment, self._default_model)
        except CountlineError as error:
            entry.fault = fault_of(error)
            self._plane.remove_camera(camera_id)
            _log.warning("camera.refused", camera=camera_id, error=error.message)
        else:
            self._owners[camera_id] = replace(self._owners[camera_id], recording=recording_of(entry.plan))
            entry.finished = await asyncio.to_thread(self._is_marked, entry.plan)
            if entry.finished:
                self._stored.expect(counting_key(entry.plan))
                self._plane.remove_camera(camera_id)
            else:
                self._plane.update_camera(entry.plan)
        self._entries[camera_id] = entry

    async def retry_refused(self) -> None:
        """Try refused cameras again, such as files that were not there."""
        async with self._lock:
            for entry in [entry for entry in self._entries.values() if entry.fault is not None]:
                await self._hold(entry.assignment)

    def mark_finished(self, plan: CameraPlan) -> None:
        """Mark a finite file as counted to its end by this plan, assigned or not; blocks on the disk.

        Raises:
            OSError: the disk does not take the mark.
        """
        self._marks.mkdir(parents=True, exist_ok=True)
        (self._marks / counting_key(plan)).write_text(plan.source.label)

    def _is_marked(self, plan: CameraPlan) -> bool:
        return plan.source.playback.is_finite and (self._marks / counting_key(plan)).exists()

    def conditions(self) -> dict[str, tuple[int, CameraCondition]]:
        """Return epoch and condition of every held camera, by id."""
        running = self._plane.conditions()
        probing = CameraCondition(CameraState.PROBING)
        held = {}
        for camera_id, entry in self._entries.items():
            if entry.fault is not None:
                condition = CameraCondition(CameraState.FAILED, entry.fault)
            elif entry.finished:
                condition = CameraCondition(CameraState.FINISHED, progress=1.0)
            else:
                condition = running.get(camera_id, probing)
            if condition.state is CameraState.FINISHED:
                condition = self._finished_if_stored(entry, condition)
            held[camera_id] = (entry.epoch, condition)
        return held

    def _finished_if_stored(self, entry: _Entry, finished: CameraCondition) -> CameraCondition:
        if entry.plan is not None and counting_key(entry.plan) in self._stored:
            return finished
        now_s = time.monotonic()
        entry.ended_at_s = now_s if entry.ended_at_s is None else entry.ended_at_s
        is_late = now_s - entry.ended_at_s > STORED_WITHIN_S
        return replace(finished, state=CameraState.RUNNING, fault=NOT_STORED if is_late else finished.fault)


def _comparable(assignment: workers_pb2.Assignment) -> bytes:
    """Serialize an assignment without what is unrelated to the work."""
    copy = workers_pb2.Assignment()
    copy.CopyFrom(assignment)
    for field in UNRELATED:
        copy.camera.ClearField(field)
    return copy.SerializeToString(deterministic=True)
