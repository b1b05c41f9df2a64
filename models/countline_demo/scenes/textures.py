"""Textures: colours as functions of a place on a surface, in metres.

Every texture takes the place on the surface (a, b) and the width of a picture sample there. It fades out detail that is
finer than the sample, so distant paving turns smooth and shows no moiré. Colours are float32, 0 to 255, shape (N, 3).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from countline_demo.scenes.drawing import Colour

Plane = NDArray[np.float32]
"""(N,) metres."""
Colours = NDArray[np.float32]
"""(N, 3), 0 to 255."""

Kind = Literal["paving", "asphalt", "grass", "paint", "plain", "brick", "plaster", "glass", "planks", "interior"]
_LATTICE: Final = 64
"""Noise repeats after this many bumps; a power of two."""


@dataclass(frozen=True)
class Texture:
    """A material."""

    kind: Kind
    colour: Colour
    second: Colour = (70, 70, 72)
    """Joints, window frames, goods behind glass."""
    pitch_m: tuple[float, float] = (0.6, 0.6)
    """Size of a tile or brick, or (window, floor) of a facade; for paint the length of a dash and of its period (0
    is solid)."""
    seed: int = 0


def paint(texture: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    """Colours of the places (a, b)."""
    return _PAINTERS[texture.kind](texture, a, b, sample_m)


def value_noise(a: Plane, b: Plane, seed: int) -> NDArray[np.float32]:
    """Smooth noise of period 1 between its bumps, 0 to 1, (N,)."""
    lattice = np.random.default_rng(seed).random((_LATTICE, _LATTICE), dtype=np.float32).ravel()
    i, j = np.floor(a), np.floor(b)
    u, v = a - i, b - j
    u *= u * (3 - 2 * u)
    v *= v * (3 - 2 * v)
    i0, j0 = i.astype(np.int64) & (_LATTICE - 1), j.astype(np.int64) & (_LATTICE - 1)
    i1, j1 = (i0 + 1) & (_LATTICE - 1), (j0 + 1) & (_LATTICE - 1)
    i0 *= _LATTICE
    i1 *= _LATTICE
    low = lattice[i0 + j0]
    low += (lattice[i1 + j0] - low) * u
    high = lattice[i0 + j1]
    high += (lattice[i1 + j1] - high) * u
    low += (high - low) * v
    return np.asarray(low, dtype=np.float32)


def _hash(i: NDArray[np.int64], j: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """A number 0 to 1 for each tile (i, j)."""
    table = np.random.default_rng(seed + 1).random((_LATTICE, _LATTICE), dtype=np.float32)
    return np.asarray(table[i & (_LATTICE - 1), j & (_LATTICE - 1)])


def _toned(colour: Colour, tone: NDArray[np.float32]) -> Colours:
    return np.asarray(np.array(colour, dtype=np.float32) * tone[:, None], dtype=np.float32)


def _blend(under: Colours, colour: Colour, share: NDArray[np.float32]) -> Colours:
    return np.asarray(under + (np.array(colour, dtype=np.float32) - under) * share[:, None], dtype=np.float32)


def _joint(place: Plane, pitch: float, width: float, sample_m: Plane) -> NDArray[np.float32]:
    """Coverage 0 to 1 of a joint of `width` metres every `pitch` metres, blurred to the sample's size."""
    off = np.abs((place / pitch + 0.5) % 1.0 - 0.5) * pitch
    blur = np.maximum(sample_m, width)
    return np.asarray(np.clip(1.5 - off / blur, 0, 1) * np.minimum(1.0, width / blur), dtype=np.float32)


