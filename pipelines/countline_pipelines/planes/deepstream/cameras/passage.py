"""What is known of a source's frames while they are inside the pipeline: when they were captured, which they are.

    source pad ──enter──> [ frames inside, oldest first ] ──leave──> behind the tracker

The metadata that comes out carries a frame's presentation time and little more. What the software plane knows when it
decodes (our clock at arrival, the number of the frame, whether it is looked at) is noted here when the frame enters
the muxer, and taken when it comes out, by the same clocks and the same rate gate.

`enter` is called from the source's streaming thread, `leave` from the plane's; frames of one source keep their order.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.sources.clock import CaptureClock, FileClock, RateGate

MOST_INSIDE: Final = 1024
"""Far more than fit into a muxer, its queue and its batches; the oldest one was lost long ago."""
CLOCK_STEP_S: Final = 1.0
USUAL_FPS: Final = 25.0
NS: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Entry:
    """A frame that is inside."""

    pts_ns: int | None
    t: float
    """Capture time, seconds."""
    ordinal: int
    """Number of the decoded frame, those that are not looked at included."""
    number: int
    """Of those that are."""
    entered_at: float
    """Monotonic."""
    position_s: float
    """From the start of a file; 0 for streams."""
    era: int
    """Grows when the wall clock is set back: what follows does not continue what was."""


class Passage:
    """The frames of one source, from one opening of it.

    Args:
        spec: what is played; says which clock is right and how many frames are looked at.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._finite = spec.playback.is_finite
        self._capture = CaptureClock()
        self._gate = RateGate(spec.rate)
        self._inside: deque[Entry] = deque(maxlen=MOST_INSIDE)
        self._lock = threading.Lock()
        self._ordinal = self._number = self._era = 0
        self._left = -1
        self._last_arrival = float("-inf")
        self.last_entered_at = float("-inf")
        """Monotonic time of the last frame that went in."""
        self._set_frame_rate(USUAL_FPS)

    def _set_frame_rate(self, fps: float) -> None:
        self.fps = fps
        self._file = FileClock(1.0 / fps)

    def describe(self, fps: float) -> None:
        """Take the frame rate that the stream states; before its first frame."""
        if fps > 0 and self._ordinal == 0:
            self._set_frame_rate(fps)

    @property
    def entered(self) -> int:
        """Frames that came, those that are not looked at included."""
        return self._ordinal

    @property
    def inside(self) -> int:
        """Frames that went in and have not come out."""
        return len(self._inside)

    def enter(self, pts_ns: int | None, arrived_at: float, now: float) -> bool:
        """Note a frame; false when it is not looked at, and must not go in.

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
            self._inside.append(Entry(pts_ns, t, ordinal, self._number, now, position_s, self._era))
            self._number += 1
            self.last_entered_at = now
        return True

    def _stamp(self, pts_s: float | None, arrived_at: float) -> float:
        if arrived_at < self._last_arrival - CLOCK_STEP_S:
            self._capture, self._gate = CaptureClock(), RateGate(self._spec.rate)
            self._era += 1
        self._last_arrival = arrived_at
        return self._capture.stamp(self._file.position(None) if pts_s is None else pts_s, arrived_at)

    def leave(self, pts_ns: int, ntp_ns: int) -> tuple[Entry, int] | None:
        """Take a frame that came out, and how many were lost before it; None for one that never went in.

        Args:
            pts_ns: as the metadata has it. A muxer that writes times of its own still keeps the order, so the oldest
                frame is meant where no time fits.
            ntp_ns: the camera's clock for this frame; 0 where it sends none. Believed as the software plane does.
        """
        with self._lock:
            if not self._inside:
                return None
            if any(entry.pts_ns == pts_ns for entry in self._inside):
                while self._inside[0].pts_ns != pts_ns:
                    self._inside.popleft()
            entry = self._inside.popleft()
            if ntp_ns > 0 and self._spec.playback is Playback.LIVE:
                arrived_at = time.time() - (time.monotonic() - entry.entered_at)
                self._capture.observe_ntp(pts_ns * NS, ntp_ns * NS, arrived_at)
            lost, self._left = entry.number - self._left - 1, entry.number
            return entry, lost

    def forget(self) -> None:
        """What is inside will not come out."""
        with self._lock:
            self._inside.clear()
