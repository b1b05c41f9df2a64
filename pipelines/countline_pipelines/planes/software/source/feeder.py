"""A camera's frames on their way to Triton, in the reader's thread: numbered, thinned out, scaled.

Policy when Triton is behind: a file waits; a live camera drops its own oldest waiting frame, and counts it, so what is
processed is always the newest and latency stays bounded.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from countline_common.triton.letterbox import Letterbox
from countline_pipelines.planes.meters import DropCounter
from countline_pipelines.planes.runs import Run, RunKeeper
from countline_pipelines.planes.software.lane.lane import ModelLane, Ticket, Traveller
from countline_pipelines.planes.software.source.scaling import SharedScaler
from countline_pipelines.sources import Picture

FILE_FRAMES: Final = 8
"""Of one file on their way at a time: enough for the requests in flight and the next ones."""
LIVE_WAITING: Final = 2
"""Frames of a live camera that may wait for inference."""
WAIT_S: Final = 0.1
"""Between looks at whether to stop."""


class Feeder:
    """Takes a reader's pictures and sends those that are looked at on their way.

    Args:
        camera: whose frames they are.
        waits: whether frames wait for Triton (of a finite file), or are dropped.
        lane: where they go.
        runs: gives each its run and number.
        stop: set when nothing may be sent any more.
        wants_picture: whether the frame captured now shall be kept for somebody to see.
        on_dropped: told how many frames were left out.
        yields: whether a live frame is left out now for the sake of others.
    """

    def __init__(
        self,
        camera: Traveller,
        lane: ModelLane,
        runs: RunKeeper,
        stop: threading.Event,
        *,
        waits: bool,
        wants_picture: Callable[[], bool],
        on_dropped: Callable[[int], None],
        yields: Callable[[], bool],
    ) -> None:
        self._camera = camera
        self._lane = lane
        self._runs = runs
        self._stop = stop
        self._wants_picture = wants_picture
        self._on_dropped = on_dropped
        self._yields = yields
        self._waits = waits
        self._quota = threading.Semaphore(FILE_FRAMES)
        self._input_wh = (lane.info.width, lane.info.height)
        self.drops = DropCounter()

    def restart(self) -> None:
        """Begin a new run with the next picture."""
        self._runs.abandon()
        self.drops.forget_pending()

    def take(self, picture: Picture, scaler: SharedScaler, *, looked_at: bool) -> None:
        """Number a picture, and send it on its way if it is looked at."""
        now = time.monotonic()
        self._count_dropped(picture.skipped)
        numbered = self._runs.number(picture)
        if numbered is None or not looked_at:
            return
        if self._may_send():
            self._send(picture, scaler, *numbered, now)

    def _send(self, picture: Picture, scaler: SharedScaler, run: Run, index: int, now: float) -> None:
        box = Letterbox(picture.size_wh, self._input_wh)
        scaled = scaler.scale(picture, box)
        kept = picture.frame if self._wants_picture() else None
        dropped = self.drops.take_pending()
        if self._runs.enter(run):
            self._lane.submit(Ticket(self._camera, run, scaled, box, index, picture.t, dropped, now, kept))
        else:  # the run was ended between numbering and here, after a long pause; the next frame begins another
            self.landed()

    def _may_send(self) -> bool:
        """Wait for room (a file) or make room (a live camera); false when the camera is stopping."""
        if not self._waits:
            if self._yields():
                self._count_dropped(1)
                return False
            self._make_room()
            return not self._stop.is_set()
        while not self._quota.acquire(timeout=WAIT_S):
            if self._stop.is_set():
                return False
        return not self._stop.is_set()

    def _make_room(self) -> None:
        owner = self._camera.owner
        while self.is_behind:
            oldest = self._lane.batcher.drop_oldest(owner)
            if oldest is None:
                return
            self._runs.leave(oldest.run)
            self._count_dropped(1)
            self.drops.carry(oldest.dropped)

    @property
    def is_behind(self) -> bool:
        """Whether so many frames wait that a live camera drops one."""
        return self._lane.batcher.waiting(self._camera.owner) >= LIVE_WAITING

    def _count_dropped(self, frames: int) -> None:
        if frames:
            self.drops.add(frames)
            self._on_dropped(frames)

    def landed(self) -> None:
        """One of the camera's frames is back from Triton, or will not go there."""
        if self._waits:
            self._quota.release()
