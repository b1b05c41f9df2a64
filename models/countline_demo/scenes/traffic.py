"""Random traffic on the ways of a place, without collisions.

Training and test pictures use it; the demo cameras have a time-table written by hand (`clips`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from countline_demo.scenes.camera import GroundCamera
from countline_demo.scenes.people import Person, random_person
from countline_demo.scenes.places import PLACES, Layout, Spot, Way
from countline_demo.scenes.routes import GroundRoute, Journey, Stop
from countline_demo.scenes.scene import Actor, Light, Scene
from countline_demo.scenes.vehicles import Vehicle, random_vehicle

WATCH_S: Final = 0.2
"""Time between two checks of the distance between actors."""
PERSON_RADIUS_M: Final = 0.3
APART_M: Final = 0.75
"""Distance between people who walk side by side; they also walk staggered by up to half a step."""
TRIES: Final = 12
FPS: Final = Fraction(10)
FRAMES: Final = 320


@dataclass(frozen=True)
class Crowd:
    """The amount of traffic."""

    people: int
    """Journeys on foot per period."""
    vehicles: int
    children: float = 0.1
    """Share of children among the people."""
    together: tuple[int, ...] = (1, 1, 1, 2, 2, 3)
    """Numbers of people who walk together; each entry is equally likely."""


def random_scene(name: str, seed: int, crowd: Crowd | None = None) -> Scene:
    """The place called `name` with random light and traffic, all from the seed."""
    rng = np.random.default_rng([seed, sorted(PLACES).index(name)])
    layout = PLACES[name](rng)
    light = random_light(rng)
    crowd = crowd or Crowd(int(rng.integers(8, 40)), int(rng.integers(4, 14)))
    actors = tuple(populate(rng, layout, crowd, float(FRAMES / FPS)))
    return Scene(
        f"{name}-{seed}", layout.camera, layout.place, actors, light, FPS, FRAMES, float(rng.uniform(1.0, 4.5)), seed
    )


def random_light(rng: Generator) -> Light:
    """Random daylight: clear, hazy, overcast or dusk."""
    bearing, length = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 1.5)
    bright, warm = rng.uniform(0.6, 1.15), rng.uniform(-0.08, 0.08)
    return Light(
        sun=(float(length * math.cos(bearing)), float(length * math.sin(bearing))),
        tint=(float(bright * (1 + warm)), float(bright), float(bright * (1 - warm))),
        drift=float(rng.uniform(0.02, 0.12)),
        clouds=float(rng.uniform(0, 0.5)),
        shadow=float(rng.choice([0.25, 0.7, 1.0])),
    )


def populate(rng: Generator, layout: Layout, crowd: Crowd, period_s: float) -> Iterator[Actor]:
    """Yield actors whose journeys do not collide. If there is no room, there are fewer than requested."""
    taken: list[NDArray[np.float64]] = []
    number = 0
    for vehicles, count in ((True, crowd.vehicles), (False, crowd.people)):
        ways = [way for way in layout.ways if way.vehicles is vehicles]
        asked = 0
        while ways and asked < count:
            group = _group(rng, layout.camera, ways, period_s, taken, crowd)
            asked += max(1, len(group))
            for look, journey in group:
                number += 1
                yield Actor(number, look, journey)


def _group(
    rng: Generator,
    camera: GroundCamera,
    ways: list[Way],
    period_s: float,
    taken: list[NDArray[np.float64]],
    crowd: Crowd,
) -> list[tuple[Person | Vehicle, Journey]]:
    """Return a vehicle or a group of people at a time when their way is free. Empty if there is no such time."""
    way = ways[int(rng.integers(len(ways)))]
    size = 1 if way.vehicles else int(rng.choice(crowd.together))
    looks = [
        random_vehicle(rng) if way.vehicles else random_person(rng, child=bool(rng.random() < crowd.children))
        for _ in range(size)
    ]
    offset = float(rng.uniform(-1, 1)) * way.half_width_m
    back = way.two_way and bool(rng.random() < 0.5)
    speed = float(rng.uniform(5, 10) if way.vehicles else rng.uniform(1.0, 1.65))
    paths = [
        trimmed(camera, shifted(way.waypoints, offset + place * APART_M, back=back), look)
        for place, look in enumerate(looks)
    ]
    for _ in range(TRIES):
        start, stop = float(rng.uniform(0, period_s)), bool(size == 1 and rng.random() < 0.15)
        group = [
            (look, _journey(rng, path, start + place * float(rng.uniform(0.1, 0.6)) / speed, speed, stop=stop))
            for place, (look, path) in enumerate(zip(looks, paths, strict=True))
            if path is not None
        ]
        spots = [_occupied(look, journey, period_s) for look, journey in group]
        in_time = all(journey.duration_s < period_s for _, journey in group)
        if in_time and not any(_collide(a, b) for a in spots for b in taken):
            taken += spots
            return group
    return []


def _journey(rng: Generator, path: GroundRoute, start_s: float, speed_ms: float, *, stop: bool) -> Journey:
    if not stop:
        return Journey(path, start_s, speed_ms)
    return Journey(
        path, start_s, speed_ms, (Stop(path.length_m * float(rng.uniform(0.3, 0.7)), float(rng.uniform(1, 5))),)
    )


def shifted(waypoints: tuple[Spot, ...], offset_m: float, *, back: bool = False) -> tuple[Spot, ...]:
    """Way-points moved to the left of their direction, and reversed on request."""
    points = np.array(waypoints, dtype=np.float64)
    along = np.gradient(points, axis=0)
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    moved = points + offset_m * np.stack([-along[:, 1], along[:, 0]], axis=-1)
    return tuple((float(x), float(y)) for x, y in (moved[::-1] if back else moved))


def trimmed(camera: GroundCamera, waypoints: tuple[Spot, ...], look: Person | Vehicle) -> GroundRoute | None:
    """The part of a way on which a figure is visible, and a little more; None if it never is."""
    path = GroundRoute(waypoints)
    distances = np.arange(0.0, path.length_m, 0.5)
    places = path.at(distances)
    radius = 0.6 if isinstance(look, Person) else look.length_m / 2 + 0.3
    height = 2.0 if isinstance(look, Person) else 3.1
    seen = np.flatnonzero(_in_view(camera, places, radius, height))
    if len(seen) == 0:
        return None
    first, last = max(seen[0] - 1, 0), min(seen[-1] + 1, len(distances) - 1)
    keep = np.linspace(distances[first], distances[last], max(4, int((distances[last] - distances[first]) / 1.2)))
    return GroundRoute(tuple((float(x), float(y)) for x, y in path.at(keep)))


def _in_view(camera: GroundCamera, places: NDArray[np.float64], radius: float, height: float) -> NDArray[np.bool_]:
    """Whether a cylinder of that size at each place (N, 2) can touch the picture."""
    rim = ((-radius, 0.0), (radius, 0.0), (0.0, -radius), (0.0, radius))
    columns = [np.column_stack([places + np.array(at), np.full(len(places), up)]) for up in (0.0, height) for at in rim]
    in_front = camera.depth_m(np.column_stack([places, np.full(len(places), height)])) > 1.0
    pixels = np.stack([camera.project(column)[0] for column in columns])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    width, tall = camera.size_wh
    return np.asarray(in_front & (high[:, 0] > 0) & (low[:, 0] < width) & (high[:, 1] > 0) & (low[:, 1] < tall))


def _occupied(look: Person | Vehicle, journey: Journey, period_s: float) -> NDArray[np.float64]:
    """Places of an actor over a period, (times, discs, X Y radius); NaN while it is absent."""
    times = np.arange(0.0, period_s, WATCH_S)
    elapsed = (times - journey.start_s) % period_s
    places = journey.path.at(journey.distance_m(elapsed))
    if isinstance(look, Person):
        discs = np.column_stack([places, np.full(len(times), PERSON_RADIUS_M)])[:, None]
    else:
        ahead = journey.path.at(journey.distance_m(elapsed) + 0.3) - places
        ahead /= np.maximum(np.hypot(ahead[:, 0], ahead[:, 1])[:, None], 1e-6)
        steps = np.array([-0.5, -0.17, 0.17, 0.5]) * look.length_m
        centres = places[:, None] + ahead[:, None] * steps[None, :, None]
        discs = np.concatenate([centres, np.full((len(times), 4, 1), 1.25)], axis=2)
    discs[elapsed >= journey.duration_s] = np.nan
    return np.asarray(discs)


def _collide(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    gap = a[:, :, None] - b[:, None, :]
    reach = a[:, :, None, 2] + b[:, None, :, 2]
    return bool(np.any(np.hypot(gap[..., 0], gap[..., 1]) < reach))  # NaN compares false
