"""JPEG previews, encoded in a thread of their own while a user watches.

Policy: the newest picture wins. One picture of each camera may wait for the encoder, in turn; a newer one replaces it.
At most ten pictures of a camera are encoded in a second of capture time: that looks smooth, and thirty would take
the interpreter from counting.
"""

import io
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from countline.v1 import events_pb2
from countline_common.logs import get_logger
from countline_common.times import to_timestamp
from countline_counting.frames import TrackedFrame

WIDEST_PX: Final = 640
QUALITY: Final = 75
LEAST_GAP_S: Final = 0.095
_log = get_logger(__name__)

Waiting = tuple[TrackedFrame, Sequence[events_pb2.LiveBox], Any]


class PictureEncoder:
    """Owns the encoding thread.

    Args:
        send: sends a camera's preview; lossy, from the thread.
    """

    def __init__(self, send: Callable[[str, bytes], None]) -> None:
        self._send = send
        self._waiting: dict[str, Waiting] = {}
        self._taken_t: dict[str, float] = {}
        """Capture time of each camera's last picture."""
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)
        self._thread.start()

    def submit(self, tracked: TrackedFrame, boxes: Sequence[events_pb2.LiveBox], picture: Any) -> None:
        """Queue a picture with its boxes; never blocks."""
        camera_id = tracked.camera_id
        with self._changed:
            if 0 <= tracked.t - self._taken_t.get(camera_id, -math.inf) < LEAST_GAP_S:
                return
            self._taken_t[camera_id] = tracked.t
            self._waiting[camera_id] = (tracked, boxes, picture)
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """End the thread; waiting pictures are dropped."""
        with self._changed:
            self._stopping = True
            self._waiting.clear()
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._next()) is not None:
            tracked, boxes, picture = item
            try:
                self._send(tracked.camera_id, preview(tracked, boxes, picture).SerializeToString())
            except Exception:  # noqa: BLE001  (one bad picture must not end the previews of all cameras)
                _log.exception("preview.failed", camera=tracked.camera_id)

    def _next(self) -> Waiting | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            return None if self._stopping else self._waiting.pop(next(iter(self._waiting)))


def preview(tracked: TrackedFrame, boxes: Sequence[events_pb2.LiveBox], picture: Any) -> events_pb2.PreviewFrame:
    """Return a picture as a message: JPEG of at most `WIDEST_PX` width, boxes in pixels of the source."""
    shown_width, shown_height = tracked.size_wh  # as displayed: the picture's own pixels need not be square
    width = min(WIDEST_PX, shown_width)
    height = max(1, round(shown_height * width / shown_width))
    image = picture.reformat(width=width, height=height, format="rgb24").to_image()
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=QUALITY)
    return events_pb2.PreviewFrame(
        camera_id=tracked.camera_id,
        t=to_timestamp(tracked.t),
        width=width,
        height=height,
        jpeg=jpeg.getvalue(),
        boxes=boxes,
        source_width=tracked.size_wh[0],
        source_height=tracked.size_wh[1],
    )
