"""The valve in front of the muxer: decides for each decoded frame whether it enters the pipeline.

It records each frame in a `FrameTransit`, skips frames above the processing rate, holds files back while the plane is
paused, and holds files that play in real time back until a frame is due. (An `identity sync=1` element would do the
last; but nvurisrcbin repeats a file with times beyond its segment, and `identity` never waits for those.)

`admit` is called from the streaming thread of the source, everything else from the plane's event loop.
"""

import threading
import time
from typing import Any, Final, Protocol

from countline_common.display import Orientation
from countline_pipelines.planes.deepstream.cameras.transit import FrameTransit
from countline_pipelines.planes.meters import RateMeter
from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.sources.clock import FileClock
from countline_pipelines.sources.wall_clock import WALL

BEHIND_S: Final = 2.0
"""If a real-time file is further behind than this, its clock restarts instead of catching up."""
LOOK_S: Final = 0.1
"""Between checks of whether a paused source must stop."""


class FramePreview(Protocol):
    """Pictures of admitted frames, for a viewer."""

    def offer(self, buffer: Any, pts_ns: int | None, now: float) -> None:
        """Take an admitted frame, a Gst.Buffer; never waits. `now` is monotonic."""
        ...

    def take(self, pts_ns: int) -> Any | None:
        """The av.VideoFrame of the frame with this time, or the latest earlier one that was not taken yet."""
        ...

    def close(self) -> None:
        """Release everything; in the main loop's thread."""
        ...


class SourceValve:
    """The valve of one opening of a source.

    Args:
        spec: the source.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self.transit = FrameTransit(spec)
        self.meter = RateMeter()
        self.duration_s = 0.0
        self.preview: FramePreview | None = None
        self.orientation = Orientation.UPRIGHT
        """How pictures were turned before they came here."""
        self._waits = spec.playback.is_finite
        self._paced = spec.playback in {Playback.REALTIME, Playback.LOOP}
        self._pace: FileClock | None = None
        self._origin = 0.0
        """Monotonic time at which the first frame was due."""
        self._stopping = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def pause(self) -> None:
        """Admit nothing: a file waits, a camera's frames are skipped."""
        self._open.clear()

    def resume(self) -> None:
        """Undo `pause`."""
        self._open.set()

    def stop(self) -> None:
        """Admit nothing from now on, and release a waiting streaming thread."""
        self._stopping.set()
        self._open.set()

    def admit(self, pts_ns: int | None, buffer: Any) -> bool:
        """Whether a frame enters the muxer; may wait.

        Args:
            pts_ns: presentation time; None where the frame has none.
            buffer: the Gst.Buffer, handed to the preview.
        """
        if self._paced:
            self._wait_until_due(None if pts_ns is None else pts_ns / 1e9)
        now = time.monotonic()
        self.meter.tick(now)
        while not self._open.is_set():
            if not self._waits:
                return False
            self._open.wait(LOOK_S)
        if self._stopping.is_set() or not self.transit.enter(pts_ns, WALL.now(), now):
            return False
        preview = self.preview
        if preview is not None:
            preview.offer(buffer, pts_ns, now)
        return True

    def _wait_until_due(self, pts_s: float | None) -> None:
        now = time.monotonic()
        if self._pace is None:
            self._pace, self._origin = FileClock(1.0 / self.transit.fps), now
        position_s = self._pace.position(pts_s)  # without jumps: nothing waits for those
        early_s = self._origin + position_s - now
        if early_s < -BEHIND_S:
            self._origin = now - position_s
        self._stopping.wait(max(0.0, early_s))
