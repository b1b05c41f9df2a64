"""Sends a camera's frames to Triton, in the reader's thread: numbered, thinned out, scaled.

When Triton is behind, a file waits. A live camera drops its own oldest waiting frame and counts it as dropped, so the
newest frames are processed and latency stays bounded.
"""

import threading
import time
from typing import Final

from countline_common.triton.letterbox import Letterbox
from countline_pipelines import metrics
from countline_pipelines.planes.meters import DropCounter
from countline_pipelines.planes.previews import PreviewWatch
from countline_pipelines.planes.runs import Run, RunKeeper
from countline_pipelines.planes.software.lane.lane import ModelLane
from countline_pipelines.planes.software.lane.ticket import Ticket, Traveller
from countline_pipelines.planes.software.source.scaling import SharedScaler
from countline_pipelines.sources import Picture

FILE_FRAMES: Final = 8
"""Frames of one file in flight at a time: enough for the requests in flight and the next ones."""
LIVE_WAITING: Final = 2
"""Frames of a live camera that may wait for inference."""
WAIT_S: Final = 0.1
"""A wait checks this often whether it must stop, in seconds."""
USUAL_FPS: Final = 25.0
"""Frame rate of a source that was never opened."""


class CameraFeed:
    """What the feeders of one camera share.

    Args:
        camera_id: of the camera.
        previews: which frames are kept as pictures.
    """

    def __init__(self, camera_id: str, previews: PreviewWatch) -> None:
        self.camera_id = camera_id
        self.dropped = metrics.DROPPED.labels(camera_id)
        self.previews = previews
        self.stated_fps = USUAL_FPS
        """Frame rate that the source states."""
        self.counting: Feeder | None = None
        """The feeder of the branch that counts. The event loop replaces it, the reader's thread reads it."""


class Feeder:
    """Takes a reader's pictures, and sends those that are looked at to one model.

    Args:
        feed: of the camera.
        traveller: receives the answers.
        lane: takes the frames to Triton.
        runs: numbers the frames.
        stop: set when no frame may be sent.
        waits: True for a finite file, whose frames wait for Triton; else frames are dropped.
        follows: True for a live follower: it leaves frames out while the branch that counts is behind.
    """

    def __init__(
        self,
        feed: CameraFeed,
        traveller: Traveller,
        lane: ModelLane,
        runs: RunKeeper,
        stop: threading.Event,
        *,
        waits: bool,
        follows: bool,
    ) -> None:
        self._feed = feed
        self._traveller = traveller
        self._lane = lane
        self._runs = runs
        self._stop = stop
        self._waits = waits
        self._follows = follows
        self._quota = threading.Semaphore(FILE_FRAMES)
        self._input_wh = (lane.info.width, lane.info.height)
        self.drops = DropCounter()

    def restart(self) -> None:
        """Begin a new run with the next picture."""
        self._runs.abandon()
        self.drops.forget_pending()

    def take(self, picture: Picture, scaler: SharedScaler, *, looked_at: bool) -> None:
        """Number a picture, and send it to the model if it is looked at."""
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
        kept = picture.frame if self._is_counting and self._feed.previews.is_due(time.monotonic()) else None
        dropped = self.drops.take_pending()
        if self._runs.enter(run):
            ticket = Ticket(self._traveller, run, scaled, box, index, picture.t, dropped, now, kept, self._waits)
            self._lane.submit(ticket)
        else:  # the run was ended between numbering and here, after a long pause; the next frame begins another
            self.landed()

    def _may_send(self) -> bool:
        """Wait for room (a file) or make room (a live camera). Return False if the frame must not be sent."""
        if not self._waits:
            if self._yields:
                self._count_dropped(1)
                return False
            self._make_room()
            return not self._stop.is_set()
        while not self._quota.acquire(timeout=WAIT_S):
            if self._stop.is_set():
                return False
        return not self._stop.is_set()

    def _make_room(self) -> None:
        owner = self._traveller.owner
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
        return self._lane.batcher.waiting(self._traveller.owner) >= LIVE_WAITING

    @property
    def _is_counting(self) -> bool:
        return self._feed.counting is self

    @property
    def _yields(self) -> bool:
        counting = self._feed.counting
        return self._follows and counting is not None and counting.is_behind

    def _count_dropped(self, frames: int) -> None:
        if frames:
            self.drops.add(frames)
            if self._is_counting:
                self._feed.dropped.inc(frames)

    def landed(self) -> None:
        """Make room for another frame of a file: one is back from Triton, or will not go there."""
        if self._waits:
            self._quota.release()
