"""A scene and its pictures.

`Renderer(scene).frame(index)` is a pure function of the scene and the index: every moving thing, the light and the
sensor's noise repeat after `scene.frames` frames.

Boxes are those of the whole figure (amodal: what a pole or another figure hides counts in), without its shadow, cut
off at the border of the picture. `visible` tells how much of the figure can be seen.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from countline_models.scenes.backdrop import Backdrop, Place, build
from countline_models.scenes.camera import GroundCamera
from countline_models.scenes.drawing import Shape, Sprite, bounds, clip, cut_out, over
from countline_models.scenes.paths import Journey
from countline_models.scenes.people import Person, Walker
from countline_models.scenes.vehicles import Driver, Vehicle

CLASSES: Final = ("person", "vehicle")
"""Names of the classes, in the order of their numbers."""
PERSON: Final = 0
VEHICLE: Final = 1
NOISE_MARGIN_PX: Final = 96
"""How much larger than the picture the field of noise is; each frame shows another part of it."""
LARGEST_FIGURE_PX: Final = 2000
"""A figure larger than this stands in front of the lens; it is left out."""


@dataclass(frozen=True)
class Actor:
    """Something that moves."""

    id: int
    look: Person | Vehicle
    journey: Journey

    @property
    def class_id(self) -> int:
        """Number of its class in `CLASSES`."""
        return PERSON if isinstance(self.look, Person) else VEHICLE


@dataclass(frozen=True)
class Light:
    """Sun, sky and how they change; the changes repeat with the scene."""

    sun: tuple[float, float]
    """Shift in X, Y of a shadow per metre of height."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    drift: float = 0.05
    """Amplitude of the slow change of brightness."""
    clouds: float = 0.25
    """How much of a shadow's depth a passing cloud takes."""
    shadow: float = 1.0
    """Depth of shadows, 0 (overcast) to 1 (clear)."""

    def gain(self, phase: float) -> float:
        """Brightness at a phase (0 to 1) of the period."""
        return 1 + self.drift * math.sin(2 * math.pi * phase) + self.drift * 0.4 * math.sin(6 * math.pi * phase + 1)

    def shadow_depth(self, phase: float) -> float:
        """Depth of shadows at a phase of the period, 0 to 1."""
        return self.shadow * (1 - self.clouds * (0.5 - 0.5 * math.cos(4 * math.pi * phase)))


@dataclass(frozen=True)
class Scene:
    """Everything that can be seen, as numbers."""

    name: str
    camera: GroundCamera
    place: Place
    actors: tuple[Actor, ...]
    light: Light
    fps: Fraction
    frames: int
    """Length of the period in frames."""
    noise: float
    """Standard deviation of the sensor's noise, in grey levels."""
    seed: int
    """Of the noise."""

    @cached_property
    def period_s(self) -> float:
        """After this time everything repeats."""
        return float(self.frames / self.fps)


@dataclass(frozen=True, slots=True)
class TrueObject:
    """One figure in one frame."""

    id: int
    class_id: int
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels of the whole figure, cut off at the border of the picture."""
    visible: float
    """Share of the whole figure's pixels that can be seen, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture and what is true in it."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    objects: tuple[TrueObject, ...]


