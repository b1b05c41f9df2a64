"""Pictures: NV12 as decoders make it; swscale scales and converts in place of the GPU."""

from collections.abc import Callable
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from tests.doubles.deepstream.batches import Picture

NOTHING = np.zeros((0, 0), np.uint8)


def nv12_of(data: bytes, width: int, height: int, strides: tuple[int, int], offsets: tuple[int, int]) -> np.ndarray:
    """The planes of a GStreamer buffer without their padding.

    Returns:
        uint8 (height * 3 / 2, width); height and width are even.
    """
    luma = _plane(data, offsets[0], strides[0], height, width)
    chroma = _plane(data, offsets[1], strides[1], height // 2, width)
    return np.concatenate((luma, chroma))


def _plane(data: bytes, offset: int, stride: int, rows: int, width: int) -> np.ndarray:
    return np.frombuffer(data, np.uint8, rows * stride, offset).reshape(rows, stride)[:, :width]


def fitted(width: int, height: int, into_width: int, into_height: int) -> tuple[int, int]:
    """The largest size of the same shape that fits; fractions are cut off, as in the plugins."""
    height_at_full_width = into_width * height / width
    if height_at_full_width <= into_height:
        return into_width, int(height_at_full_width)
    return int(into_height * width / height), into_height


def rgb(picture: Picture, width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3)."""
    return _reformat(picture, width, height, "rgb24")


def converted(picture: Picture, pixel_format: str, width: int, height: int) -> Picture:
    """A picture in another format (NV12, RGBA) and size."""
    if (picture.format, picture.width, picture.height) == (pixel_format, width, height):
        return picture
    return Picture(_reformat(picture, width, height, pixel_format.lower()), pixel_format, width, height)


_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda plane: np.rot90(plane, 1),
    2: lambda plane: np.rot90(plane, 2),
    3: lambda plane: np.rot90(plane, -1),
    4: lambda plane: plane[:, ::-1],
    5: lambda plane: np.rot90(plane.swapaxes(0, 1), 2),
    6: lambda plane: plane[::-1],
    7: lambda plane: plane.swapaxes(0, 1),
}
"""By `flip-method`: counterclockwise, by 180 degrees, clockwise, left to right, across the diagonal to the upper right,
top to bottom, across the diagonal to the lower right."""


def turned(picture: Picture, flip_method: int) -> Picture:
    """A picture turned or mirrored."""
    turn = _TURNS.get(flip_method)
    if turn is None:
        return picture
    height, width = picture.height, picture.width
    if picture.format == "RGBA":
        planes = np.ascontiguousarray(turn(picture.planes))
        return Picture(planes, "RGBA", planes.shape[1], planes.shape[0])
    luma = turn(picture.planes[:height])
    chroma = turn(picture.planes[height:].reshape(height // 2, width // 2, 2))
    planes = np.concatenate((luma, chroma.reshape(chroma.shape[0], -1)))
    return Picture(planes, picture.format, luma.shape[1], luma.shape[0])


def to_bytes(picture: Picture) -> bytes:
    """The bytes of a frame in GStreamer's layout: rows padded to four bytes."""
    rows = picture.planes.reshape(len(picture.planes), -1)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()


def _reformat(picture: Picture, width: int, height: int, pixel_format: str) -> np.ndarray:
    frame: Any = av.VideoFrame.from_ndarray(picture.planes, format=picture.format.lower())
    changed = VideoReformatter().reformat(
        frame, width=width, height=height, format=pixel_format, interpolation=Interpolation.BILINEAR, threads=1
    )
    return changed.to_ndarray()


def rgba_of(data: bytes, width: int, height: int, stride: int, offset: int) -> np.ndarray:
    """uint8 (height, width, 4) of a GStreamer buffer."""
    return _plane(data, offset, stride, height, width * 4).reshape(height, width, 4).copy()
