"""True crossings: which object crosses which line, when, and in which direction.

They are computed from the route on the ground, not from pictures. The anchor (bottom-centre of the box, as in the
product) of a figure's envelope is followed through time, and its crossings of the line's segments are found on that
curve. The envelope of a vehicle is its body with wheels. The envelope of a person is a block of the length that the
feet reach in a mean step, so the anchor moves smoothly, while that of the drawn box swings a few pixels with every
step. `in` is to the right-hand side of a person who stands at A and looks to B on the screen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from countline_demo.scenes.camera import Points3
from countline_demo.scenes.people import Person, to_world
from countline_demo.scenes.scene import Actor, Scene
from countline_demo.scenes.vehicles import Driver

STEP_S: Final = 0.05
"""Sampling of the anchor's curve, which is nearly straight between samples."""
FEET_REACH: Final = 0.17
"""Mean reach of the feet ahead of and behind the middle during a step, as a share of body height."""
BODY_HALF: Final = 0.13
"""Half of a body's width, as a share of its height."""


@dataclass(frozen=True)
class TrueLine:
    """A count line of a demo camera."""

    id: str
    points: tuple[tuple[float, float], ...]
    """Normalised 0..1, origin top-left; two or more."""


@dataclass(frozen=True, slots=True)
class TrueCrossing:
    """One object crossing one line once."""

    line: str
    t: float
    """Seconds since the start of the period."""
    direction: Literal["in", "out"]
    class_id: int
    object: int


def anchor_curve(scene: Scene, actor: Actor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds since the actor's start (N,), and its anchors (N, 2) in pixels; NaN outside the picture."""
    times = np.append(np.arange(0.0, actor.journey.duration_s, STEP_S), actor.journey.duration_s)
    distances = actor.journey.distance_m(times)
    anchors = np.empty((len(times), 2))
    envelope = _person_envelope(actor.look) if isinstance(actor.look, Person) else Driver(actor.look).points
    for row, distance in enumerate(distances.tolist()):
        pixels, _ = scene.camera.project(envelope(actor.journey.path.place(distance), distance))
        anchors[row] = _anchor(pixels, scene.camera.size_wh)
    return times, anchors


def _person_envelope(person: Person) -> Callable[[tuple[float, float, float], float], Points3]:
    """The corners (8, 3) in the world of a block around a person at a place."""
    ahead, aside, tall = FEET_REACH * person.height_m, BODY_HALF * person.height_m, person.height_m
    block = np.array([(x * ahead, y * aside, z) for x in (-1, 1) for y in (-1, 1) for z in (0.0, tall)])
    return lambda place, _distance: to_world(block, place)


def _anchor(pixels: NDArray[np.float64], size_wh: tuple[int, int]) -> tuple[float, float]:
    """Bottom-centre of the box around pixels (N, 2), cut off at the picture's border like every box."""
    x1, y1 = np.maximum(pixels.min(axis=0), 0.0)
    x2, y2 = np.minimum(pixels.max(axis=0), size_wh)
    return (float(x1 + x2) / 2, float(y2)) if x1 < x2 and y1 < y2 else (np.nan, np.nan)


def true_crossings(scene: Scene, lines: tuple[TrueLine, ...]) -> tuple[TrueCrossing, ...]:
    """All crossings of one period, in order of time."""
    size = np.array(scene.camera.size_wh, dtype=np.float64)
    found = []
    for actor in scene.actors:
        times, anchors = anchor_curve(scene, actor)
        for line in lines:
            for elapsed, inwards in crossings_of(times, anchors, np.array(line.points) * size):
                t = (actor.journey.start_s + elapsed) % scene.period_s
                found.append(TrueCrossing(line.id, t, "in" if inwards else "out", actor.class_id, actor.id))
    return tuple(sorted(found, key=lambda crossing: (crossing.t, crossing.line, crossing.object)))


def crossings_of(
    times: NDArray[np.float64], curve: NDArray[np.float64], line: NDArray[np.float64]
) -> list[tuple[float, bool]]:
    """Times at which a curve (N, 2) crosses a poly-line (M, 2), and whether to its right-hand side.

    A point on the line belongs to the right-hand side, so a curve that touches the line and turns back does not cross.
    NaN interrupts the curve.
    """
    found = []
    for a, b in pairwise(line):
        along = b - a
        side = along[0] * (curve[:, 1] - a[1]) - along[1] * (curve[:, 0] - a[0])
        right, known = side >= 0, ~np.isnan(side)
        for i in np.flatnonzero((right[1:] != right[:-1]) & known[1:] & known[:-1]).tolist():
            share = side[i] / (side[i] - side[i + 1])
            met = curve[i] + (curve[i + 1] - curve[i]) * share
            place = float((met - a) @ along / (along @ along))
            if 0 <= place < 1:
                found.append((float(times[i] + (times[i + 1] - times[i]) * share), bool(right[i + 1])))
    return sorted(found, key=lambda crossing: crossing[0])
