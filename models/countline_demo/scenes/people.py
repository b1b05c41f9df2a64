"""People on foot: a skeleton that walks, and clothes on it.

The gait is a pure function of the distance walked: thighs swing as a sine of it, knees bend while a leg swings
forward, arms swing against the legs, and the pelvis hangs at the height that puts the lower foot on the ground. So
feet do not slide and the picture of a looped walk has no jump. Proportions follow Drillis and Contini's segment
lengths as shares of body height.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from countline_demo.scenes.camera import GroundCamera, Points3
from countline_demo.scenes.drawing import Colour, Shape, ellipse, limbs, mix, shade

SKIN: Final[tuple[Colour, ...]] = ((236, 196, 168), (222, 172, 138), (190, 138, 102), (146, 98, 68), (98, 64, 46))
HAIR: Final[tuple[Colour, ...]] = (
    (28, 22, 20),
    (58, 38, 26),
    (96, 64, 38),
    (168, 128, 72),
    (120, 116, 112),
    (70, 34, 22),
)
TOPS: Final[tuple[Colour, ...]] = (
    (176, 44, 44),
    (38, 70, 128),
    (58, 108, 74),
    (222, 218, 206),
    (44, 46, 52),
    (206, 152, 52),
    (108, 74, 122),
    (112, 152, 178),
    (150, 96, 66),
    (92, 98, 88),
    (200, 108, 94),
    (66, 122, 128),
    (232, 196, 86),
    (140, 140, 146),
)
BOTTOMS: Final[tuple[Colour, ...]] = (
    (42, 52, 82),
    (34, 34, 38),
    (112, 104, 88),
    (74, 86, 110),
    (90, 72, 56),
    (160, 150, 128),
    (58, 66, 54),
)
SHOES: Final[tuple[Colour, ...]] = ((26, 24, 24), (72, 48, 34), (224, 222, 218), (150, 46, 44))
BAGS: Final[tuple[Colour, ...]] = ((60, 40, 30), (32, 34, 40), (150, 60, 50), (46, 84, 92), (186, 160, 110))

T = TypeVar("T")
Top = Literal["plain", "stripes", "jacket", "coat"]
Bottom = Literal["trousers", "shorts", "skirt"]
Carried = Literal["nothing", "backpack", "handbag", "case"]

THIGH: Final = 0.245
SHIN: Final = 0.246
ANKLE: Final = 0.039
TRUNK: Final = 0.288
UPPER_ARM: Final = 0.172
FOREARM: Final = 0.157
FOOT: Final = 0.11
HIP_HALF: Final = 0.052
SHOULDER_HALF: Final = 0.104
"""Segment lengths as shares of body height."""
SWING_RAD: Final = 0.44
"""Amplitude of the thigh's swing at the usual pace."""
STRIDE: Final = 0.92
"""Length of a double step as a share of body height; with SWING_RAD and the legs' length feet hardly slide."""


@dataclass(frozen=True)
class Person:
    """The looks of a person."""

    height_m: float
    build: float
    """Girth; 1 is usual."""
    skin: Colour
    hair: Colour
    hair_style: Literal["short", "long", "hat", "bald"]
    top: Top
    top_colour: Colour
    second_colour: Colour
    """Stripes, the shirt under a jacket, or the hat."""
    bottom: Bottom
    bottom_colour: Colour
    shoes: Colour
    carried: Carried
    bag_colour: Colour

    @property
    def stride_m(self) -> float:
        """Distance after which the gait repeats."""
        return STRIDE * self.height_m


