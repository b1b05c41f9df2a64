"""Vehicles: solid bodies with windows, lights and turning wheels.

A body is a list of flat faces in its own frame (X forward, Y left, Z up, metres, ground at 0), wound
counter-clockwise seen from outside, in an order in which they can be painted one over the other. Faces that look
away from the camera are left out, so each convex part needs no sorting.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from countline_demo.scenes.camera import GroundCamera, Points3
from countline_demo.scenes.drawing import Colour, Shape, mix, shade
from countline_demo.scenes.people import to_world

PAINTS: Final[tuple[Colour, ...]] = (
    (196, 198, 202),
    (232, 232, 228),
    (44, 46, 52),
    (120, 124, 130),
    (150, 32, 34),
    (34, 66, 118),
    (52, 92, 72),
    (206, 156, 42),
    (112, 88, 70),
    (70, 120, 150),
    (176, 92, 40),
    (28, 30, 36),
)
GLASS: Final[Colour] = (46, 58, 70)
SKY: Final[Colour] = (168, 190, 208)
TYRE: Final[Colour] = (24, 24, 26)
RIM: Final[Colour] = (150, 152, 156)
LAMP: Final[Colour] = (246, 244, 220)
TAIL_LAMP: Final[Colour] = (176, 26, 24)
DARK: Final[Colour] = (34, 34, 38)

Kind = Literal["hatchback", "saloon", "estate", "van", "truck", "bus"]
Profile = tuple[tuple[float, float], ...]
"""Outline in side view: (forward, up) metres, clockwise from the rear bottom corner over the roof to the front."""

LENGTHS_M: Final[dict[Kind, float]] = {
    "hatchback": 4.0,
    "saloon": 4.6,
    "estate": 4.6,
    "van": 5.2,
    "truck": 6.6,
    "bus": 7.6,
}
WIDTHS_M: Final[dict[Kind, float]] = {
    "hatchback": 1.72,
    "saloon": 1.8,
    "estate": 1.82,
    "van": 1.95,
    "truck": 2.15,
    "bus": 2.3,
}


WAIST_M: Final = 0.93
ROOF_M: Final = 1.46
"""Lower and upper edge of a car's windows."""


@dataclass(frozen=True)
class Vehicle:
    """The looks of a vehicle."""

    kind: Kind
    paint: Colour
    second_paint: Colour
    """Colour of a truck's box, or of the stripe of a van or bus."""
    lettered: bool
    """Whether a van or truck carries a sign."""
    size: float
    """Scale of all lengths; 1 is usual."""

    @property
    def length_m(self) -> float:
        """Length from bumper to bumper."""
        return LENGTHS_M[self.kind] * self.size


def random_vehicle(
    rng: Generator, kinds: tuple[Kind, ...] = ("hatchback", "saloon", "estate", "van", "truck", "bus")
) -> Vehicle:
    """A random vehicle."""
    paint, second = (PAINTS[int(rng.integers(len(PAINTS)))] for _ in range(2))
    return Vehicle(
        kind=kinds[int(rng.integers(len(kinds)))],
        paint=shade(paint, float(rng.uniform(0.85, 1.12))),
        second_paint=second,
        lettered=bool(rng.random() < 0.6),
        size=float(rng.uniform(0.94, 1.06)),
    )


@dataclass(frozen=True, slots=True)
class Face:
    """A flat polygon of a body."""

    corners: Points3
    colour: Colour
    glossy: float = 0.0
    """Share of the sky that it mirrors if it faces up."""
    shines: bool = False
    """A lamp: not shaded."""


def faces(vehicle: Vehicle) -> list[Face]:
    """The body without its wheels, in the order of painting."""
    build = {"hatchback": _car, "saloon": _car, "estate": _car, "van": _van, "truck": _truck, "bus": _bus}[vehicle.kind]
    return build(vehicle)


