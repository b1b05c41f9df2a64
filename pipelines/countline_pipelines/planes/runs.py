"""Runs of one camera: which frame begins a new run, and when a run has ended.

A run is one life of a tracker. A new run begins when the displayed picture changes its size or turns, after a break of
more than `BREAK_KEEPS_RUN_S`, and when the reader restarts (a file that begins again, a clock that was set). The
reader's thread and the event loop share the runs, so every step holds the lock.
"""

import secrets
import threading
import time
from dataclasses import dataclass
from typing import Final

from countline_common.display import Orientation
from countline_counting.identity import Identity, live_run_name, part_run_name, rest_run_name
from countline_pipelines.sources import Picture

BREAK_KEEPS_RUN_S: Final = 10.0
"""A stream that comes back within this time goes on with its tracks. A stall of the stream ends nothing."""


@dataclass(slots=True)
class Run:
    """One life of a tracker."""

    identity: Identity
    size_wh: tuple[int, int]
    """Of its pictures as displayed, in square pixels."""
    orientation: Orientation = Orientation.UPRIGHT
    """How its pictures were turned."""
    next_index: int = 0
    last_t: float = -1.0
    """Capture time of its last frame."""
    outstanding: int = 0
    """Frames in flight."""
    abandoned: bool = False
    """True if the run will be repeated under the same name. Its open events stay undecided."""
    ended: bool = False


class RunKeeper:
    """Gives each frame its run, and its number in the run.

    Args:
        camera_id, epoch: parts of each run's identity.
        name: name of a finite file's run; empty for a new name at every start.
        after: of a finite file, the name of the run from which this version of the model takes over.
    """

    def __init__(self, camera_id: str, epoch: int, name: str, after: str = "") -> None:
        self._camera_id = camera_id
        self._epoch = epoch
        self._file_name = name
        self._name = name
        self._after = after
        self._parts = 0
        self._run: Run | None = None
        self._outstanding = 0
        self.lock = threading.Lock()

    def number(self, picture: Picture) -> tuple[Run, int] | None:
        """The run and index of a decoded frame; None if the frame is not later than its predecessor."""
        with self.lock:
            run = self._run
            if run is None or run.ended or run.abandoned or self._breaks(run, picture):
                run = self._run = self._begin(picture)
            if picture.t <= run.last_t:
                return None
            index = run.next_index + picture.skipped
            run.next_index, run.last_t = index + 1, picture.t
            return run, index

    def _breaks(self, run: Run, picture: Picture) -> bool:
        silent = picture.t - run.last_t > BREAK_KEEPS_RUN_S and not self._name
        return picture.size_wh != run.size_wh or picture.orientation is not run.orientation or silent

    @property
    def name(self) -> str:
        """Of the present run; empty before the first."""
        with self.lock:
            return self._run.identity.run if self._run is not None else ""

    def _begin(self, picture: Picture) -> Run:
        if self._name and self._after:
            self._name, self._after = rest_run_name(self._name, self._after, picture.ordinal), ""
        part, self._parts = self._parts, self._parts + 1
        name = part_run_name(self._name, part) if self._name else new_run_name()
        return Run(Identity(self._camera_id, self._epoch, name), picture.size_wh, picture.orientation)

    def abandon(self) -> None:
        """Begin a new run with the next frame. A finite file begins again, and so do the numbers of its parts."""
        with self.lock:
            if self._run is not None and self._name:
                self._run.abandoned = True
            elif self._run is not None:
                self._run = None
            self._parts = 0 if self._name else self._parts
            self._name, self._after = self._file_name, ""

    def enter(self, run: Run) -> bool:
        """Record that a frame is in flight. Return False if the run has ended meanwhile."""
        with self.lock:
            if run.ended:
                return False
            run.outstanding += 1
            self._outstanding += 1
            return True

    def leave(self, run: Run) -> None:
        """Record that a frame was counted or dropped."""
        with self.lock:
            run.outstanding -= 1
            self._outstanding -= 1

    def is_idle(self) -> bool:
        """Whether no frame of any run is in flight."""
        with self.lock:
            return self._outstanding == 0

    def try_end(self, run: Run) -> bool:
        """End a run. Return False, and do nothing, while it has frames in flight."""
        with self.lock:
            if run.outstanding and not run.ended:
                return False
            run.ended = True
            return True


def new_run_name() -> str:
    """Return a name that sorts by time and that no other process makes."""
    return live_run_name(time.time_ns() // 1_000_000, secrets.randbits(24))
