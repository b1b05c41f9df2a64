"""A scene and its pictures.

`Renderer(scene).frame(index)` is a pure function of the scene and the index. Movement, light and sensor noise repeat
after `scene.frames` frames.

Boxes enclose the whole figure (amodal: parts that a pole or another figure hides are included), without its shadow, cut
off at the border of the picture. `visible` is the visible share of the figure.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from countline_demo.scenes.backdrop import Backdrop, ScenePlace, build
from countline_demo.scenes.camera import GroundCamera
from countline_demo.scenes.drawing import Shape, bounds, clip, cut_out, over
from countline_demo.scenes.people import Person, Walker
from countline_demo.scenes.routes import Journey
from countline_demo.scenes.vehicles import Driver, Vehicle

CLASSES: Final = ("person", "vehicle")
"""Names of the classes, in the order of their numbers."""
PERSON: Final = 0
VEHICLE: Final = 1
NOISE_MARGIN_PX: Final = 96
"""The field of noise is larger than the picture by this; each frame uses another part of it."""
SOFT_PX: Final = 3
"""Width of the soft edge of a shadow."""
LARGEST_FIGURE_PX: Final = 2000
"""A figure larger than this stands right in front of the lens and is left out."""


@dataclass(frozen=True)
class Actor:
    """A moving object."""

    id: int
    look: Person | Vehicle
    journey: Journey

    @property
    def class_id(self) -> int:
        """Number of its class in `CLASSES`."""
        return PERSON if isinstance(self.look, Person) else VEHICLE


@dataclass(frozen=True)
class Light:
    """Sun, sky and their changes, which repeat with the scene."""

    sun: tuple[float, float]
    """Shift in X, Y of a shadow per metre of height."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    drift: float = 0.05
    """Amplitude of the slow change of brightness."""
    clouds: float = 0.25
    """Share of a shadow's depth that a passing cloud removes."""
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
    """The description of everything visible."""

    name: str
    camera: GroundCamera
    place: ScenePlace
    actors: tuple[Actor, ...]
    light: Light
    fps: Fraction
    frames: int
    """Length of the period in frames."""
    noise: float
    """Standard deviation of the sensor's noise, in grey levels."""
    seed: int
    """Seed of the noise."""

    @cached_property
    def period_s(self) -> float:
        """Everything repeats after this time."""
        return float(self.frames / self.fps)


@dataclass(frozen=True, slots=True)
class TrueObject:
    """One figure in one frame."""

    id: int
    class_id: int
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels of the whole figure, cut off at the border of the picture."""
    visible: float
    """Visible share of the whole figure's pixels, 0 to 1."""


