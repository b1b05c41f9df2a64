"""Scales a picture into a slot and maps boxes back: the picture at the top left, the rest 114 (detection contract).

swscale converts to RGB and scales in one pass, in the camera's thread and without the interpreter's lock. The rows are
copied into a slot when a batch is formed, so that the frames of a batch are contiguous and form one request.

One factor scales both directions. The scaled size is rounded to whole pixels, so the true factors differ from it by up
to half a pixel over the whole picture; `to_source` uses the true ones.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

PAD_VALUE: Final = 114


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The place of pictures of one size in a model's input."""

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
    """Scales decoded frames. Use one per camera: swscale keeps its tables for one size."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def scale(self, frame: Any, box: Letterbox) -> Any:
        """Scale a frame to its size within the input.

        Args:
            frame: av.VideoFrame of size `box.source_wh`, any pixel format.
            box: its place in the input.

        Returns:
            av.VideoFrame of size `box.scaled_wh`, rgb24.
        """
        width, height = box.scaled_wh
        # One thread: cameras already run in parallel, and swscale's helper threads would only wait.
        return self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=Interpolation.BILINEAR, threads=1
        )


def paste(scaled: Any, target_hwc: NDArray[np.uint8], *, padded: bool) -> None:
    """Copy a scaled frame into a slot.

    Args:
        scaled: what `Scaler.scale` made.
        target_hwc: (height, width, 3) uint8.
        padded: whether the area beside a picture of this size is `PAD_VALUE` already.
    """
    width, height = scaled.width, scaled.height
    plane = scaled.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
    target_hwc[:height, :width] = rows[:, : width * 3].reshape(height, width, 3)
    if not padded:
        target_hwc[height:] = PAD_VALUE
        target_hwc[:height, width:] = PAD_VALUE
