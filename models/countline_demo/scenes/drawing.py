"""Draws figures: shapes in picture coordinates, cut out as small anti-aliased sprites.

A figure is a list of polygons from back to front. They are drawn oversampled on a canvas of the figure's size and then
averaged. The sprite is premultiplied (colour times coverage), so its edges blend with the background.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""

LARGEST_CANVAS_PX = 400
"""Above this height or width of the canvas, in pixels, oversampling is reduced; large figures need less."""
ARC = 5
"""Points of the half circle at either end of a limb."""
_HALF_TURN = np.linspace(-math.pi / 2, math.pi / 2, ARC)
_COS_SIN = np.stack([np.cos(_HALF_TURN), np.sin(_HALF_TURN)])


@dataclass(frozen=True, slots=True)
class Shape:
    """One polygon of one colour."""

    points: NDArray[np.float64]
    """(N, 2) pixels."""
    colour: Colour


@dataclass(frozen=True, slots=True)
class Sprite:
    """A cut-out figure and its place in the picture."""

    left: int
    top: int
    pixels: NDArray[np.uint8]
    """(h, w, 4): premultiplied red, green, blue, and coverage."""


def limbs(ends: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Outlines of tapered limbs with round ends.

    Args:
        ends: (N, 2, 2) pixels, both ends of each limb.
        radii: (N, 2) pixels at both ends.

    Returns:
        (N, 2 * ARC, 2) pixels, one closed polygon each.
    """
    along = ends[:, 1] - ends[:, 0]
    angle = np.arctan2(along[:, 1], along[:, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    forward = np.stack([cos, sin], axis=-1)[:, None, :]
    sideways = np.stack([-sin, cos], axis=-1)[:, None, :]
    arc = forward * _COS_SIN[0][None, :, None] + sideways * _COS_SIN[1][None, :, None]
    head = ends[:, 1, None, :] + radii[:, 1, None, None] * arc
    tail = ends[:, 0, None, :] - radii[:, 0, None, None] * arc
    return np.concatenate([head, tail], axis=1)


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], tilt_rad: float = 0.0, corners: int = 14
) -> NDArray[np.float64]:
    """Outline of an ellipse, (corners, 2) pixels."""
    turn = np.arange(corners) * (2 * math.pi / corners)
    x, y = radii[0] * np.cos(turn), radii[1] * np.sin(turn)
    cos, sin = math.cos(tilt_rad), math.sin(tilt_rad)
    return np.stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos], axis=-1)


def bounds(shapes: list[Shape]) -> Box:
    """The tight box around all shapes."""
    points = np.concatenate([shape.points for shape in shapes])
    x1, y1 = points.min(axis=0)
    x2, y2 = points.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)


def cut_out(shapes: list[Shape], box: Box) -> Sprite:
    """Draw the shapes, whose bounds are `box`, oversampled and average them down."""
    left, top = math.floor(box[0]), math.floor(box[1])
    width, height = math.ceil(box[2]) - left + 1, math.ceil(box[3]) - top + 1
    times = max(1, min(4, LARGEST_CANVAS_PX // max(width, height, 1)))
    # CMYK stands for four plain bytes here: on RGBA, Pillow's `reduce` would undo the premultiplication.
    canvas = Image.new("CMYK", (width * times, height * times))
    pen = ImageDraw.Draw(canvas)
    # A polygon covers the pixels that its outline touches: half an oversampled pixel more on each side than its area.
    offset = np.array([left, top]) + 0.5 / times
    for shape in shapes:
        pen.polygon(((shape.points - offset) * times).ravel().tolist(), fill=(*shape.colour, 255))
    small = canvas.reduce(times) if times > 1 else canvas
    return Sprite(left, top, np.asarray(small))


def clip(left: int, top: int, size_hw: tuple[int, int], into_wh: tuple[int, int]) -> tuple[slice, slice, slice, slice]:
    """Rows and columns of the picture, then of the sprite, of the part that lies inside the picture."""
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = max(x1, min(left + size_hw[1], into_wh[0])), max(y1, min(top + size_hw[0], into_wh[1]))
    return slice(y1, y2), slice(x1, x2), slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)


def over(picture: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> None:
    """Blend premultiplied pixels (h, w, 4) over a picture of the same height and width, in place."""
    behind = picture * (255 - pixels[:, :, 3:]).astype(np.uint16)
    behind += np.uint16(128)
    behind += behind >> np.uint16(8)  # with the shift below: division by 255, rounded, without dividing
    np.add(pixels[:, :, :3], (behind >> np.uint16(8)).astype(np.uint8), out=picture)


def shade(colour: Colour, factor: float) -> Colour:
    """A lighter (above 1) or darker (below 1) tone."""
    r, g, b = (min(255, max(0, round(channel * factor))) for channel in colour)
    return r, g, b


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """A mixture of two colours, with `share` of b."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue
