"""Writes pictures as H.264 files that loop without a seam.

The file has a constant frame rate, a key frame first, closed groups of pictures and no B-frames. So presentation order
is decoding order, the first time stamp is 0, and a player that jumps back to the beginning needs nothing from the end.
One thread encodes, because x264's output depends on the number of threads.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from countline_common.files.output_files import OutputFiles

KEY_FRAME_EVERY_S: Final = 2
QUALITY: Final = "23"
"""x264's constant rate factor."""


def write_video(path: Path, pictures: Iterable[NDArray[np.uint8]], size_wh: tuple[int, int], fps: Fraction) -> int:
    """Encode pictures (H, W, 3) RGB into an MP4 file; returns their number.

    The file gets its name when it is complete.
    """
    count = 0
    with (
        OutputFiles() as outputs,
        av.open(
            str(outputs.open("--out", path, seeks=True, makes_folder=True).path),
            "w",
            format="mp4",
            options={"movflags": "+faststart"},
        ) as container,
    ):
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = size_wh
        stream.pix_fmt = "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "crf": QUALITY,
            "bf": "0",
            "g": str(int(fps * KEY_FRAME_EVERY_S)),
            "threads": "1",
        }
        for count, pixels in enumerate(pictures, start=1):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = count - 1, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return count
