"""The static part of a scene: ground, walls, and props that hide objects behind them.

A ray through every picture sample finds ground and walls; props (trees, poles, planters, ...) are drawn like figures.
The result is the empty place in full light and in shadow, and masks of what hides moving objects.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from countline_demo.scenes.camera import GroundCamera
from countline_demo.scenes.drawing import Colour, Shape, bounds, clip, cut_out, ellipse, limbs, mix, over, shade
from countline_demo.scenes.textures import Texture, paint
from countline_demo.scenes.vehicles import convex_hull

OVERSAMPLING: Final = 2
IN_SHADOW: Final = (0.56, 0.6, 0.68)
"""Shares of red, green and blue that remain in a shadow, which the sky still lights."""
FAR_M: Final = 400.0


@dataclass(frozen=True)
class Patch:
    """A rectangle of ground, later ones over earlier ones."""

    centre: tuple[float, float]
    half: tuple[float, float]
    """Half its length and width; may be as large as the world."""
    texture: Texture
    angle_deg: float = 0.0
    dash_m: tuple[float, float] = (0.0, 0.0)
    """Length and period of dashes along its length; a period of 0 is no dashes."""


@dataclass(frozen=True)
class Wall:
    """An upright rectangle between two points on the ground."""

    start: tuple[float, float]
    end: tuple[float, float]
    bottom_m: float
    top_m: float
    texture: Texture
    hides: bool = False
    """Whether it may hide a moving object."""


PropKind = Literal["tree", "pole", "planter", "sign", "bollard", "bench", "kiosk", "lamp"]


@dataclass(frozen=True)
class Prop:
    """An object that stands on the ground and hides what is behind it."""

    kind: PropKind
    place: tuple[float, float]
    size: float
    """Scale; 1 is the usual size."""
    colour: Colour
    seed: int = 0


@dataclass(frozen=True)
class ScenePlace:
    """The description of everything static."""

    ground: Texture
    patches: tuple[Patch, ...]
    walls: tuple[Wall, ...]
    props: tuple[Prop, ...]
    sky: tuple[Colour, Colour]
    """Colours of the sky at the top of the picture and at the horizon."""


@dataclass(frozen=True, slots=True)
class Hider:
    """The mask of an object that hides what is behind it."""

    left: int
    top: int
    coverage: NDArray[np.uint8]
    """(h, w), 0 to 255."""
    line: tuple[float, float, float, float]
    """X, Y and outward X, Y of a line on the ground; objects on its far side are hidden."""

    def hides(self, x: float, y: float) -> bool:
        """Whether a place (x, y) is behind it."""
        x0, y0, out_x, out_y = self.line
        return (x - x0) * out_x + (y - y0) * out_y > 0


@dataclass(frozen=True, slots=True)
class Backdrop:
    """The rendered empty place."""

    lit: NDArray[np.uint8]
    """(H, W, 3)."""
    shaded: NDArray[np.uint8]
    """(H, W, 3): the same in shadow."""
    open_ground: NDArray[np.uint8]
    """(H, W): 255 for visible ground, on which shadows of moving objects fall."""
    hiders: tuple[Hider, ...]


def build(
    place: ScenePlace, camera: GroundCamera, sun: tuple[float, float], tint: tuple[float, float, float]
) -> Backdrop:
    """Render a place. `sun` is the shift in X, Y of a shadow per metre of height, `tint` the light's colour."""
    picture, ground, hiders = _cast(place, camera)
    picture *= np.array(tint, dtype=np.float32)
    lit = np.clip(picture, 0, 255).astype(np.uint8)
    shaded = np.clip(picture * np.array(IN_SHADOW, dtype=np.float32), 0, 255).astype(np.uint8)
    _drop_shadows(place.props, camera, sun, lit, shaded, ground)
    for prop in sorted(place.props, key=lambda prop: -prop.place[1]):
        shapes = _prop_shapes(prop, camera, sun)
        box = bounds(shapes)
        sprite = cut_out(shapes, box)
        rows, columns, own_rows, own_columns = clip(
            sprite.left, sprite.top, (sprite.pixels.shape[0], sprite.pixels.shape[1]), camera.size_wh
        )
        pixels = sprite.pixels[own_rows, own_columns].copy()
        if not pixels.size:
            continue
        pixels[:, :, :3] = np.minimum(pixels[:, :, :3] * np.array(tint, dtype=np.float32), pixels[:, :, 3:]).astype(
            np.uint8
        )
        for picture_8 in (lit, shaded):
            over(picture_8[rows, columns], pixels)
        ground[rows, columns] = np.minimum(ground[rows, columns], 255 - pixels[:, :, 3])
        hiders.append(Hider(columns.start, rows.start, pixels[:, :, 3].copy(), (0.0, prop.place[1], 0.0, 1.0)))
    return Backdrop(lit, shaded, ground, tuple(hiders))


