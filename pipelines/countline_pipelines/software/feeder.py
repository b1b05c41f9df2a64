"""A camera's frames on their way to Triton, in the reader's thread: numbered, thinned out, scaled.

Policy when Triton is behind: a file waits; a live camera drops its own oldest waiting frame, and counts it, so what is
processed is always the newest and latency stays bounded.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from countline_common.errors import CountlineError
from countline_common.letterbox import Letterbox, Scaler
from countline_pipelines import metrics
from countline_pipelines.software.lane import ModelLane, Ticket, Traveller
from countline_pipelines.software.meters import RateMeter
from countline_pipelines.software.reader import ReadState
from countline_pipelines.software.runs import Run, RunKeeper
from countline_pipelines.sources import Picture, SourceSpec, VideoInfo
from countline_pipelines.sources.clock import RateGate

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
        self._quota = threading.Semaphore(FILE_FRAMES)
        self._gate = RateGate(spec.rate)
        self._rate = spec.rate
        self._scaler = Scaler()
        self._scaling_time = metrics.STAGE_SECONDS.labels("scale")
        self._input_wh = (lane.info.width, lane.info.height)
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
        if self._may_send():
            self._send(picture, *numbered, now)

    def _send(self, picture: Picture, run: Run, index: int, now: float) -> None:
        box = Letterbox(picture.size_wh, self._input_wh)
        began = time.monotonic()
        scaled = self._scaler.scale(picture.frame, box)
        self._scaling_time.observe(time.monotonic() - began)
        kept = picture.frame if self._wants_picture(picture.t) else None
        dropped, self._dropped_before = self._dropped_before, 0
        if self._runs.enter(run):
            self._lane.submit(Ticket(self._camera, run, scaled, box, index, picture.t, dropped, now, kept))
        else:  # the run was ended between numbering and here, after a long pause; the next frame begins another
            self.landed()

    def _may_send(self) -> bool:
        """Wait for room (a file) or make room (a live camera); false when the camera is stopping."""
        if not self._waits:
            self._make_room()
            return not self._stop.is_set()
        while not self._quota.acquire(timeout=WAIT_S):
            if self._stop.is_set():
                return False
        return not self._stop.is_set()

    def _make_room(self) -> None:
        camera_id = self._camera.camera_id
        while self._lane.batcher.waiting(camera_id) >= LIVE_WAITING:
            oldest = self._lane.batcher.drop_oldest(camera_id)
            if oldest is None:
                return
            self._runs.leave(oldest.run)
            self._count_dropped(1)
            self._dropped_before += oldest.dropped

    def _count_dropped(self, frames: int) -> None:
        if frames:
            self.dropped += frames
            self._dropped_before += frames
            metrics.DROPPED.labels(self._camera.camera_id).inc(frames)

    def landed(self) -> None:
        """One of the camera's frames is back from Triton, or will not go there."""
        if self._waits:
            self._quota.release()