def random_person(rng: Generator, *, child: bool = False) -> Person:
    """A random person."""
    tops: tuple[Top, ...] = ("plain", "plain", "stripes", "jacket", "coat")
    bottoms: tuple[Bottom, ...] = ("trousers", "trousers", "trousers", "shorts", "skirt")
    carried: tuple[Carried, ...] = ("nothing", "nothing", "backpack", "handbag", "case")
    return Person(
        height_m=float(rng.uniform(1.05, 1.35) if child else min(1.95, max(1.52, rng.normal(1.72, 0.08)))),
        build=float(rng.uniform(0.9, 1.25)),
        skin=_tone(rng, pick(rng, SKIN)),
        hair=_tone(rng, pick(rng, HAIR)),
        hair_style=pick(rng, ("short", "short", "long", "long", "hat", "bald")),
        top=pick(rng, tops),
        top_colour=_tone(rng, pick(rng, TOPS)),
        second_colour=_tone(rng, pick(rng, TOPS)),
        bottom=pick(rng, bottoms),
        bottom_colour=_tone(rng, pick(rng, BOTTOMS)),
        shoes=pick(rng, SHOES),
        carried=pick(rng, carried),
        bag_colour=_tone(rng, pick(rng, BAGS)),
    )


def pick(rng: Generator, choices: tuple[T, ...]) -> T:
    """A random one of some values."""
    return choices[int(rng.integers(len(choices)))]


def _tone(rng: Generator, colour: Colour) -> Colour:
    return shade(colour, float(rng.uniform(0.8, 1.18)))


@dataclass(frozen=True, slots=True)
class Joints:
    """Places of the joints in metres: forward and up in the walker's side view, (2,) [left, right] each."""

    hip_z: float
    knee: NDArray[np.float64]
    """(2, 2): side, (forward, up)."""
    ankle: NDArray[np.float64]
    toe: NDArray[np.float64]
    elbow: NDArray[np.float64]
    wrist: NDArray[np.float64]
    lean_m: float
    """Distance of the shoulders ahead of the hips."""


def gait(person: Person, distance_m: float, pace: float) -> Joints:
    """The pose after a walked distance.

    Args:
        person: whose legs.
        distance_m: walked so far.
        pace: 0 standing, 1 walking at the usual speed; scales the swing.
    """
    phase = 2 * math.pi * distance_m / person.stride_m
    legs = np.array([phase, phase + math.pi])
    height = person.height_m
    thigh = pace * SWING_RAD * np.sin(legs) + 0.06 * pace
    bend = 0.06 + pace * (0.1 + 0.95 * np.maximum(0.0, np.cos(legs + 0.35)) ** 1.6)
    shin = thigh - bend
    knee = THIGH * height * _swung(thigh)
    ankle = knee + SHIN * height * _swung(shin)
    point = 0.25 * pace * np.sin(legs) - 0.35 * pace * np.maximum(0.0, np.cos(legs + 0.9))
    toe = ankle + FOOT * height * np.stack([np.cos(point), np.sin(point) - 0.18], axis=-1)
    lowest = float(np.minimum(ankle[:, 1] - ANKLE * height, toe[:, 1] - 0.012 * height).min())
    arm = -pace * 0.85 * SWING_RAD * np.sin(legs) + 0.05
    elbow = UPPER_ARM * height * _swung(arm)
    wrist = elbow + FOREARM * height * _swung(arm + 0.22 + 0.3 * pace)
    return Joints(-lowest, knee, ankle, toe, elbow, wrist, lean_m=height * (0.005 + 0.02 * pace))