def _paving(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    row = np.floor(b / t.pitch_m[1]).astype(np.int64)
    a = a + (row % 2) * t.pitch_m[0] / 2
    tile = _hash(np.floor(a / t.pitch_m[0]).astype(np.int64), row, t.seed)
    fade = np.clip(t.pitch_m[0] / (3 * sample_m), 0, 1)
    tone = (
        0.92
        + 0.16 * (tile - 0.5) * fade
        + 0.1 * value_noise(a * 0.35, b * 0.35, t.seed)
        + 0.06 * value_noise(a * 9, b * 9, t.seed + 2)
    )
    joints = np.maximum(_joint(a, t.pitch_m[0], 0.02, sample_m), _joint(b, t.pitch_m[1], 0.02, sample_m))
    return _blend(_toned(t.colour, tone.astype(np.float32)), t.second, 0.7 * joints)


def _asphalt(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    grain = value_noise(a * 14, b * 14, t.seed) - 0.5
    tone = 0.9 + 0.16 * value_noise(a * 0.22, b * 0.6, t.seed + 1) + 0.22 * grain * np.clip(0.05 / sample_m, 0.25, 1)
    crack = np.clip(1 - np.abs(value_noise(a * 0.5, b * 0.5, t.seed + 3) - 0.5) * 60, 0, 1) * 0.22
    return _toned(t.colour, (tone - crack).astype(np.float32))


def _grass(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    blades = (value_noise(a * 11, b * 7, t.seed) - 0.5) * np.clip(0.09 / sample_m, 0.3, 1)
    tone = 0.85 + 0.3 * value_noise(a * 0.6, b * 0.6, t.seed + 1) + 0.5 * blades
    return _toned(t.colour, tone.astype(np.float32))


def _paint(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    worn = 0.86 + 0.2 * value_noise(a * 5, b * 5, t.seed)
    return _toned(t.colour, worn.astype(np.float32)) + 0 * sample_m[:, None]


def _plain(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    return (
        _toned(t.colour, (0.94 + 0.12 * value_noise(a * 1.3, b * 1.3, t.seed)).astype(np.float32))
        + 0 * sample_m[:, None]
    )


def _brick(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    row = np.floor(b / t.pitch_m[1]).astype(np.int64)
    a = a + (row % 2) * t.pitch_m[0] / 2
    brick = _hash(np.floor(a / t.pitch_m[0]).astype(np.int64), row, t.seed)
    fade = np.clip(t.pitch_m[1] / (2 * sample_m), 0, 1)
    tone = 0.95 + 0.3 * (brick - 0.5) * fade + 0.12 * (value_noise(a * 0.5, b * 0.5, t.seed) - 0.5)
    joints = np.maximum(_joint(a, t.pitch_m[0], 0.012, sample_m), _joint(b, t.pitch_m[1], 0.012, sample_m))
    return _blend(_toned(t.colour, tone.astype(np.float32)), t.second, 0.6 * joints)


def _plaster(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    """A rendered facade with a window in every bay of every floor."""
    window, floor = t.pitch_m
    tone = 0.95 + 0.08 * value_noise(a * 0.4, b * 0.7, t.seed) + 0.04 * (value_noise(a * 7, b * 7, t.seed) - 0.5)
    wall = _toned(t.colour, tone.astype(np.float32))
    if window <= 0:
        return wall
    x, z = np.abs((a / (2 * window)) % 1.0 - 0.5) * 2 * window, (b / floor) % 1.0
    inside = (x < window / 2) & (z > 0.32) & (z < 0.86)
    frame = inside & ((np.abs(x - window / 4) < 0.05) | (x > window / 2 - 0.07) | (z < 0.35) | (z > 0.83))
    pane = _glass_tone(t, a, z)
    wall[inside] = pane[inside]
    wall[frame] = np.array(t.second, dtype=np.float32)
    wall[(np.abs(z - 0.3) < 0.02) & (x < window / 2 + 0.1)] *= 0.8
    return wall + 0 * sample_m[:, None]


def _glass_tone(t: Texture, a: Plane, z: Plane) -> Colours:
    bay = _hash(np.floor(a / (2 * max(t.pitch_m[0], 0.5))).astype(np.int64), np.zeros(len(a), dtype=np.int64), t.seed)
    sky = np.clip(0.35 + 0.75 * z + 0.3 * (bay - 0.5), 0, 1)
    return _blend(_toned((44, 54, 66), np.ones_like(a)), (150, 172, 188), sky.astype(np.float32) * 0.75)


def _glass(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    """A shop window: goods on shelves behind it, the sky mirrored in its upper part."""
    column, row = np.floor(a / 0.42).astype(np.int64), np.floor(b / 0.55).astype(np.int64)
    goods = _hash(column, row, t.seed)
    shape = (np.abs((a / 0.42) % 1 - 0.5) < 0.18 + 0.22 * goods) & ((b / 0.55) % 1 < 0.35 + 0.5 * goods)
    inside = _toned(t.colour, (0.6 + 0.3 * value_noise(a, b, t.seed)).astype(np.float32))
    hues = np.random.default_rng(t.seed + 5).uniform(60, 210, (16, 3)).astype(np.float32)
    inside[shape] = 0.75 * hues[(goods[shape] * 15.99).astype(np.int64)]
    mirrored = np.clip(0.18 * b + 0.25 * value_noise(a * 0.5 + b * 0.5, b * 0.2, t.seed + 1) - 0.1, 0, 0.6)
    shown = _blend(inside, (176, 196, 210), mirrored.astype(np.float32))
    frame = _joint(a, max(t.pitch_m[0], 0.3), 0.07, sample_m)
    return _blend(shown, t.second, frame)


def _planks(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    board = _hash(np.floor(a / t.pitch_m[0]).astype(np.int64), np.zeros(len(a), dtype=np.int64), t.seed)
    tone = 0.88 + 0.2 * board + 0.12 * (value_noise(a * 20, b * 1.5, t.seed) - 0.5)
    return _blend(_toned(t.colour, tone.astype(np.float32)), t.second, 0.7 * _joint(a, t.pitch_m[0], 0.015, sample_m))


def _interior(t: Texture, a: Plane, b: Plane, sample_m: Plane) -> Colours:
    """The back of a lit room: darker towards the floor, with shelves."""
    goods = _hash(np.floor(a / 0.3).astype(np.int64), np.floor(b / 0.4).astype(np.int64), t.seed)
    shown = _toned(t.colour, (0.55 + 0.2 * b / 3 + 0.4 * (goods - 0.5) * (b < 2.2)).astype(np.float32))
    return _blend(shown, t.second, 0.8 * _joint(b, 0.4, 0.05, sample_m))


_PAINTERS: Final[dict[Kind, Callable[[Texture, Plane, Plane, Plane], Colours]]] = {
    "paving": _paving,
    "asphalt": _asphalt,
    "grass": _grass,
    "paint": _paint,
    "plain": _plain,
    "brick": _brick,
    "plaster": _plaster,
    "glass": _glass,
    "planks": _planks,
    "interior": _interior,
}