def _car(vehicle: Vehicle) -> list[Face]:
    half, width = LENGTHS_M[vehicle.kind] / 2, WIDTHS_M[vehicle.kind]
    tail = {"hatchback": 0.05, "saloon": 0.85, "estate": 0.05}.get(vehicle.kind, 0.05)
    rear_slope = {"hatchback": 0.5, "saloon": 0.75, "estate": 0.3}.get(vehicle.kind, 0.5)
    body: Profile = (
        (-half, 0.3),
        (-half, 0.78),
        (-half + 0.08, 0.92),
        (half - 1.35, 0.95),
        (half - 0.35, 0.82),
        (half - 0.04, 0.66),
        (half, 0.3),
    )
    low, high = (-half + tail, half - 1.25), (-half + tail + rear_slope, half - 2.0)
    found = _extrusion(body, width, vehicle.paint)
    found += _bumpers(half, width, 0.3, 0.5)
    found += _lamps(half, width, 0.62, 0.76, 0.66, 0.86)
    return found + _cabin(low, high, width, vehicle.paint)


def _cabin(low: tuple[float, float], high: tuple[float, float], width: float, paint: Colour) -> list[Face]:
    """The glass house of a car: `low` and `high` are its rear and front ends at the waist and at the roof."""
    outer, inner = width / 2 - 0.06, width / 2 - 0.24
    screen = [(low[1], -outer, WAIST_M), (low[1], outer, WAIST_M), (high[1], inner, ROOF_M), (high[1], -inner, ROOF_M)]
    rear = [(low[0], outer, WAIST_M), (low[0], -outer, WAIST_M), (high[0], -inner, ROOF_M), (high[0], inner, ROOF_M)]
    roof = [(high[1], -inner, ROOF_M), (high[1], inner, ROOF_M), (high[0], inner, ROOF_M), (high[0], -inner, ROOF_M)]
    found = [_face(screen, GLASS, glossy=0.5), _face(rear, GLASS, glossy=0.5), _face(roof, paint, glossy=0.12)]
    for side in (1.0, -1.0):
        found.append(_sided(side, _cabin_side(low, high, (outer, inner), side, (0.0, 1.0), (0.0, 1.0)), paint))
        for ends in ((0.07, 0.47), (0.53, 0.93)):
            pane = _cabin_side(low, high, (outer, inner), side, ends, (0.1, 0.88))
            found.append(_sided(side, pane, GLASS, glossy=0.35))
    return found


def _cabin_side(
    low: tuple[float, float],
    high: tuple[float, float],
    half_widths: tuple[float, float],
    side: float,
    ends: tuple[float, float],
    levels: tuple[float, float],
) -> list[tuple[float, float, float]]:
    """The part of a cabin's side between two shares of its length and two of its height."""

    def at(end: float, level: float) -> tuple[float, float, float]:
        bottom, top = (pair[0] + (pair[1] - pair[0]) * end for pair in (low, high))
        y = half_widths[0] + (half_widths[1] - half_widths[0]) * level
        return bottom + (top - bottom) * level, side * y, WAIST_M + (ROOF_M - WAIST_M) * level

    return [at(ends[0], levels[0]), at(ends[0], levels[1]), at(ends[1], levels[1]), at(ends[1], levels[0])]


def _van(vehicle: Vehicle) -> list[Face]:
    half, width = LENGTHS_M["van"] / 2, WIDTHS_M["van"]
    body: Profile = (
        (-half, 0.3),
        (-half, 2.05),
        (-half + 0.1, 2.15),
        (half - 1.35, 2.15),
        (half - 0.75, 1.2),
        (half - 0.1, 1.0),
        (half, 0.85),
        (half, 0.3),
    )
    found = _extrusion(body, width, vehicle.paint)
    y = width / 2
    screen = [
        (half - 0.78, -y + 0.12, 1.26),
        (half - 0.78, y - 0.12, 1.26),
        (half - 1.3, y - 0.2, 2.06),
        (half - 1.3, -y + 0.2, 2.06),
    ]
    rear = [
        (-half - 0.01, y - 0.2, 1.35),
        (-half - 0.01, -y + 0.2, 1.35),
        (-half - 0.01, -y + 0.2, 1.9),
        (-half - 0.01, y - 0.2, 1.9),
    ]
    found += [_face(screen, GLASS, glossy=0.5), _face(rear, GLASS, glossy=0.3)]
    for side in (1.0, -1.0):
        found.append(_panel(side, y, (half - 1.95, half - 1.05), (1.25, 1.9), GLASS, lean=0.3))
        found.append(_panel(side, y, (-half, half), (0.62, 0.74), vehicle.second_paint))
        if vehicle.lettered:
            found.append(_panel(side, y, (-half + 0.6, half - 2.4), (1.3, 1.75), vehicle.second_paint))
            found.append(
                _panel(
                    side, y, (-half + 0.9, half - 2.8), (1.45, 1.6), mix(vehicle.second_paint, (255, 255, 255), 0.75)
                )
            )
    return found + _bumpers(half, width, 0.3, 0.5) + _lamps(half, width, 0.7, 0.92, 0.8, 1.2)