def _swung(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (N, 2) that hang down and are swung forward by an angle (N,)."""
    return np.stack([np.sin(angle), -np.cos(angle)], axis=-1)


# Points of the body, in the order of `skeleton`.
HIP_L, HIP_R, KNEE_L, KNEE_R, ANKLE_L, ANKLE_R, HEEL_L, HEEL_R, TOE_L, TOE_R = range(10)
SHOULDER_L, SHOULDER_R, ELBOW_L, ELBOW_R, WRIST_L, WRIST_R, HAND_L, HAND_R, NECK, HEAD, CHEST, BACK = range(10, 22)
POINTS: Final = 22


def skeleton(person: Person, place: tuple[float, float, float], distance_m: float, pace: float) -> Points3:
    """All points of the body in the world, (POINTS, 3) metres.

    Args:
        person: who.
        place: X, Y in metres and heading in radians.
        distance_m: walked so far.
        pace: see `gait`.
    """
    pose, height = gait(person, distance_m, pace), person.height_m
    shoulder_z = pose.hip_z + TRUNK * height
    body = np.zeros((POINTS, 3))  # forward, left, up
    side = np.array([1.0, -1.0])
    body[HIP_L : HIP_R + 1] = _beside(np.zeros((2, 2)), side * HIP_HALF * height, pose.hip_z)
    body[KNEE_L : KNEE_R + 1] = _beside(pose.knee, side * HIP_HALF * 0.95 * height, pose.hip_z)
    body[ANKLE_L : ANKLE_R + 1] = _beside(pose.ankle, side * HIP_HALF * 0.85 * height, pose.hip_z)
    body[TOE_L : TOE_R + 1] = _beside(pose.toe, side * HIP_HALF * 1.1 * height, pose.hip_z)
    body[HEEL_L : HEEL_R + 1] = body[ANKLE_L : ANKLE_R + 1] + np.array([-0.014, 0, -0.021]) * height
    shoulders = np.array([[pose.lean_m, 0.0], [pose.lean_m, 0.0]])
    body[SHOULDER_L : SHOULDER_R + 1] = _beside(shoulders, side * SHOULDER_HALF * height, shoulder_z)
    arms = side * (SHOULDER_HALF + 0.022) * height * person.build**0.5
    body[ELBOW_L : ELBOW_R + 1] = _beside(pose.elbow + shoulders, arms, shoulder_z)
    body[WRIST_L : WRIST_R + 1] = _beside(pose.wrist + shoulders, arms * 0.98, shoulder_z)
    reach = body[WRIST_L : WRIST_R + 1] - body[ELBOW_L : ELBOW_R + 1]
    body[HAND_L : HAND_R + 1] = body[WRIST_L : WRIST_R + 1] + reach * 0.28
    body[NECK] = pose.lean_m, 0, shoulder_z + 0.035 * height
    body[HEAD] = pose.lean_m * 1.4 + 0.008 * height, 0, shoulder_z + 0.118 * height
    body[CHEST] = pose.lean_m + 0.02 * height, 0, shoulder_z - 0.1 * height
    body[BACK] = pose.lean_m - 0.085 * height, 0, shoulder_z - 0.085 * height
    return to_world(body, place)


def _beside(forward_up: NDArray[np.float64], left: NDArray[np.float64], above: float) -> Points3:
    return np.stack([forward_up[:, 0], left, forward_up[:, 1] + above], axis=-1)


def to_world(body: Points3, place: tuple[float, float, float]) -> Points3:
    """World points in metres from points (N, 3) forward, left and up of a place (X, Y, heading)."""
    x, y, heading = place
    cos, sin = math.cos(heading), math.sin(heading)
    return np.stack(
        [x + body[:, 0] * cos - body[:, 1] * sin, y + body[:, 0] * sin + body[:, 1] * cos, body[:, 2]], axis=-1
    )


@dataclass(frozen=True, slots=True)
class Limb:
    """A tapered piece of the body between two points."""

    start: int
    end: int
    radii: tuple[float, float]
    """Shares of body height."""
    colour: Colour
    nearer: float = 0.0
    """Metres that it is drawn in front of its own depth."""
    round: float = 1.0
    """How much lighter its bright side is; 0 is flat."""


def wardrobe(person: Person) -> list[Limb]:
    """The limbs of a clothed body; they depend on the looks only, so they are made once."""
    return [*_legs(person), *_trunk(person), *_arms(person), *_bags(person)]


def _legs(person: Person) -> list[Limb]:
    girth, trousers = person.build**0.5, person.bottom_colour
    thigh = trousers if person.bottom != "skirt" else person.skin
    shin = trousers if person.bottom == "trousers" else person.skin
    loose = 1.12 if person.bottom == "trousers" else 0.9
    found = []
    for hip, knee, ankle, heel, toe in (
        (HIP_L, KNEE_L, ANKLE_L, HEEL_L, TOE_L),
        (HIP_R, KNEE_R, ANKLE_R, HEEL_R, TOE_R),
    ):
        found += [
            Limb(heel, toe, (0.022, 0.016), person.shoes),
            Limb(knee, ankle, (0.033 * girth * loose, 0.023 * loose), shin),
            Limb(hip, knee, (0.052 * girth, 0.036 * girth), thigh, nearer=0.01),
        ]
    return found


def _trunk(person: Person) -> list[Limb]:
    girth, top = person.build, person.top_colour
    return [
        Limb(HIP_L, HIP_R, (0.056 * girth, 0.056 * girth), person.bottom_colour, nearer=0.02, round=0.4),
        Limb(HIP_L, SHOULDER_L, (0.052 * girth, 0.042), top, nearer=0.03, round=0.7),
        Limb(HIP_R, SHOULDER_R, (0.052 * girth, 0.042), top, nearer=0.03, round=0.7),
        Limb(NECK, CHEST, (0.05, 0.066 * girth), top, nearer=0.031, round=0.0),
        Limb(CHEST, NECK, (0.03, 0.031), person.skin, nearer=-0.02),
    ]


def _arms(person: Person) -> list[Limb]:
    sleeve = person.skin if person.bottom == "shorts" and person.top != "coat" else shade(person.top_colour, 0.94)
    found = []
    for shoulder, elbow, wrist, hand in (
        (SHOULDER_L, ELBOW_L, WRIST_L, HAND_L),
        (SHOULDER_R, ELBOW_R, WRIST_R, HAND_R),
    ):
        found += [
            Limb(wrist, hand, (0.017, 0.016), person.skin),
            Limb(elbow, wrist, (0.027, 0.02), sleeve),
            Limb(shoulder, elbow, (0.036, 0.029), shade(person.top_colour, 0.94), nearer=0.02),
        ]
    return found


def _bags(person: Person) -> list[Limb]:
    if person.carried == "backpack":
        return [Limb(BACK, CHEST, (0.075, 0.03), person.bag_colour, nearer=-0.05)]
    if person.carried == "handbag":
        return [Limb(HAND_R, ANKLE_R, (0.0, 0.0), person.bag_colour)]
    return []


class Walker:
    """A person that can be drawn at any place."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self._limbs = [limb for limb in wardrobe(person) if max(limb.radii) > 0]
        self._ends = np.array([(limb.start, limb.end) for limb in self._limbs])
        self._radii = np.array([limb.radii for limb in self._limbs]) * person.height_m
        self._nearer = np.array([limb.nearer for limb in self._limbs])
        self._tones = [
            (shade(limb.colour, 0.92 - 0.12 * limb.round), shade(limb.colour, 0.92 + 0.16 * limb.round))
            for limb in self._limbs
        ]

    def points(self, place: tuple[float, float, float], distance_m: float, pace: float) -> Points3:
        return skeleton(self.person, place, distance_m, pace)

    def shapes(self, camera: GroundCamera, points: Points3, heading: float, light_from_left: float) -> list[Shape]:
        """The figure from back to front.

        Args:
            camera: who looks.
            points: as `points` gave them.
            heading: in radians.
            light_from_left: -1 to 1, where the bright side of every limb is.
        """
        pixels, scale = camera.project(points)
        depth = camera.depth_m(points)
        outline, bright = self._outlines(pixels, scale, light_from_left)
        nearness = -depth[self._ends].mean(axis=1) + self._nearer
        layers = [
            (float(nearness[i]), [Shape(outline[i], dark), Shape(bright[i], light)])
            for i, (dark, light) in enumerate(self._tones)
        ]
        layers += self._extras(pixels, scale, depth, heading, points)
        layers.sort(key=lambda layer: layer[0])
        return [shape for _, shapes in layers for shape in shapes]

    def _outlines(
        self, pixels: NDArray[np.float64], scale: NDArray[np.float64], light_from_left: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Limbs in their dark tone, and within each the part that the light falls on."""
        ends = pixels[self._ends]
        radii = self._radii * scale[self._ends]
        lit = ends.copy()
        lit[:, :, 0] -= 0.3 * light_from_left * radii
        lit[:, :, 1] -= 0.12 * radii
        return limbs(ends, radii), limbs(lit, radii * 0.66)

    def shadow(self, camera: GroundCamera, points: Points3, sun: tuple[float, float]) -> list[NDArray[np.float64]]:
        """Polygons in pixels of the shadow; `sun` is the shift in X, Y of a shadow per metre of height."""
        fallen = points.copy()
        fallen[:, 0] += sun[0] * points[:, 2]
        fallen[:, 1] += sun[1] * points[:, 2]
        fallen[:, 2] = 0.0
        pixels, scale = camera.project(fallen)
        outline = limbs(pixels[self._ends], self._radii * scale[self._ends] * 0.9)
        size = 0.068 * self.person.height_m * float(scale[HEAD])
        return [*outline, ellipse((float(pixels[HEAD, 0]), float(pixels[HEAD, 1])), (size, size * 0.8), corners=8)]

    def _extras(
        self,
        pixels: NDArray[np.float64],
        scale: NDArray[np.float64],
        depth: NDArray[np.float64],
        heading: float,
        points: Points3,
    ) -> list[tuple[float, list[Shape]]]:
        metre = float(scale[HEAD]) * self.person.height_m
        found = [(-float(depth[HEAD]) + 0.06, self._head(pixels[HEAD], metre, heading, points))]
        trunk = -float(depth[[HIP_L, HIP_R, SHOULDER_L, SHOULDER_R]].mean()) + 0.035
        found.append((trunk, self._clothes(pixels, metre, heading)))
        if self.person.bottom == "skirt" or self.person.top == "coat":
            found.append((trunk - 0.004, self._skirt(pixels, metre)))
        if self.person.carried in {"handbag", "case"}:
            found.append((-float(depth[HAND_R]) + 0.01, self._bag(pixels[HAND_R], metre)))
        return found

    def _head(self, centre: NDArray[np.float64], metre: float, heading: float, points: Points3) -> list[Shape]:
        """Skull with hair, and the face if it is visible."""
        person = self.person
        u, v = float(centre[0]), float(centre[1])
        width, height = 0.047 * metre, 0.066 * metre
        sight = math.atan2(points[HEAD, 1], points[HEAD, 0])  # from the camera to the head, seen from above
        sideways, towards = math.sin(sight - heading), -math.cos(sight - heading)
        hair = person.skin if person.hair_style == "bald" else person.hair
        shapes = [Shape(ellipse((u, v), (width * 1.08, height)), shade(hair, 0.9))]
        if person.hair_style == "long":
            tail = np.array([[[u - sideways * width * 0.45, v], [u - sideways * width * 0.7, v + height * 1.35]]])
            strand = Shape(limbs(tail, np.array([[width * 0.98, width * 0.7]]))[0], shade(hair, 0.82))
            shapes = [strand, *shapes] if towards > 0 else [*shapes, strand]
        if towards > -0.55:
            look = max(0.25, min(1.0, 0.55 + towards))
            face = (u + sideways * width * 0.42, v + height * (0.14 if person.hair_style != "bald" else 0.0))
            shapes.append(Shape(ellipse(face, (width * (0.45 + 0.45 * look), height * 0.8)), person.skin))
            fringe = ellipse((u - sideways * width * 0.1, v - height * 0.52), (width * 1.0, height * 0.5))
            shapes.append(Shape(fringe, hair))
        if person.hair_style == "hat":
            shapes += self._hat(u + sideways * width * 0.2, v, width, height)
        return shapes

    def _hat(self, u: float, v: float, width: float, height: float) -> list[Shape]:
        colour = self.person.second_colour
        return [
            Shape(ellipse((u, v - height * 0.32), (width * 1.5, height * 0.22)), shade(colour, 0.75)),
            Shape(ellipse((u, v - height * 0.62), (width * 1.02, height * 0.5)), colour),
        ]

    def _clothes(self, pixels: NDArray[np.float64], metre: float, heading: float) -> list[Shape]:
        """The trunk between its two sides, and its pattern."""
        person = self.person
        corners = pixels[[SHOULDER_L, SHOULDER_R, HIP_R, HIP_L]]
        shapes = [Shape(corners, shade(person.top_colour, 0.92))]
        if person.top == "stripes":
            shapes += [self._band(corners, share, metre) for share in (0.1, 0.34, 0.58, 0.82)]
        elif person.top in {"jacket", "coat"}:
            facing_camera = -math.sin(heading)
            if facing_camera > 0.2:
                shapes.append(self._opening(corners, metre))
        return shapes

    def _band(self, corners: NDArray[np.float64], share: float, metre: float) -> Shape:
        """A stripe around the trunk at a share of the way from the shoulders down."""
        row = corners[:2] + (corners[[3, 2]] - corners[:2]) * share
        half, high = 0.033 * metre, 0.036 * metre
        left, right, v = row[:, 0].min() - half, row[:, 0].max() + half, row[:, 1].mean()
        return Shape(np.array([[left, v], [right, v], [right, v + high], [left, v + high]]), self.person.second_colour)

    def _opening(self, corners: NDArray[np.float64], metre: float) -> Shape:
        top, bottom = corners[:2].mean(axis=0), corners[2:].mean(axis=0)
        half = np.array([0.028 * metre, 0.0])
        return Shape(np.stack([top - half, top + half, bottom]), self.person.second_colour)

    def _skirt(self, pixels: NDArray[np.float64], metre: float) -> list[Shape]:
        """A skirt, or the tails of a coat, from the waist to the knees: the hull of both thighs."""
        colour = self.person.bottom_colour if self.person.bottom == "skirt" else self.person.top_colour
        hips, knees = pixels[[HIP_L, HIP_R]], pixels[[KNEE_L, KNEE_R]]
        waist, hem = 0.058 * metre * self.person.build, 0.05 * metre
        left_waist, right_waist = hips[:, 0].min() - waist, hips[:, 0].max() + waist
        left_hem, right_hem = knees[:, 0].min() - hem, knees[:, 0].max() + hem
        top, bottom = hips[:, 1].mean() - 0.03 * metre, knees[:, 1].mean() + 0.01 * metre
        outline = np.array([[left_waist, top], [right_waist, top], [right_hem, bottom], [left_hem, bottom]])
        fold = np.array(
            [
                [left_waist, top],
                [(left_waist + right_waist) / 2, top],
                [(left_hem + right_hem) / 2, bottom],
                [left_hem, bottom],
            ]
        )
        return [Shape(outline, shade(colour, 0.86)), Shape(fold, shade(colour, 1.04))]

    def _bag(self, hand: NDArray[np.float64], metre: float) -> list[Shape]:
        u, v = float(hand[0]), float(hand[1])
        half, drop = (0.06 * metre, 0.14 * metre) if self.person.carried == "case" else (0.045 * metre, 0.1 * metre)
        colour = self.person.bag_colour
        body = np.array(
            [
                [u - half, v + drop * 0.25],
                [u + half, v + drop * 0.25],
                [u + half * 1.1, v + drop],
                [u - half * 1.1, v + drop],
            ]
        )
        lid = np.array(
            [
                [u - half, v + drop * 0.25],
                [u + half, v + drop * 0.25],
                [u + half, v + drop * 0.5],
                [u - half, v + drop * 0.5],
            ]
        )
        handle = np.array([[u, v], [u + half * 0.6, v + drop * 0.3], [u - half * 0.6, v + drop * 0.3]])
        return [
            Shape(handle, shade(colour, 0.6)),
            Shape(body, shade(colour, 0.9)),
            Shape(lid, mix(colour, (255, 255, 255), 0.12)),
        ]
