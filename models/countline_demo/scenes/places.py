"""Random places: a plaza, a shop's entrance, a street from its side, a crossing along the road.

Each builder makes a place from a random generator, with the ways that lead through it. The demo cameras and the
training pictures use the same builders.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.random import Generator

from countline_demo.scenes.backdrop import Patch, Prop, PropKind, ScenePlace, Wall
from countline_demo.scenes.camera import GroundCamera
from countline_demo.scenes.drawing import Colour, shade
from countline_demo.scenes.textures import Texture

Spot = tuple[float, float]
"""X, Y in metres."""
SIZE_WH: Final = (640, 360)
SKIES: Final[tuple[tuple[Colour, Colour], ...]] = (
    ((120, 160, 204), (196, 212, 224)),
    ((170, 178, 186), (206, 208, 210)),
    ((96, 112, 146), (222, 190, 160)),
)
STONE: Final[tuple[Colour, ...]] = ((168, 160, 148), (150, 148, 146), (176, 158, 136), (132, 130, 132), (158, 140, 126))
FACADES: Final[tuple[Colour, ...]] = (
    (196, 176, 146),
    (170, 108, 84),
    (206, 200, 188),
    (150, 162, 168),
    (188, 150, 110),
    (120, 110, 104),
)
LEAVES: Final[tuple[Colour, ...]] = ((64, 98, 50), (84, 112, 54), (52, 84, 56), (110, 112, 50))
ASPHALT: Final[tuple[Colour, ...]] = ((92, 92, 96), (76, 78, 82), (108, 106, 104))
PAINT: Final[Colour] = (214, 212, 202)
KERB: Final[Colour] = (172, 170, 164)
EVERYWHERE: Final = 200.0

T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """A way for actors; its way-points reach beyond the picture or to a hidden spot at both ends."""

    waypoints: tuple[Spot, ...]
    half_width_m: float
    vehicles: bool = False
    two_way: bool = True


@dataclass(frozen=True)
class Layout:
    """A place, its camera and the ways through it."""

    camera: GroundCamera
    place: ScenePlace
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Road:
    """A straight road; positions on it are given along and across."""

    origin: Spot
    angle_deg: float

    def at(self, along_m: float, left_m: float) -> Spot:
        """World X, Y of a position: metres along the road from its origin, and metres to the left of its middle."""
        cos, sin = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        return self.origin[0] + along_m * cos - left_m * sin, self.origin[1] + along_m * sin + left_m * cos


def pick(rng: Generator, choices: tuple[T, ...]) -> T:
    """A random one of some values."""
    return choices[int(rng.integers(len(choices)))]


def _between(rng: Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _seed(rng: Generator) -> int:
    return int(rng.integers(1 << 30))


def _edge(camera: GroundCamera, y: float) -> float:
    """Half the width of the ground in the picture at a distance Y."""
    return float(camera.size_wh[0] / 2 / camera.project(np.array([[0.0, y, 0.0]]))[1][0])


def _camera(rng: Generator, height: Spot, pitch: Spot, view: Spot) -> GroundCamera:
    return GroundCamera(SIZE_WH, _between(rng, *height), _between(rng, *pitch), _between(rng, *view))


def _paving(rng: Generator, colour: Colour | None = None) -> Texture:
    stone = shade(colour or pick(rng, STONE), _between(rng, 0.85, 1.12))
    size = _between(rng, 0.35, 1.2)
    return Texture("paving", stone, shade(stone, 0.62), (size, size * _between(rng, 0.5, 1.0)), _seed(rng))


def _facade(rng: Generator, *, windows: bool = True) -> Texture:
    colour = pick(rng, FACADES)
    if not windows or rng.random() < 0.3:
        return Texture("brick", colour, shade(colour, 1.25), (0.3, 0.1), _seed(rng))
    return Texture(
        "plaster",
        colour,
        shade(pick(rng, FACADES), 1.2),
        (_between(rng, 1.0, 1.8), _between(rng, 2.6, 3.4)),
        _seed(rng),
    )


def row_of_houses(rng: Generator, at: Callable[[float, float], Spot], depth: float, reach: float) -> list[Wall]:
    """Houses with shops on the ground floor, side by side along a road at a distance to the left of its middle."""
    walls, s = [], -reach
    while s < reach:
        width = _between(rng, 6, 14)
        walls += _house(rng, at, depth, s, width)
        s += width
    return walls


def _house(rng: Generator, at: Callable[[float, float], Spot], depth: float, s: float, width: float) -> list[Wall]:
    base = _between(rng, 3.0, 3.6)
    front = Texture("plain", shade(pick(rng, FACADES), 0.7), seed=_seed(rng))
    sign = Texture("plain", pick(rng, FACADES), seed=_seed(rng))
    walls = [
        Wall(at(s, depth), at(s + width, depth), 0, 30, _facade(rng)),
        Wall(at(s + 0.2, depth - 0.03), at(s + width - 0.2, depth - 0.03), 0, base, front),
        Wall(at(s + 1, depth - 0.08), at(s + width - 1, depth - 0.08), base - 0.6, base - 0.05, sign),
    ]
    shop = s + 0.7
    while shop + 2 < s + width:
        end = min(shop + _between(rng, 1.6, 3.2), s + width - 0.5)
        glass = Texture("glass", (90, 84, 76), (54, 56, 60), (_between(rng, 0.9, 1.6), 1), _seed(rng))
        walls.append(Wall(at(shop, depth - 0.06), at(end, depth - 0.06), 0.35, base - 0.7, glass))
        shop = end + _between(rng, 0.4, 1.6)
    return walls


def _prop(rng: Generator, kind: PropKind, spot: Spot) -> Prop:
    colours: dict[PropKind, tuple[Colour, ...]] = {
        "tree": LEAVES,
        "planter": ((124, 110, 96), (92, 92, 94), (150, 96, 70)),
        "pole": ((86, 88, 92), (120, 118, 112)),
        "lamp": ((52, 54, 58), (86, 88, 92)),
        "bollard": ((60, 62, 66), (120, 60, 50)),
        "sign": ((40, 80, 150), (170, 40, 40)),
        "bench": ((0, 0, 0),),
        "kiosk": ((96, 128, 104), (150, 70, 60), (70, 96, 132)),
    }
    return Prop(kind, spot, _between(rng, 0.88, 1.15), pick(rng, colours[kind]), _seed(rng))


def plaza(rng: Generator) -> Layout:
    """Open paving with trees and planters before a row of houses; people cross it every way."""
    camera = _camera(rng, (4.2, 7.0), (19, 31), (52, 74))
    nearest = camera.ground_at(320, 359)[1]
    far = nearest + _between(rng, 11, 20)
    stone = _paving(rng)
    patches = [
        Patch(
            (0, _between(rng, nearest, far)),
            (EVERYWHERE, _between(rng, 0.5, 1.4)),
            _paving(rng),
            _between(rng, -25, 25),
        ),
        Patch(
            (_between(rng, -3, 3), (nearest + far) / 2),
            (_between(rng, 1.5, 3.5),) * 2,
            _paving(rng),
            _between(rng, 0, 90),
        ),
    ]
    if rng.random() < 0.5:
        side = pick(rng, (-1.0, 1.0))
        lawn = Texture("grass", pick(rng, LEAVES), seed=_seed(rng))
        patches.append(
            Patch(
                (side * (_edge(camera, far) + 1), far - 1),
                (_between(rng, 4, 7), _between(rng, 2, 5)),
                lawn,
                _between(rng, -20, 20),
            )
        )
    middle = (nearest + far) / 2
    props = [
        _prop(
            rng,
            pick(rng, ("tree", "planter", "lamp", "bench", "planter", "pole", "sign")),
            _aside(rng, camera, nearest, far),
        )
        for _ in range(int(rng.integers(3, 8)))
    ]
    if rng.random() < 0.35:
        props.append(_prop(rng, "kiosk", (pick(rng, (-1.0, 1.0)) * _edge(camera, far) * 0.7, far - 1.5)))
    walls = row_of_houses(rng, Road((0.0, 0.0), 0.0).at, far + _between(rng, 2, 5), _edge(camera, far) + 18)
    ways = [_through(rng, camera, nearest, far) for _ in range(12)]
    ways.append(Way(((-_edge(camera, middle) - 3, middle), (_edge(camera, middle) + 3, middle)), 2.0))
    place = ScenePlace(stone, tuple(patches), tuple(walls), tuple(props), pick(rng, SKIES))
    return Layout(camera, place, tuple(ways))


def _aside(rng: Generator, camera: GroundCamera, nearest: float, far: float) -> Spot:
    """A random spot for a prop, preferably off the middle."""
    y = _between(rng, nearest + 1.5, far)
    return pick(rng, (-1.0, 1.0)) * _edge(camera, y) * _between(rng, 0.3, 0.95), y


def _through(rng: Generator, camera: GroundCamera, nearest: float, far: float) -> Way:
    """From one edge of the picture to another."""
    gates: list[Spot] = []
    sides = rng.permutation(4)[:2]
    for side in sides.tolist():
        y = _between(rng, nearest + 1.5, far)
        if side < 2:
            gates.append(((-1.0 if side else 1.0) * (_edge(camera, y) + 3), y))
        elif side == 2:
            gates.append((_between(rng, -0.8, 0.8) * _edge(camera, nearest), 0.5))
        else:
            gates.append((pick(rng, (-1.0, 1.0)) * (_edge(camera, far) + 4), far + 0.5))
    middle = (
        (gates[0][0] + gates[1][0]) / 2 + _between(rng, -1.5, 1.5),
        (gates[0][1] + gates[1][1]) / 2 + _between(rng, -1, 1),
    )
    return Way((gates[0], middle, gates[1]), 0.8)


def entrance(rng: Generator) -> Layout:
    """A shop front with an open door: some go in or come out, others pass by."""
    camera = _camera(rng, (3.2, 4.6), (14, 22), (56, 72))
    nearest = camera.ground_at(320, 359)[1]
    y = nearest + _between(rng, 5.5, 8.5)
    door_x, door = _between(rng, -0.4, 0.4) * _edge(camera, y), _between(rng, 1.9, 2.6)
    place = ScenePlace(
        _paving(rng),
        (
            Patch((door_x, y + 2.5), (30, 2.5), Texture("planks", (150, 118, 86), (96, 74, 52), (0.18, 1), _seed(rng))),
            Patch((0, y - 0.25), (EVERYWHERE, 0.3), Texture("plain", (120, 118, 114), seed=_seed(rng))),
            Patch((door_x, y - 0.6), (door * 0.45, 0.4), Texture("plain", (70, 72, 66), seed=_seed(rng))),
        ),
        tuple(shop_front(rng, y, door_x, door)),
        tuple(_shop_props(rng, camera, y, door_x, door)),
        pick(rng, SKIES),
    )
    return Layout(camera, place, tuple(_shop_ways(rng, camera, nearest, y, door_x, door)))


DOOR_TOP_M: Final = 2.45


def shop_front(rng: Generator, y: float, door_x: float, door: float) -> list[Wall]:
    """Return a facade along X at distance y, with windows and an open door. It hides an actor who went in."""
    wall = _facade(rng, windows=False)
    left, right = door_x - door / 2, door_x + door / 2
    room = Texture("interior", (188, 168, 138), (92, 74, 58), (1, 1), _seed(rng))
    walls = [
        Wall((-40, y), (left, y), 0, 30, wall, hides=True),
        Wall((right, y), (40, y), 0, 30, wall, hides=True),
        Wall((left, y), (right, y), DOOR_TOP_M, 30, wall, hides=True),
        Wall((-40, y + 5), (40, y + 5), 0, 6, room),
        Wall(
            (left - 0.12, y - 0.02), (left, y - 0.02), 0, DOOR_TOP_M + 0.12, Texture("plain", (58, 56, 54)), hides=True
        ),
        Wall(
            (right, y - 0.02),
            (right + 0.12, y - 0.02),
            0,
            DOOR_TOP_M + 0.12,
            Texture("plain", (58, 56, 54)),
            hides=True,
        ),
        Wall(
            (left - 1.2, y - 0.1),
            (right + 1.2, y - 0.1),
            DOOR_TOP_M + 0.35,
            DOOR_TOP_M + 1.05,
            Texture("plain", pick(rng, FACADES), seed=_seed(rng)),
        ),
    ]
    for start, end in ((-30.0, left - 0.6), (right + 0.6, 30.0)):
        pane = Texture("glass", (112, 100, 86), (62, 62, 64), (_between(rng, 1.2, 2.2), 1), _seed(rng))
        walls.append(Wall((start, y - 0.03), (end, y - 0.03), _between(rng, 0.3, 0.7), 2.6, pane, hides=True))
    return walls


def _shop_props(rng: Generator, camera: GroundCamera, y: float, door_x: float, door: float) -> list[Prop]:
    props = [
        _prop(rng, "planter", (door_x + side * (door / 2 + _between(rng, 1.0, 1.5)), y - 0.6)) for side in (-1.0, 1.0)
    ]
    for _ in range(int(rng.integers(1, 4))):
        x = pick(rng, (-1.0, 1.0)) * _between(rng, 0.45, 0.95) * _edge(camera, y - 2)
        if abs(x - door_x) > door:
            props.append(
                _prop(rng, pick(rng, ("bollard", "pole", "bench", "sign", "tree")), (x, y - _between(rng, 0.7, 3.5)))
            )
    return props


def _shop_ways(rng: Generator, camera: GroundCamera, nearest: float, y: float, door_x: float, door: float) -> list[Way]:
    ways = []
    for _ in range(6):
        side = pick(rng, (-1.0, 1.0))
        inside = (door_x + pick(rng, (-1.0, 1.0)) * (door / 2 + 2.8), y + _between(rng, 1.8, 2.6))
        through = _between(rng, -0.2, 0.2) * door
        outside_y = _between(rng, nearest + 1.0, y - 1.6)
        start: Spot = (side * (_edge(camera, outside_y) + 3), outside_y)
        if rng.random() < 0.35:
            start = (_between(rng, -0.6, 0.6) * _edge(camera, nearest), 0.4)
        ways.append(
            Way(
                (
                    start,
                    (door_x + through + side * 0.5, y - 1.5),
                    (door_x + through, y),
                    (door_x + through * 0.6, y + 1.0),
                    inside,
                ),
                0.15,
            )
        )
    for _ in range(4):
        y0, y1 = (_between(rng, nearest + 1.0, y - 1.6) for _ in range(2))
        ways.append(Way(((-_edge(camera, y0) - 3, y0), (0.0, (y0 + y1) / 2), (_edge(camera, y1) + 3, y1)), 0.3))
    return ways


def street(rng: Generator) -> Layout:
    """A road with two lanes and pavements, seen from the side."""
    camera = _camera(rng, (4.5, 7.5), (20, 30), (56, 74))
    nearest = camera.ground_at(320, 359)[1]
    angle = _between(rng, -14, 14)
    lane = _between(rng, 3.0, 3.5)
    middle = nearest + _between(rng, 2.2, 4.5) + lane
    at = Road((0.0, middle), angle).at
    road = Texture("asphalt", pick(rng, ASPHALT), seed=_seed(rng))
    white = Texture("paint", PAINT, seed=_seed(rng))
    kerb = Texture("plain", KERB, seed=_seed(rng))
    patches = [
        Patch((0, middle), (EVERYWHERE, lane + 0.2), kerb, angle),
        Patch((0, middle), (EVERYWHERE, lane), road, angle),
        Patch((0, middle), (EVERYWHERE, 0.06), white, angle, dash_m=(1.6, 4.0)),
    ]
    far = lane + _between(rng, 2.2, 4.0)
    ways = [
        Way((at(-60, -lane / 2), at(60, -lane / 2)), 0.12, vehicles=True, two_way=False),
        Way((at(60, lane / 2), at(-60, lane / 2)), 0.12, vehicles=True, two_way=False),
        Way((at(-40, lane + 1.3), at(40, lane + 1.3)), 0.7),
        Way((at(-40, -lane - 1.2), at(40, -lane - 1.2)), 0.5),
    ]
    if rng.random() < 0.6:
        x = _between(rng, -5, 5)
        patches.append(Patch(at(x, 0), (lane, 1.4), white, angle + 90, dash_m=(0.5, 1.0)))
        ways.append(
            Way(
                (
                    at(x - 12, -lane - 1.5),
                    at(x - 1, -lane - 1.0),
                    at(x, 0),
                    at(x + 1, lane + 1.0),
                    at(x + 14, lane + 1.6),
                ),
                0.5,
            )
        )
    spots = [
        at(_between(rng, -12, 12), pick(rng, (lane + 0.55, lane + 0.55, far))) for _ in range(int(rng.integers(2, 6)))
    ]
    props = [_prop(rng, pick(rng, ("tree", "lamp", "sign", "pole", "bollard", "planter")), spot) for spot in spots]
    walls = row_of_houses(rng, at, far + 1.0, 45.0) if rng.random() < 0.8 else []
    ground = _paving(rng) if walls else Texture("grass", pick(rng, LEAVES), seed=_seed(rng))
    patches.insert(0, Patch((0, middle), (EVERYWHERE, far + 0.8), _paving(rng), angle))
    return Layout(camera, ScenePlace(ground, tuple(patches), tuple(walls), tuple(props), pick(rng, SKIES)), tuple(ways))


def crossing(rng: Generator) -> Layout:
    """A road that comes towards the camera, with a zebra crossing and people on it and on the pavements."""
    camera = _camera(rng, (5.5, 8.0), (25, 33), (54, 70))
    nearest = camera.ground_at(320, 359)[1]
    angle = _between(rng, 62, 118)
    lane = _between(rng, 3.0, 3.4)
    origin = (_between(rng, -1.5, 1.5), nearest + _between(rng, 5, 8))
    at = Road(origin, angle).at
    white = Texture("paint", PAINT, seed=_seed(rng))
    patches = (
        Patch(origin, (EVERYWHERE, lane + 0.2), Texture("plain", KERB, seed=_seed(rng)), angle),
        Patch(origin, (EVERYWHERE, lane), Texture("asphalt", pick(rng, ASPHALT), seed=_seed(rng)), angle),
        Patch(at(23, 0), (20, 0.06), white, angle, dash_m=(1.6, 4.0)),
        Patch(at(-12, 0), (9, 0.06), white, angle, dash_m=(1.6, 4.0)),
        Patch(origin, (lane, 1.7), white, angle + 90, dash_m=(0.5, 1.0)),
        Patch(at(2.6, -lane / 2), (0.2, lane / 2), white, angle),
    )
    ways = [
        Way((at(-40, -lane / 2), at(70, -lane / 2)), 0.12, vehicles=True, two_way=False),
        Way((at(70, lane / 2), at(-40, lane / 2)), 0.12, vehicles=True, two_way=False),
        Way((at(0, -16), at(0, 16)), 0.9),
        Way((at(0, -16), at(0, 16)), 0.9),
        Way((at(-25, lane + 1.4), at(30, lane + 1.4)), 0.6),
        Way((at(-25, -lane - 1.4), at(30, -lane - 1.4)), 0.6),
    ]
    spots = [
        at(_between(rng, -4, 18), pick(rng, (-1.0, 1.0)) * (lane + _between(rng, 0.5, 3.5)))
        for _ in range(int(rng.integers(3, 8)))
    ]
    props = tuple(
        _prop(rng, pick(rng, ("tree", "lamp", "sign", "pole", "bollard", "planter")), spot)
        for spot in spots
        if abs(spot[1] - origin[1]) > 2
    )
    return Layout(camera, ScenePlace(_paving(rng), patches, (), props, pick(rng, SKIES)), tuple(ways))


PLACES: Final = {"plaza": plaza, "entrance": entrance, "street": street, "crossing": crossing}
"""The builders by name."""
