"""Frames of one source while they are inside the pipeline: their capture times and numbers.

    source pad ──enter──> [ frames inside, oldest first ] ──leave──> after the tracker

The metadata that leaves the pipeline carries the presentation time of a frame and little more. `FrameTransit` records
the rest (our clock at arrival, the number of the frame, whether it is processed) when a frame enters the muxer, and
returns it when the frame leaves. Clocks and the rate gate are those of the software plane.

`enter` is called from the streaming thread of the source, `leave` from the plane's event loop. Frames of one source
keep their order.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.sources.clock import CaptureClock, FileClock, RateGate
from countline_pipelines.sources.stamps import StampReport
from countline_pipelines.sources.wall_clock import WALL

MOST_INSIDE: Final = 1024
"""Far more than fit into a muxer, its queue and its batches; the pipeline has lost anything older."""
CLOCK_STEP_S: Final = 1.0
USUAL_FPS: Final = 25.0
NS: Final = 1e-9


@dataclass(frozen=True, slots=True)
class TransitFrame:
    """A frame inside the pipeline."""

    pts_ns: int | None
    t: float
    """Capture time, seconds."""
    ordinal: int
    """Number of the decoded frame; skipped frames count too."""
    number: int
    """Number among the processed frames."""
    entered_at: float
    """Monotonic."""
    position_s: float
    """From the start of a file; 0 for streams."""
    era: int
    """Grows when the wall clock is set back: later frames do not continue earlier ones."""


class FrameTransit:
    """The frames of one source, from one opening of it.

    Args:
        spec: the source; states which clock applies and the processing rate.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._finite = spec.playback.is_finite
        self._gate = RateGate(spec.rate)
        self._inside: deque[TransitFrame] = deque(maxlen=MOST_INSIDE)
        self._lock = threading.Lock()
        self._ordinal = self._number = self._era = 0
        self._left = -1
        self._last_arrival = float("-inf")
        self.last_entered_at = float("-inf")
        """Monotonic time at which the last frame entered."""
        self._set_frame_rate(USUAL_FPS)

    def _set_frame_rate(self, fps: float) -> None:
        self.fps = fps
        self._file, self._capture = FileClock(1.0 / fps), CaptureClock(1.0 / fps)

    def describe(self, fps: float) -> None:
        """Take the frame rate that the stream states; call it before the first frame."""
        if fps > 0 and self._ordinal == 0:
            self._set_frame_rate(fps)

    @property
    def arrived(self) -> int:
        """Frames that arrived, skipped ones included."""
        return self._ordinal

    @property
    def inside(self) -> int:
        """Frames that entered and have not left."""
        return len(self._inside)

    def enter(self, pts_ns: int | None, arrived_at: float, now: float) -> bool:
        """Record a frame; False when the frame is skipped and must not enter the muxer.

        Args:
            pts_ns: its presentation time; None where it has none.
            arrived_at: Unix time.
            now: monotonic time.
        """
        pts_s = None if pts_ns is None else pts_ns * NS
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        position_s = 0.0
        with self._lock:
            if self._finite:
                position_s = self._file.position(pts_s)
                t = self._spec.recorded_at + position_s
            else:
                t = self._stamp(pts_s, arrived_at)
            if not self._gate.passes(t):
                return False
            self._inside.append(TransitFrame(pts_ns, t, ordinal, self._number, now, position_s, self._era))
            self._number += 1
            self.last_entered_at = now
        return True

    def _stamp(self, pts_s: float | None, arrived_at: float) -> float:
        if arrived_at < self._last_arrival - CLOCK_STEP_S:
            self._capture, self._gate = CaptureClock(1.0 / self.fps), RateGate(self._spec.rate)
            self._era += 1
        self._last_arrival = arrived_at
        return self._capture.stamp(pts_s, arrived_at)

    @property
    def stamps(self) -> StampReport:
        """What was wrong with the presentation times until now."""
        return self._file.report if self._finite else self._capture.report

    @property
    def believes_camera(self) -> bool:
        """Whether frames are dated by the camera's own clock."""
        return self._capture.believes_camera

    def leave(self, pts_ns: int, ntp_ns: int) -> tuple[TransitFrame, int] | None:
        """Remove a frame that left the pipeline; returns it with the number of frames lost before it.

        Args:
            pts_ns: presentation time in the metadata. A muxer that writes times of its own still keeps the order, so
                a time that fits no frame means the oldest frame.
            ntp_ns: the camera's clock for this frame; 0 where the camera sends none. The capture clock decides whether
                to use it, as in the software plane.

        Returns:
            None when no frame is inside.
        """
        with self._lock:
            if not self._inside:
                return None
            if any(frame.pts_ns == pts_ns for frame in self._inside):
                while self._inside[0].pts_ns != pts_ns:
                    self._inside.popleft()
            frame = self._inside.popleft()
            if ntp_ns > 0 and self._spec.playback is Playback.LIVE:
                arrived_at = WALL.now() - (time.monotonic() - frame.entered_at)
                self._capture.observe_ntp(pts_ns * NS, ntp_ns * NS, arrived_at)
            lost, self._left = frame.number - self._left - 1, frame.number
            return frame, lost