@dataclass(frozen=True, slots=True)
class SceneFrame:
    """A picture and its true objects."""

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

    @cached_property
    def _backdrop(self) -> Backdrop:
        scene = self.scene
        return build(scene.place, scene.camera, scene.light.sun, scene.light.tint)

    @cached_property
    def _grain(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        return _grain(self.scene)

    def frame(self, index: int) -> SceneFrame:
        """The picture at an index; indices have no limit, and pictures repeat after `scene.frames`."""
        scene = self.scene
        index %= scene.frames
        t = float(index / scene.fps)
        phase = index / scene.frames
        posed = [pose for actor in scene.actors if (pose := self._pose(actor, t)) is not None]
        posed.sort(key=lambda pose: -pose.depth_m)
        pixels = self._ground(posed, scene.light.shadow_depth(phase))
        objects = self._draw(posed, pixels)
        return SceneFrame(self._sense(pixels, index, scene.light.gain(phase)), objects)

    def boxes(self, index: int) -> dict[int, tuple[float, float, float, float]]:
        """The boxes of one frame by actor, without drawing it; hidden objects are included."""
        t = float(index % self.scene.frames / self.scene.fps)
        posed = [pose for actor in self.scene.actors if (pose := self._pose(actor, t)) is not None]
        return {pose.actor.id: self._inside(pose.box) for pose in posed if pose.in_picture}

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

    def _ground(self, posed: list["_Posed"], depth: float) -> NDArray[np.uint8]:
        """The empty place with all shadows on it; overlapping shadows are no darker."""
        pixels = self._backdrop.lit.copy()
        shadow = np.zeros(pixels.shape[:2], dtype=np.uint8)
        regions = [region for pose in posed if (region := self._drop_shadow(pose.shadow, shadow)) is not None]
        for region in regions:
            seen = np.minimum(shadow[region], self._backdrop.open_ground[region])
            share = seen[:, :, None] * np.float32(depth / 255)
            lit, shaded = self._backdrop.lit[region], self._backdrop.shaded[region]
            pixels[region] = lit - (lit - shaded) * share
        return pixels

    def _drop_shadow(
        self, outlines: list[NDArray[np.float64]], shadow: NDArray[np.uint8]
    ) -> tuple[slice, slice] | None:
        """Add one figure's soft shadow to the map of shadows; returns its area, or None outside the picture."""
        corners = np.concatenate(outlines)
        x1, y1 = np.floor(np.maximum(corners.min(axis=0) - SOFT_PX, 0)).astype(int).tolist()
        x2, y2 = np.ceil(np.minimum(corners.max(axis=0) + SOFT_PX, self.scene.camera.size_wh)).astype(int).tolist()
        if x2 - x1 < 2 or y2 - y1 < 2:
            return None
        mask = Image.new("L", ((x2 - x1 + 1) // 2, (y2 - y1 + 1) // 2))
        pen = ImageDraw.Draw(mask)
        for outline in outlines:
            pen.polygon(((outline - (x1, y1)) / 2).ravel().tolist(), fill=255)
        soft = mask.filter(ImageFilter.BoxBlur(0.7)).resize((x2 - x1, y2 - y1), Image.Resampling.BILINEAR)
        region = slice(y1, y2), slice(x1, x2)
        np.maximum(shadow[region], np.asarray(soft), out=shadow[region])
        return region

    def _draw(self, posed: list["_Posed"], pixels: NDArray[np.uint8]) -> tuple[TrueObject, ...]:
        """Paint the figures from back to front and count their visible pixels, on a map of the figure of each pixel."""
        owner = np.zeros(pixels.shape[:2], dtype=np.uint8)
        drawn = [pose for pose in posed if pose.in_picture]
        laid = [self._lay(pose, number, pixels, owner) for number, pose in enumerate(drawn, start=1)]
        return tuple(
            TrueObject(
                id=pose.actor.id,
                class_id=pose.actor.class_id,
                box=self._inside(pose.box),
                visible=float(np.count_nonzero(owner[region] == number) / max(size, 1)),
            )
            for number, (pose, (size, region)) in enumerate(zip(drawn, laid, strict=True), start=1)
        )

    def _lay(
        self, pose: "_Posed", number: int, pixels: NDArray[np.uint8], owner: NDArray[np.uint8]
    ) -> tuple[int, tuple[slice, slice]]:
        """Paint one figure; returns its number of pixels, and the part of the picture that it may cover."""
        sprite = cut_out(pose.shapes, pose.box)
        size_hw = (sprite.pixels.shape[0], sprite.pixels.shape[1])
        rows, columns, own_rows, own_columns = clip(sprite.left, sprite.top, size_hw, self.scene.camera.size_wh)
        part = self._uncovered(pose, sprite.pixels[own_rows, own_columns], rows, columns)
        over(pixels[rows, columns], part)
        owner[rows, columns][part[:, :, 3] > 127] = number
        return int(np.count_nonzero(sprite.pixels[:, :, 3] > 127)), (rows, columns)

    def _uncovered(self, pose: "_Posed", part: NDArray[np.uint8], rows: slice, columns: slice) -> NDArray[np.uint8]:
        """The part of a sprite that nothing in front of it hides."""
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
        """Apply exposure and noise."""
        levels = np.clip(np.arange(256) * gain + 0.5, 0, 255).astype(np.uint8)
        height, width = pixels.shape[:2]
        exposed = np.frombuffer(pixels.tobytes().translate(levels.tobytes()), dtype=np.uint8).reshape(pixels.shape)
        spots = NOISE_MARGIN_PX * NOISE_MARGIN_PX
        top, left = divmod((index * 7919 + self.scene.seed * 104729) * 2654435761 % spots, NOISE_MARGIN_PX)
        more, room, less = (field[top : top + height, left : left + width] for field in self._grain)
        # Saturating sums of bytes, so that no wider type is needed.
        seen = np.minimum(exposed, room)
        seen += more
        np.maximum(seen, less, out=seen)
        seen -= less
        return seen


@dataclass(frozen=True, slots=True)
class _Posed:
    actor: Actor
    place: tuple[float, float, float]
    depth_m: float
    shapes: list[Shape]
    box: tuple[float, float, float, float]
    shadow: list[NDArray[np.float64]]
    in_picture: bool


def _grain(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Noise to add, the largest value that does not overflow, and noise to subtract; (H + margin, W + margin, 3)."""
    width, height = scene.camera.size_wh
    shape = (height + NOISE_MARGIN_PX, width + NOISE_MARGIN_PX)
    rng = np.random.default_rng(scene.seed)
    luma = rng.standard_normal((*shape, 1), dtype=np.float32)
    chroma = rng.standard_normal((*shape, 3), dtype=np.float32)
    noise = np.rint(scene.noise * (luma + 0.45 * chroma))
    more, less = np.maximum(noise, 0).astype(np.uint8), np.maximum(-noise, 0).astype(np.uint8)
    return more, 255 - more, less