Rays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Directions X, Y, Z, all of one shape."""
Region = tuple[slice, slice]
"""Rows and columns of the oversampled picture."""


def _cast(place: ScenePlace, camera: GroundCamera) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[Hider]]:
    """Colour, ground coverage and hiding walls, by casting rays."""
    x, y, z = rays = camera.rays(OVERSAMPLING)
    reach = np.where(z < -1e-4, camera.height_m / np.maximum(-z, 1e-4), FAR_M).astype(np.float32)
    reach = np.minimum(reach, FAR_M)
    colours = _sky(place, z)
    on_ground = reach < FAR_M
    hit_by = np.full(x.shape, -1, dtype=np.int16)
    regions = [_region(wall, camera) for wall in place.walls]
    for number, (wall, region) in enumerate(zip(place.walls, regions, strict=True)):
        _cast_wall(wall, number, camera, _part(rays, region), (reach[region], hit_by[region]))
    ground = on_ground & (hit_by < 0)
    spread = 1.0 / (camera.focal_px * OVERSAMPLING)
    colours[ground] = _ground(place, x[ground] * reach[ground], y[ground] * reach[ground], reach[ground] * spread)
    hiders = []
    for number, (wall, region) in enumerate(zip(place.walls, regions, strict=True)):
        seen = hit_by[region] == number
        if seen.any():
            colours[region][seen] = _wall_colours(wall, camera, _part(rays, region, seen), reach[region][seen], spread)
            if wall.hides:
                hiders.append(_wall_hider(wall, _down((hit_by == number).astype(np.float32) * 255)))
    return _down(colours), _down(ground.astype(np.float32) * 255).astype(np.uint8), hiders


def _part(rays: Rays, region: Region, seen: NDArray[np.bool_] | slice = slice(None)) -> Rays:
    x, y, z = rays
    return x[region][seen], y[region][seen], z[region][seen]


def _region(wall: Wall, camera: GroundCamera) -> Region:
    """The part of the picture that a wall may cover; all of it if the wall reaches beside or behind the camera."""
    corners = np.array([(x, y, z) for x, y in (wall.start, wall.end) for z in (wall.bottom_m, wall.top_m)], dtype=float)
    if camera.depth_m(corners).min() < 1.0:
        return slice(None), slice(None)
    pixels, _ = camera.project(corners)
    low = np.clip(np.floor(pixels.min(axis=0) - 1), 0, camera.size_wh).astype(int) * OVERSAMPLING
    high = np.clip(np.ceil(pixels.max(axis=0) + 1), 0, camera.size_wh).astype(int) * OVERSAMPLING
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _down(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average OVERSAMPLING x OVERSAMPLING samples to one pixel."""
    height, width = samples.shape[0] // OVERSAMPLING, samples.shape[1] // OVERSAMPLING
    blocks = samples.reshape(height, OVERSAMPLING, width, OVERSAMPLING, *samples.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def _sky(place: ScenePlace, z: NDArray[np.float32]) -> NDArray[np.float32]:
    top, horizon = (np.array(colour, dtype=np.float32) for colour in place.sky)
    share = np.clip(z / max(float(z.max()), 1e-3), 0, 1)[..., None]
    return np.asarray(horizon + (top - horizon) * share, dtype=np.float32)


def _cast_wall(
    wall: Wall, number: int, camera: GroundCamera, rays: Rays, met: tuple[NDArray[np.float32], NDArray[np.int16]]
) -> None:
    """Record in `met`, the reach of each ray and the number of its wall, the rays that meet this wall first."""
    reach, hit_by = met
    distance, along, up = _meet(wall, camera, rays)
    length = math.hypot(wall.end[0] - wall.start[0], wall.end[1] - wall.start[1])
    on_wall = (along >= 0) & (along <= length) & (up >= wall.bottom_m) & (up <= wall.top_m)
    hit = on_wall & (distance > 0) & (distance < reach)
    reach[hit] = distance[hit]
    hit_by[hit] = number


def _meet(
    wall: Wall, camera: GroundCamera, rays: Rays
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Distance along each ray to the wall's plane, and the place met: metres along the wall and up."""
    (x0, y0), (x1, y1) = wall.start, wall.end
    length = math.hypot(x1 - x0, y1 - y0)
    along = np.float32((x1 - x0) / length), np.float32((y1 - y0) / length)
    out = -along[1], along[0]
    x, y, z = rays
    towards = x * out[0] + y * out[1]
    towards[np.abs(towards) < 1e-5] = 1e-5
    distance = np.float32(x0 * out[0] + y0 * out[1]) / towards
    met = (x * distance - np.float32(x0)) * along[0] + (y * distance - np.float32(y0)) * along[1]
    return distance, met, np.float32(camera.height_m) + z * distance


def _wall_colours(
    wall: Wall,
    camera: GroundCamera,
    rays: Rays,
    reach: NDArray[np.float32],
    spread: float,
) -> NDArray[np.float32]:
    _, along, up = _meet(wall, camera, rays)
    colours = paint(wall.texture, along, up, (reach * spread).astype(np.float32))
    grounded = np.clip(0.72 + up * 0.35, 0.72, 1.0) if wall.bottom_m < 0.1 else np.ones_like(up)
    return np.asarray(colours * grounded[:, None], dtype=np.float32)


def _wall_hider(wall: Wall, coverage: NDArray[np.float32]) -> Hider:
    (x0, y0), (x1, y1) = wall.start, wall.end
    out = np.array([-(y1 - y0), x1 - x0]) / math.hypot(x1 - x0, y1 - y0)
    if x0 * out[0] + y0 * out[1] < 0:  # the camera stands at (0, 0): outward is away from it
        out = -out
    return Hider(0, 0, coverage.astype(np.uint8), (x0, y0, float(out[0]), float(out[1])))


def _ground(
    place: ScenePlace, x: NDArray[np.float32], y: NDArray[np.float32], sample_m: NDArray[np.float32]
) -> NDArray[np.float32]:
    colours = paint(place.ground, x, y, sample_m)
    for patch in place.patches:
        cos, sin = math.cos(math.radians(patch.angle_deg)), math.sin(math.radians(patch.angle_deg))
        a = (x - patch.centre[0]) * cos + (y - patch.centre[1]) * sin
        b = (y - patch.centre[1]) * cos - (x - patch.centre[0]) * sin
        inside = (np.abs(a) <= patch.half[0]) & (np.abs(b) <= patch.half[1])
        if patch.dash_m[1] > 0:
            inside &= a % patch.dash_m[1] < patch.dash_m[0]
        if inside.any():
            colours[inside] = paint(patch.texture, a[inside], b[inside], sample_m[inside])
    return colours


def _drop_shadows(
    props: tuple[Prop, ...],
    camera: GroundCamera,
    sun: tuple[float, float],
    lit: NDArray[np.uint8],
    shaded: NDArray[np.uint8],
    ground: NDArray[np.uint8],
) -> None:
    """Put the props' shadows into the lit picture, in place."""
    mask = Image.new("L", camera.size_wh)
    pen = ImageDraw.Draw(mask)
    for prop in props:
        for outline in _prop_shadow(prop, camera, sun):
            pen.polygon(outline.ravel().tolist(), fill=255)
    soft = np.minimum(np.asarray(mask.filter(ImageFilter.BoxBlur(1.2))), ground)[:, :, None] / np.float32(255)
    lit[:] = (lit + (shaded.astype(np.float32) - lit) * soft).astype(np.uint8)


def _solid(prop: Prop) -> list[tuple[float, float, float, float, float, float, Colour]]:
    """The boxes of a prop from back to front: X and Y offset, half length and depth, bottom, top, colour."""
    s, colour = prop.size, prop.colour
    if prop.kind == "planter":
        return [(0, 0, 0.8 * s, 0.35 * s, 0, 0.55 * s, colour)]
    if prop.kind == "bench":
        wood: Colour = (134, 96, 62)
        return [
            (-0.7 * s, 0, 0.06, 0.2, 0, 0.42 * s, (70, 70, 74)),
            (0.7 * s, 0, 0.06, 0.2, 0, 0.42 * s, (70, 70, 74)),
            (0, 0.2, 0.9 * s, 0.03, 0.55 * s, 0.85 * s, wood),
            (0, 0, 0.9 * s, 0.22, 0.4 * s, 0.46 * s, wood),
        ]
    if prop.kind == "kiosk":
        return [
            (0, 0, 1.1 * s, 0.9 * s, 0, 2.3 * s, colour),
            (0, 0, 1.35 * s, 1.1 * s, 2.3 * s, 2.5 * s, shade(colour, 0.6)),
            (0, -0.91 * s, 0.75 * s, 0.0, 1.05 * s, 1.9 * s, (50, 60, 70)),
        ]
    return []


def _posts(prop: Prop) -> list[tuple[float, float, float, float, Colour]]:
    """The upright round posts of a prop: bottom, top, bottom and top radius in metres, colour."""
    s = prop.size
    if prop.kind == "pole":
        return [(0, 4.2 * s, 0.075, 0.06, prop.colour)]
    if prop.kind == "lamp":
        return [(0, 5.5 * s, 0.07, 0.045, prop.colour)]
    if prop.kind == "bollard":
        return [(0, 0.95 * s, 0.09, 0.08, prop.colour), (0.7 * s, 0.8 * s, 0.092, 0.09, (210, 208, 200))]
    if prop.kind == "sign":
        return [(0, 2.5 * s, 0.035, 0.035, (120, 122, 126))]
    if prop.kind == "tree":
        return [(0, 2.6 * s, 0.16 * s, 0.09 * s, (92, 72, 54))]
    return []


def _leaves(prop: Prop) -> list[tuple[float, float, float, float, float]]:
    """Clumps of leaves: offsets X, Y, Z, radius in metres, tone."""
    rng = np.random.default_rng(prop.seed)
    s = prop.size
    if prop.kind == "tree":
        count, spread, middle, radius = 46, (0.95 * s, 0.95 * s, 0.85 * s), 3.4 * s, 0.42 * s
    elif prop.kind == "planter":
        count, spread, middle, radius = 22, (0.66 * s, 0.24 * s, 0.22 * s), 0.72 * s, 0.17 * s
    else:
        return []
    points = rng.normal(0, 0.55, (count, 3)).clip(-1, 1) * spread
    tones = 0.72 + 0.28 * points[:, 2] / spread[2] + rng.uniform(-0.12, 0.2, count)
    order = np.argsort(points[:, 2] - 0.4 * points[:, 1])
    return [
        (*points[i, :2], middle + points[i, 2], radius * float(rng.uniform(0.7, 1.15)), float(tones[i])) for i in order
    ]


def _corners(x: float, y: float, box: tuple[float, float, float, float, float, float, Colour]) -> NDArray[np.float64]:
    dx, dy, half_x, half_y, low, high, _ = box
    return np.array(
        [
            (x + dx + i * half_x, y + dy + j * half_y, z)
            for z in (low, high)
            for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
    )


def _prop_shapes(prop: Prop, camera: GroundCamera, sun: tuple[float, float]) -> list[Shape]:
    x, y = prop.place
    shapes: list[Shape] = []
    for box in _solid(prop):
        shapes += _box_shapes(camera.project(_corners(x, y, box))[0], box[6], sun)
    for low, high, r0, r1, colour in _posts(prop):
        ends, scale = camera.project(np.array([[x, y, low], [x, y, high]]))
        radii = np.array([[r0, r1]]) * scale
        shapes.append(Shape(limbs(ends[None], radii)[0], shade(colour, 0.72)))
        shift = np.array([-0.35 * math.copysign(1.0, sun[0]), 0.0]) * radii.mean()
        shapes.append(Shape(limbs(ends[None] + shift, radii * 0.5)[0], shade(colour, 1.12)))
    green = prop.colour if prop.kind == "tree" else (74, 110, 58)
    for dx, dy, z, radius, tone in _leaves(prop):
        at, scale = camera.project(np.array([[x + dx, y + dy, z]]))
        r = radius * float(scale[0])
        leaf = shade(mix(green, (150, 150, 70), 0.2 * (tone - 0.7)), tone)
        shapes.append(Shape(ellipse((float(at[0, 0]), float(at[0, 1])), (r, r * 0.85), corners=9), leaf))
    return shapes + _plates(prop, camera)


def _plates(prop: Prop, camera: GroundCamera) -> list[Shape]:
    """The flat parts on top of a post."""
    x, y, s = *prop.place, prop.size
    if prop.kind == "sign":
        at, scale = camera.project(np.array([[x, y - 0.04, 2.2 * s]]))
        r = 0.34 * s * float(scale[0])
        u, v = float(at[0, 0]), float(at[0, 1])
        return [
            Shape(ellipse((u, v), (r, r)), prop.colour),
            Shape(ellipse((u, v), (r * 0.72, r * 0.72)), (236, 236, 232)),
        ]
    if prop.kind == "lamp":
        at, scale = camera.project(np.array([[x, y, 5.5 * s]]))
        r, u, v = float(scale[0]), float(at[0, 0]), float(at[0, 1])
        return [
            Shape(
                np.array([[u - 0.1 * r, v], [u + 0.7 * r, v - 0.05 * r], [u + 0.7 * r, v + 0.1 * r], [u, v + 0.1 * r]]),
                shade(prop.colour, 0.8),
            )
        ]
    return []


def _box_shapes(pixels: NDArray[np.float64], colour: Colour, sun: tuple[float, float]) -> list[Shape]:
    """Front, sides and top of a box whose 8 corners are given in pixels, bottom ones first."""
    left, right = (1.06, 0.72) if sun[0] > 0 else (0.72, 1.06)
    sides = [((0, 3, 7, 4), left), ((1, 5, 6, 2), right), ((0, 4, 5, 1), 0.9), ((4, 7, 6, 5), 1.16)]
    shapes = []
    for corners, tone in sides:
        outline = pixels[list(corners)]
        after = np.roll(outline, -1, axis=0)
        if float((outline[:, 0] * after[:, 1] - after[:, 0] * outline[:, 1]).sum()) >= 0:
            shapes.append(Shape(outline, shade(colour, tone)))
    return shapes


def _prop_shadow(prop: Prop, camera: GroundCamera, sun: tuple[float, float]) -> list[NDArray[np.float64]]:
    x, y = prop.place
    found = []
    for box in _solid(prop):
        corners = _corners(x, y, box)
        found.append(convex_hull(_fallen(corners, camera, sun)[0]))
    for low, high, r0, r1, _ in _posts(prop):
        ends, scale = _fallen(np.array([[x, y, low], [x, y, high]]), camera, sun)
        found.append(limbs(ends[None], np.array([[r0, r1]]) * scale)[0])
    for dx, dy, z, radius, _ in _leaves(prop):
        at, scale = _fallen(np.array([[x + dx, y + dy, z]]), camera, sun)
        r = radius * float(scale[0])
        found.append(ellipse((float(at[0, 0]), float(at[0, 1])), (r, r * 0.55), corners=9))
    return found


def _fallen(
    points: NDArray[np.float64], camera: GroundCamera, sun: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the shadows of points (N, 3) fall, in pixels, and the scale there."""
    fallen = points.copy()
    fallen[:, :2] += np.array(sun) * points[:, 2:]
    fallen[:, 2] = 0.0
    return camera.project(fallen)