def _bus(vehicle: Vehicle) -> list[Face]:
    half, width = LENGTHS_M["bus"] / 2, WIDTHS_M["bus"]
    body: Profile = (
        (-half, 0.35),
        (-half, 2.6),
        (-half + 0.15, 2.75),
        (half - 0.25, 2.75),
        (half - 0.05, 2.5),
        (half, 1.2),
        (half, 0.35),
    )
    found = _extrusion(body, width, vehicle.paint)
    y = width / 2
    screen = [
        (half - 0.01, -y + 0.1, 1.25),
        (half - 0.01, y - 0.1, 1.25),
        (half - 0.03, y - 0.15, 2.45),
        (half - 0.03, -y + 0.15, 2.45),
    ]
    rear = [
        (-half - 0.01, y - 0.2, 1.5),
        (-half - 0.01, -y + 0.2, 1.5),
        (-half - 0.01, -y + 0.2, 2.4),
        (-half - 0.01, y - 0.2, 2.4),
    ]
    found += [_face(screen, GLASS, glossy=0.5), _face(rear, GLASS, glossy=0.3)]
    for side in (1.0, -1.0):
        found.append(_panel(side, y, (-half, half), (0.75, 1.0), vehicle.second_paint))
        found += [_panel(side, y, (x, x + 1.02), (1.35, 2.3), GLASS) for x in np.linspace(-half + 0.25, half - 1.35, 6)]
    return found + _bumpers(half, width, 0.35, 0.6) + _lamps(half, width, 0.7, 0.9, 0.8, 1.15)


def _truck(vehicle: Vehicle) -> list[Face]:
    """A box behind a cab; the box is taller, so painted last it never hides wrongly what is seen from above."""
    half, width = LENGTHS_M["truck"] / 2, WIDTHS_M["truck"]
    y, front = width / 2, half - 1.7
    box: Profile = ((-half, 0.75), (-half, 2.85), (front - 0.15, 2.85), (front - 0.15, 0.75))
    cab: Profile = ((front, 0.45), (front, 2.2), (half - 0.65, 2.25), (half - 0.1, 1.3), (half, 1.15), (half, 0.4))
    chassis: Profile = ((-half, 0.5), (-half, 0.75), (front, 0.75), (front, 0.5))
    cab_faces = _extrusion(cab, width * 0.94, vehicle.paint)
    screen = [
        (half - 0.14, -y + 0.2, 1.36),
        (half - 0.14, y - 0.2, 1.36),
        (half - 0.61, y - 0.25, 2.18),
        (half - 0.61, -y + 0.25, 2.18),
    ]
    cab_faces.append(_face(screen, GLASS, glossy=0.5))
    for side in (1.0, -1.0):
        cab_faces.append(_panel(side, y * 0.94, (front + 0.35, half - 0.35), (1.35, 2.05), GLASS, lean=0.3))
    box_faces = _extrusion(box, width, vehicle.second_paint)
    if vehicle.lettered:
        for side in (1.0, -1.0):
            box_faces.append(_panel(side, y, (-half + 0.6, front - 0.9), (1.5, 2.2), vehicle.paint))
    found = _extrusion(chassis, width * 0.8, DARK) + cab_faces + box_faces
    return found + _bumpers(half, width * 0.94, 0.4, 0.62) + _lamps(half, width * 0.9, 0.72, 0.9, 0.8, 0.95)


def _face(
    corners: list[tuple[float, float, float]], colour: Colour, *, glossy: float = 0.0, shines: bool = False
) -> Face:
    return Face(np.array(corners, dtype=np.float64), colour, glossy, shines)


def _sided(side: float, corners: list[tuple[float, float, float]], colour: Colour, glossy: float = 0.0) -> Face:
    """A face whose corners are given counter-clockwise for the right side; turned round for the left."""
    return _face(corners if side > 0 else corners[::-1], colour, glossy=glossy)


