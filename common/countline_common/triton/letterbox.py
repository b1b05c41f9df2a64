"""A source picture into a slot, and boxes back: scaled to fit, at the top left, the rest 114 (detection contract).

swscale converts to RGB and scales in one pass without the interpreter's lock, in the camera's thread. The rows are
copied into a slot when a batch is made up, so that the frames of a batch lie side by side and travel as one request.

The picture is scaled by one factor in both directions, so a box maps back by a division. The scaled size is rounded to
whole pixels, so the true factors differ from the common one by up to half a pixel over the whole picture; mapping back
uses the true ones.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

PAD_VALUE: Final = 114


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How pictures of one size lie in a model's input."""

    source_wh: tuple[int, int]
    input_wh: tuple[int, int]

    @property
    def scaled_wh(self) -> tuple[int, int]:
        """The picture's size within the input, whole pixels, at least one."""
        (width, height), (input_width, input_height) = self.source_wh, self.input_wh
        scale = min(input_width / width, input_height / height)
        return (
            min(input_width, max(1, round(width * scale))),
            min(input_height, max(1, round(height * scale))),
        )

    def to_source(self, detections: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map boxes from pixels of the input to pixels of the source, clipped to the picture.

        Args:
            detections: (N, 6) x1, y1, x2, y2, score, class; not changed.

        Returns:
            (N, 6) float32.
        """
        (width, height), (scaled_width, scaled_height) = self.source_wh, self.scaled_wh
        mapped = detections.copy()
        mapped[:, 0:4:2] *= width / scaled_width
        mapped[:, 1:4:2] *= height / scaled_height
        np.clip(mapped[:, 0:4:2], 0, width, out=mapped[:, 0:4:2])
        np.clip(mapped[:, 1:4:2], 0, height, out=mapped[:, 1:4:2])
        return mapped


class Scaler:
    """Scales decoded frames; one per camera, since swscale's tables are made for one size and kept."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def scale(self, frame: Any, box: Letterbox) -> Any:
        """A frame in the size that it has within the input.

        Args:
            frame: av.VideoFrame of size `box.source_wh`, any pixel format.
            box: where it goes.

        Returns:
            av.VideoFrame of size `box.scaled_wh`, rgb24.
        """
        width, height = box.scaled_wh
        # One thread: cameras work side by side already, and helpers of swscale's own would only wake and wait.
        return self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=Interpolation.BILINEAR, threads=1
        )


def paste(scaled: Any, target_hwc: NDArray[np.uint8], *, padded: bool) -> None:
    """Copy a scaled frame into a slot.

    Args:
        scaled: what `Scaler.scale` made.
        target_hwc: (height, width, 3) uint8.
        padded: whether what lies beside a picture of this size is `PAD_VALUE` already.
    """
    width, height = scaled.width, scaled.height
    plane = scaled.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
    target_hwc[:height, :width] = rows[:, : width * 3].reshape(height, width, 3)
    if not padded:
        target_hwc[height:] = PAD_VALUE
        target_hwc[:height, width:] = PAD_VALUE
