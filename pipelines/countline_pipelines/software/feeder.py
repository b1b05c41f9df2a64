"""A camera's frames into slots, in the reader's thread.

Policy when Triton is behind: a file waits for a slot; a live camera takes the slot of its own oldest waiting frame,
which is counted as dropped, so what is processed is always the newest and latency stays bounded.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from countline_common.errors import CountlineError
from countline_pipelines import metrics
from countline_pipelines.letterbox import Letterbox, LetterboxWriter
from countline_pipelines.slots import Slot
from countline_pipelines.software.lane import ModelLane, Ticket, Traveller
from countline_pipelines.software.meters import RateMeter
from countline_pipelines.software.reader import ReadState
from countline_pipelines.software.runs import Run, RunKeeper
from countline_pipelines.sources import Picture, SourceSpec, VideoInfo
from countline_pipelines.sources.clock import RateGate

FILE_SLOTS: Final = 4
"""Of one file at a time: enough to keep two requests in flight and two frames ready."""
LIVE_SLOTS: Final = 3
WAIT_S: Final = 0.1
"""Between looks at whether to stop."""


class Feeder:
    """Takes a reader's pictures and sends those that are looked at on their way.

    Args:
        camera: whose frames they are.
        spec: its source.
        lane: where they go.
        runs: gives each its run and number.
        stop: set when nothing may be sent any more.
        wants_picture: whether the frame captured now shall be kept for somebody to see.
        on_state: told of the reader's states.
    """

    def __init__(
        self,
        camera: Traveller,
        spec: SourceSpec,
        lane: ModelLane,
        runs: RunKeeper,
        stop: threading.Event,
        wants_picture: Callable[[float], bool],
        on_state: Callable[[ReadState, CountlineError | None], None],
    ) -> None:
        self._camera = camera
        self._lane = lane
        self._runs = runs
        self._stop = stop
        self._wants_picture = wants_picture
        self._on_state = on_state
        self._waits = spec.playback.is_finite
        self._quota = threading.Semaphore(FILE_SLOTS if self._waits else LIVE_SLOTS)
        self._gate = RateGate(spec.rate)
        self._rate = spec.rate
        self._writer = LetterboxWriter()
        self._dropped_before = 0
        self.dropped = 0
        self.info: VideoInfo | None = None
        self.position_s = 0.0
        self.source_meter = RateMeter()

    def opened(self, info: VideoInfo) -> None:
        """Note what the container says."""
        self.info = info

    def restart(self) -> None:
        """Begin a new run with the next picture."""
        self._runs.abandon()
        self._gate = RateGate(self._rate)
        self._dropped_before = 0

    def changed(self, state: ReadState, error: CountlineError | None) -> None:
        """Pass the reader's state on."""
        self._on_state(state, error)

    def take(self, picture: Picture) -> None:
        """Send a picture on its way, unless it is not looked at."""
        now = time.monotonic()
        self.source_meter.tick(now)
        self.position_s = picture.position_s
        self._count_dropped(picture.skipped)
        numbered = self._runs.number(picture)
        if numbered is None or not self._gate.passes(picture.t):
            return
        slot = self._slot()
        if slot is not None:
            self._send(picture, *numbered, slot, now)
        elif not self._stop.is_set():
            self._count_dropped(1)

    def _send(self, picture: Picture, run: Run, index: int, slot: Slot, now: float) -> None:
        info = self._lane.info
        box = Letterbox(picture.size_wh, (info.width, info.height))
        began = time.monotonic()
        self._writer.write(picture.frame, box, slot.frame_hwc)
        metrics.STAGE_SECONDS.labels("letterbox").observe(time.monotonic() - began)
        kept = picture.frame if self._wants_picture(picture.t) else None
        dropped, self._dropped_before = self._dropped_before, 0
        ticket = Ticket(self._camera, run, slot, box, index, picture.t, dropped, now, kept)
        if self._runs.enter(run):
            self._lane.submit(ticket)
        else:  # the run was ended between numbering and here, after a long pause; the next frame begins another
            self.give_back(ticket)

    def _slot(self) -> Slot | None:
        return self._wait_for_slot() if self._waits else self._newest_slot()

    def _wait_for_slot(self) -> Slot | None:
        while not self._quota.acquire(timeout=WAIT_S):
            if self._stop.is_set():
                return None
        while not self._stop.is_set():
            slot = self._lane.ring.acquire(self._camera.camera_id, WAIT_S)
            if slot is not None:
                return slot
        self._quota.release()
        return None

    def _newest_slot(self) -> Slot | None:
        if self._quota.acquire(blocking=False):
            slot = self._lane.ring.acquire(self._camera.camera_id, 0.0)
            if slot is not None:
                return slot
            self._quota.release()
        oldest = self._lane.batcher.drop_oldest(self._camera.camera_id)
        if oldest is None:
            return None
        self._runs.leave(oldest.run)
        self._count_dropped(1)
        self._dropped_before += oldest.dropped
        return oldest.slot  # with its share of the quota

    def _count_dropped(self, frames: int) -> None:
        if frames:
            self.dropped += frames
            self._dropped_before += frames
            metrics.DROPPED.labels(self._camera.camera_id).inc(frames)

    def give_back(self, ticket: Ticket) -> None:
        """Release the slot of a ticket that will not be sent."""
        ticket.slot.release()
        self.landed()

    def landed(self) -> None:
        """One of the camera's frames is back from Triton."""
        self._quota.release()