class Renderer:
    """Makes the pictures of one scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._figures = {
            actor.id: Walker(actor.look) if isinstance(actor.look, Person) else Driver(actor.look)
            for actor in scene.actors
        }
        self._backdrop: Backdrop = build(scene.place, scene.camera, scene.light.sun, scene.light.tint)
        self._lit, self._shaded = Image.fromarray(self._backdrop.lit), Image.fromarray(self._backdrop.shaded)
        self._grain = _grain(scene)

    def frame(self, index: int) -> Frame:
        """The picture at an index; indices count endlessly, pictures repeat after `scene.frames`."""
        scene = self.scene
        index %= scene.frames
        t = float(index / scene.fps)
        phase = index / scene.frames
        posed = [pose for actor in scene.actors if (pose := self._pose(actor, t)) is not None]
        posed.sort(key=lambda pose: -pose.depth_m)
        pixels = np.array(self._ground(posed, scene.light.shadow_depth(phase)))
        objects = self._draw(posed, pixels)
        return Frame(self._sense(pixels, index, scene.light.gain(phase)), objects)

    def _pose(self, actor: Actor, t: float) -> "_Posed | None":
        elapsed = actor.journey.elapsed_s(t, self.scene.period_s)
        if elapsed is None:
            return None
        distance = float(actor.journey.distance_m(np.array([elapsed]))[0])
        place = actor.journey.path.place(distance)
        figure, light, camera = self._figures[actor.id], self.scene.light, self.scene.camera
        if isinstance(figure, Walker):
            points = figure.points(place, distance, actor.journey.pace(elapsed))
            shapes = figure.shapes(camera, points, place[2], math.copysign(1.0, light.sun[0]))
        else:
            points = figure.points(place, distance)
            shapes = figure.shapes(camera, points, place[2], light.sun)
        box = bounds(shapes)
        width, height = camera.size_wh
        if max(box[2] - box[0], box[3] - box[1]) > LARGEST_FIGURE_PX:
            return None
        shadow = figure.shadow(camera, points, light.sun)
        return _Posed(
            actor,
            place,
            float(camera.depth_m(points).mean()),
            shapes,
            box,
            shadow,
            box[0] < width and box[2] > 0 and box[1] < height and box[3] > 0,
        )

    def _ground(self, posed: list["_Posed"], depth: float) -> Image.Image:
        """The empty place with the shadows of everything on it."""
        width, height = self.scene.camera.size_wh
        mask = Image.new("L", (width // 2, height // 2))
        pen = ImageDraw.Draw(mask)
        for pose in posed:
            for outline in pose.shadow:
                pen.polygon((outline / 2).ravel().tolist(), fill=round(255 * depth))
        soft = mask.filter(ImageFilter.BoxBlur(0.7)).resize((width, height), Image.Resampling.BILINEAR)
        on_ground = np.minimum(np.asarray(soft), self._backdrop.open_ground)
        return Image.composite(self._shaded, self._lit, Image.fromarray(on_ground))

    def _draw(self, posed: list["_Posed"], pixels: NDArray[np.uint8]) -> tuple[TrueObject, ...]:
        """Paint the figures from back to front and count what is seen of each, on a map of who covers which pixel."""
        owner = np.zeros(pixels.shape[:2], dtype=np.int16)
        sizes = [0]
        drawn = [pose for pose in posed if pose.in_picture]
        for number, pose in enumerate(drawn, start=1):
            sprite = cut_out(pose.shapes, pose.box)
            sizes.append(int(np.count_nonzero(sprite.pixels[:, :, 3] > 127)))
            self._lay(pose, sprite, number, pixels, owner)
        seen = np.bincount(owner.ravel(), minlength=len(sizes))
        return tuple(
            TrueObject(
                pose.actor.id, pose.actor.class_id, self._inside(pose.box), float(seen[number] / max(sizes[number], 1))
            )
            for number, pose in enumerate(drawn, start=1)
        )

    def _lay(
        self, pose: "_Posed", sprite: Sprite, number: int, pixels: NDArray[np.uint8], owner: NDArray[np.int16]
    ) -> None:
        size_hw = (sprite.pixels.shape[0], sprite.pixels.shape[1])
        rows, columns, own_rows, own_columns = clip(sprite.left, sprite.top, size_hw, self.scene.camera.size_wh)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        part = self._uncovered(pose, sprite.pixels[own_rows, own_columns], rows, columns)
        over(pixels[rows, columns], part)
        owner[rows, columns][part[:, :, 3] > 127] = number

    def _uncovered(self, pose: "_Posed", part: NDArray[np.uint8], rows: slice, columns: slice) -> NDArray[np.uint8]:
        """What of a sprite the things in front of it leave."""
        for hider in self._backdrop.hiders:
            if not hider.hides(pose.place[0], pose.place[1]):
                continue
            height, width = hider.coverage.shape
            y1, y2 = max(rows.start, hider.top), min(rows.stop, hider.top + height)
            x1, x2 = max(columns.start, hider.left), min(columns.stop, hider.left + width)
            if y1 >= y2 or x1 >= x2:
                continue
            free = 255 - hider.coverage[y1 - hider.top : y2 - hider.top, x1 - hider.left : x2 - hider.left]
            part = part.copy()
            behind = part[y1 - rows.start : y2 - rows.start, x1 - columns.start : x2 - columns.start]
            behind[:] = (behind * free[:, :, None].astype(np.uint16) + 127) // 255
        return part

    def _inside(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        width, height = self.scene.camera.size_wh
        return max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))

    def _sense(self, pixels: NDArray[np.uint8], index: int, gain: float) -> NDArray[np.uint8]:
        """Exposure and noise."""
        levels = np.clip(np.arange(256) * gain + 0.5, 0, 255).astype(np.uint8)
        exposed = np.asarray(Image.fromarray(pixels).point(levels.tolist() * 3))
        height, width = exposed.shape[:2]
        spot = (index * 7919 + self.scene.seed * 104729) % (NOISE_MARGIN_PX * NOISE_MARGIN_PX)
        top, left = divmod(spot * 2654435761 % (NOISE_MARGIN_PX * NOISE_MARGIN_PX), NOISE_MARGIN_PX)
        more, less = (field[top : top + height, left : left + width] for field in self._grain)
        # Saturating sums of bytes: no wider type is needed.
        brighter = np.minimum(exposed, 255 - more) + more
        return np.asarray(np.maximum(brighter, less) - less)


@dataclass(frozen=True, slots=True)
class _Posed:
    actor: Actor
    place: tuple[float, float, float]
    depth_m: float
    shapes: list[Shape]
    box: tuple[float, float, float, float]
    shadow: list[NDArray[np.float64]]
    in_picture: bool


def _grain(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What the noise adds and what it takes away, each (H + margin, W + margin, 3)."""
    width, height = scene.camera.size_wh
    shape = (height + NOISE_MARGIN_PX, width + NOISE_MARGIN_PX)
    rng = np.random.default_rng(scene.seed)
    luma = rng.standard_normal((*shape, 1), dtype=np.float32)
    chroma = rng.standard_normal((*shape, 3), dtype=np.float32)
    noise = np.rint(scene.noise * (luma + 0.45 * chroma))
    return np.maximum(noise, 0).astype(np.uint8), np.maximum(-noise, 0).astype(np.uint8)