def _panel(
    side: float, y: float, xs: tuple[float, float], zs: tuple[float, float], colour: Colour, *, lean: float = 0.0
) -> Face:
    """A rectangle on a side wall; `lean` metres are cut off its upper front corner."""
    out = side * (y + 0.005)
    return _sided(
        side, [(xs[0], out, zs[0]), (xs[0], out, zs[1]), (xs[1] - lean, out, zs[1]), (xs[1], out, zs[0])], colour
    )


def _extrusion(profile: Profile, width: float, colour: Colour) -> list[Face]:
    """Both sides of a profile and the strips between them, without the floor."""
    y = width / 2
    found = [_sided(side, [(x, side * y, z) for x, z in profile], colour) for side in (1.0, -1.0)]
    found += [
        _face([(x0, y, z0), (x0, -y, z0), (x1, -y, z1), (x1, y, z1)], colour, glossy=0.12)
        for (x0, z0), (x1, z1) in pairwise(profile)
    ]
    return found


def _bumpers(half: float, width: float, low: float, high: float) -> list[Face]:
    y, out = width / 2, half + 0.01
    return [
        _face([(out, -y, low), (out, y, low), (out, y, high), (out, -y, high)], DARK),
        _face([(-out, y, low), (-out, -y, low), (-out, -y, high), (-out, y, high)], DARK),
        _face(
            [(out, -0.26, low + 0.04), (out, 0.26, low + 0.04), (out, 0.26, high - 0.05), (out, -0.26, high - 0.05)],
            (220, 220, 212),
        ),
        _face(
            [
                (-out, 0.26, low + 0.04),
                (-out, -0.26, low + 0.04),
                (-out, -0.26, high - 0.05),
                (-out, 0.26, high - 0.05),
            ],
            (220, 220, 212),
        ),
    ]


def _lamps(
    half: float, width: float, front_low: float, front_high: float, rear_low: float, rear_high: float
) -> list[Face]:
    y, out = width / 2, half + 0.015
    found = []
    for side in (1.0, -1.0):
        near, far = sorted((side * (y - 0.42), side * (y - 0.04)))
        nose = [
            (out, near, front_low),
            (out, far, front_low),
            (out - 0.06, far, front_high),
            (out - 0.06, near, front_high),
        ]
        found.append(_face(nose, LAMP, shines=True))
        near, far = sorted((side * (y - 0.26), side * (y - 0.03)))
        tail = [(-out, far, rear_low), (-out, near, rear_low), (-out, near, rear_high), (-out, far, rear_high)]
        found.append(_face(tail, TAIL_LAMP, shines=True))
    return found


WHEEL_CORNERS: Final = 12
_WHEEL_TURN = np.arange(WHEEL_CORNERS) * (2 * math.pi / WHEEL_CORNERS)


class Driver:
    """A vehicle that can be drawn at any place."""

    def __init__(self, vehicle: Vehicle) -> None:
        self.vehicle = vehicle
        size, length, width = vehicle.size, LENGTHS_M[vehicle.kind], WIDTHS_M[vehicle.kind]
        self._faces = faces(vehicle)
        self._radius_m = {"van": 0.34, "truck": 0.42, "bus": 0.44}.get(vehicle.kind, 0.32)
        front, rear = length * 0.5 - self._radius_m * 2.45, -length * 0.5 + self._radius_m * 2.3
        self._axles = [(x, y) for x in (front, rear) for y in (width / 2, -width / 2)]
        self._corners = np.concatenate([face.corners for face in self._faces]) * size
        self._starts = np.cumsum([0, *(len(face.corners) for face in self._faces)])
        self._next = np.concatenate(
            [np.roll(np.arange(a, b), -1) for a, b in zip(self._starts[:-1], self._starts[1:], strict=True)]
        )
        self._normals = np.array([_normal(face.corners) for face in self._faces])

    def points(self, place: tuple[float, float, float], distance_m: float) -> Points3:
        """All corners in the world, (N, 3) metres: the body's, then four wheels of three outlines each."""
        return to_world(np.concatenate([self._corners, self._wheels(distance_m) * self.vehicle.size]), place)

    def _wheels(self, distance_m: float) -> Points3:
        turned = _WHEEL_TURN - distance_m / (self._radius_m * self.vehicle.size)
        outlines = []
        for x, y in self._axles:
            side = math.copysign(1.0, y)
            for radius, out in ((1.0, -0.16), (1.0, 0.012), (0.62, 0.02)):
                r = self._radius_m * radius
                ring = np.stack(
                    [
                        x + r * np.cos(turned),
                        np.full(WHEEL_CORNERS, y + side * out),
                        self._radius_m + r * np.sin(turned),
                    ],
                    axis=-1,
                )
                outlines.append(ring)
        return np.concatenate(outlines)

    def shapes(self, camera: GroundCamera, points: Points3, heading: float, sun: tuple[float, float]) -> list[Shape]:
        """The figure from back to front; `sun` is the shift in X, Y of a shadow per metre of height."""
        pixels, _ = camera.project(points)
        body = len(self._corners)
        u, v = pixels[:body, 0], pixels[:body, 1]
        area = np.add.reduceat(u * v[self._next] - u[self._next] * v, self._starts[:-1])
        colours = self._shaded(heading, sun)
        rings = pixels[body:].reshape(4, 3, WHEEL_CORNERS, 2)
        shapes = [Shape(ring, TYRE) for ring in rings[:, 0]]
        # Counter-clockwise in the world turns to a negative area on a screen whose v points down.
        seen = np.flatnonzero(area < 0)
        shapes += [Shape(pixels[self._starts[i] : self._starts[i + 1]], colours[i]) for i in seen]
        return self._with_wheels(shapes, rings)

    def _with_wheels(self, shapes: list[Shape], rings: NDArray[np.float64]) -> list[Shape]:
        """The wheels on the visible side, which are painted over the body."""
        for (_, y), (_, tyre, rim) in zip(self._axles, rings, strict=True):
            if math.copysign(1.0, _area(tyre)) == math.copysign(1.0, y):
                spokes = [rim[[i, i + 1, (i + 6) % 12, (i + 7) % 12]] for i in (0, 2, 4)]
                shapes += [Shape(tyre, TYRE), Shape(rim, RIM), *(Shape(spoke, shade(RIM, 0.6)) for spoke in spokes)]
        return shapes

    def _shaded(self, heading: float, sun: tuple[float, float]) -> list[Colour]:
        cos, sin = math.cos(heading), math.sin(heading)
        x, y, z = (
            self._normals[:, 0] * cos - self._normals[:, 1] * sin,
            self._normals[:, 0] * sin + self._normals[:, 1] * cos,
            self._normals[:, 2],
        )
        light = np.array([-sun[0], -sun[1], 1.0]) / math.sqrt(sun[0] ** 2 + sun[1] ** 2 + 1)
        bright = 0.62 + 0.16 * z + 0.42 * np.maximum(0.0, x * light[0] + y * light[1] + z * light[2])
        return [
            face.colour if face.shines else mix(shade(face.colour, float(lit)), SKY, face.glossy * max(0.0, float(up)))
            for face, lit, up in zip(self._faces, bright, z, strict=True)
        ]

    def shadow(self, camera: GroundCamera, points: Points3, sun: tuple[float, float]) -> list[NDArray[np.float64]]:
        """Polygons in pixels of the shadow on the ground, including the dark area under the body."""
        fallen = points[: len(self._corners)].copy()
        under = fallen.copy()
        fallen[:, :2] += np.array(sun) * fallen[:, 2:]
        fallen[:, 2] = under[:, 2] = 0.0
        pixels = np.concatenate([camera.project(fallen)[0], camera.project(under)[0]])
        return [convex_hull(pixels)]


def _normal(corners: Points3) -> NDArray[np.float64]:
    """Unit normal of a flat polygon (Newell's method)."""
    after = np.roll(corners, -1, axis=0)
    normal = np.cross(corners, after).sum(axis=0)
    return np.asarray(normal / np.linalg.norm(normal))


def _area(outline: NDArray[np.float64]) -> float:
    """Twice the signed area on the screen; positive if the outline runs clockwise for the viewer."""
    after = np.roll(outline, -1, axis=0)
    return float((outline[:, 0] * after[:, 1] - after[:, 0] * outline[:, 1]).sum())


def convex_hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of the convex hull of (N, 2) points (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, points.tolist()))
    chains: list[list[tuple[float, float]]] = []
    for sweep in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for p in sweep:
            while len(chain) >= 2 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        chains.append(chain[:-1])
    return np.array(chains[0] + chains[1])


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
