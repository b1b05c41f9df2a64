"""The demo cameras: four places with a time-table written by hand, so that their counts are known.

Every actor crosses the lines clearly: routes go on for metres on both sides, no actor stays on a line, and people who
walk together walk staggered. Raise `VERSION` with every change that alters a picture or a crossing; clips of another
version are rendered again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from countline_demo.scenes.backdrop import Patch, Prop, ScenePlace
from countline_demo.scenes.camera import GroundCamera
from countline_demo.scenes.people import Person, random_person
from countline_demo.scenes.places import EVERYWHERE, PAINT, SIZE_WH, Road, Spot, row_of_houses, shop_front
from countline_demo.scenes.routes import GroundRoute, Journey, Stop
from countline_demo.scenes.scene import Actor, Light, Scene
from countline_demo.scenes.textures import Texture
from countline_demo.scenes.traffic import shifted, trimmed
from countline_demo.scenes.truth import TrueLine
from countline_demo.scenes.vehicles import Kind, Vehicle, random_vehicle

VERSION: Final = 4
FPS: Final = Fraction(10)
TIME_ZONE: Final = "Europe/Zurich"


@dataclass(frozen=True)
class TrueZone:
    """A zone of a demo camera."""

    id: str
    polygon: tuple[Spot, ...]
    """Normalised 0..1, origin top-left."""


@dataclass(frozen=True)
class DemoClip:
    """The clip of a demo camera."""

    name: str
    title: str
    scene: Scene
    lines: tuple[TrueLine, ...]
    zones: tuple[TrueZone, ...]


class _Cast:
    """Collects the actors of a clip. The caller gives times and ways; a seed decides how actors look."""

    def __init__(self, camera: GroundCamera, seed: int) -> None:
        self._camera = camera
        self._rng = np.random.default_rng(seed)
        self.actors: list[Actor] = []

    def walk(
        self,
        start_s: float,
        ways: tuple[Spot, ...],
        *,
        speed: float = 1.35,
        stop: Stop | None = None,
        child: bool = False,
    ) -> None:
        """Add a person who walks along way-points, which are cut off outside the picture."""
        self._add(random_person(self._rng, child=child), start_s, ways, speed, stop)

    def walk_together(self, start_s: float, ways: tuple[Spot, ...], *, speed: float = 1.25, gap: float = 0.85) -> None:
        """Add two people who walk side by side, the second a step behind."""
        self.walk(start_s, ways, speed=speed)
        self.walk(start_s + 0.9 / speed, shifted(ways, gap), speed=speed)

    def drive(
        self, start_s: float, ways: tuple[Spot, ...], kind: Kind, *, speed: float = 7.0, stop: Stop | None = None
    ) -> None:
        """Add a vehicle that drives along way-points."""
        self._add(random_vehicle(self._rng, (kind,)), start_s, ways, speed, stop)

    def _add(
        self, look: Person | Vehicle, start_s: float, ways: tuple[Spot, ...], speed: float, stop: Stop | None
    ) -> None:
        path = trimmed(self._camera, ways, look)
        assert path is not None, ways
        if stop is not None:  # given on the whole way; the part before the picture is cut off
            lost = _distance_to(GroundRoute(ways), path.waypoints[0])
            stop = Stop(stop.at_m - lost, stop.lasts_s, stop.ease_s)
        self.actors.append(Actor(len(self.actors) + 1, look, Journey(path, start_s, speed, (stop,) if stop else ())))


def _distance_to(path: GroundRoute, spot: Spot) -> float:
    """Distance along a route at which it comes nearest to a spot."""
    along = np.arange(0.0, path.length_m, 0.05)
    places = path.at(along)
    return float(along[np.argmin(np.hypot(places[:, 0] - spot[0], places[:, 1] - spot[1]))])


def _on_screen(camera: GroundCamera, *spots: Spot) -> tuple[Spot, ...]:
    """Places on the ground in normalised picture coordinates, to a thousandth, clamped to the picture."""
    pixels, _ = camera.project(np.array([(x, y, 0.0) for x, y in spots]))
    shares = np.clip(pixels / np.array(SIZE_WH), 0.0, 1.0)
    return tuple((round(float(x), 3), round(float(y), 3)) for x, y in shares)


def _scene(name: str, camera: GroundCamera, place: ScenePlace, cast: _Cast, light: Light, seconds: int) -> Scene:
    return Scene(name, camera, place, tuple(cast.actors), light, FPS, int(seconds * FPS), noise=1.8, seed=len(name))


def plaza() -> DemoClip:
    """A square with trees; people cross it from side to side."""
    camera = GroundCamera(SIZE_WH, height_m=5.6, pitch_deg=23.5, horizontal_view_deg=62)
    stone, pale, grey = (176, 166, 150), (196, 188, 172), (140, 136, 132)
    patches = (
        Patch((0, 13.4), (EVERYWHERE, 0.7), Texture("paving", grey, (96, 92, 90), (0.5, 0.35), 11), -7),
        Patch((-0.6, 11.2), (2.6, 2.6), Texture("paving", pale, (140, 132, 120), (0.45, 0.45), 12), 42),
        Patch((10.5, 22), (5.2, 3.4), Texture("grass", (78, 108, 54), seed=13), 8),
        Patch((-12, 23), (5.2, 3.0), Texture("grass", (78, 108, 54), seed=14), -10),
    )
    props = (
        Prop("tree", (6.9, 17.6), 1.15, (70, 104, 52), 3),
        Prop("tree", (-8.2, 18.6), 1.25, (78, 110, 54), 4),
        Prop("tree", (1.6, 22.5), 1.1, (62, 98, 56), 5),
        Prop("planter", (-4.6, 15.4), 1.1, (128, 112, 98), 6),
        Prop("planter", (3.9, 9.3), 1.0, (104, 100, 100), 7),
        Prop("bench", (-3.9, 18.8), 1.0, (0, 0, 0), 8),
        Prop("lamp", (-5.4, 10.3), 1.0, (52, 54, 58), 9),
        Prop("kiosk", (9.4, 20.5), 1.05, (70, 104, 120), 10),
    )
    walls = tuple(row_of_houses(np.random.default_rng(21), Road((0.0, 0.0), 0.0).at, 27.5, 42.0))
    sky = ((118, 160, 208), (200, 216, 226))
    place = ScenePlace(Texture("paving", stone, (120, 112, 100), (0.8, 0.5), 10), patches, walls, props, sky)
    cast = _Cast(camera, seed=404)
    cast.walk(0.5, ((-12, 10.4), (0, 10.8), (12, 10.0)), speed=1.35)
    cast.walk(3.0, ((14, 13.2), (1, 12.8), (-14, 13.6)), speed=1.3)
    cast.walk_together(6.5, ((-14, 13.9), (0, 13.3), (14, 14.4)))
    cast.walk(9.5, ((12, 8.4), (2, 8.2), (-12, 9.2)), speed=1.5)
    cast.walk(14.0, ((-10, 8.0), (-1, 8.6), (9, 11.2), (16, 12.5)), speed=1.4)
    cast.walk_together(17.5, ((13, 11.6), (0, 11.0), (-13, 11.8)), speed=1.2)
    cast.walk(21.5, ((-14, 15.6), (-1.5, 15.2), (13, 16.3)), speed=1.25, child=False)
    cast.walk(24.5, ((11, 9.0), (0, 9.6), (-12, 12.0)), speed=1.45)
    line = TrueLine("square", _on_screen(camera, (-0.4, 6.9), (1.1, 17.6)))
    zone = TrueZone("middle", _on_screen(camera, (-4.0, 9.4), (3.0, 9.4), (4.2, 14.6), (-4.8, 14.6)))
    light = Light(sun=(-0.62, 0.34), tint=(1.02, 1.0, 0.97), drift=0.05, clouds=0.3)
    return DemoClip("plaza", "Market square", _scene("plaza", camera, place, cast, light, 32), (line,), (zone,))


def entrance() -> DemoClip:
    """A shop front; some go in, some come out, others pass or look at the window."""
    camera = GroundCamera(SIZE_WH, height_m=3.9, pitch_deg=17.5, horizontal_view_deg=64)
    y, door = 11.4, 2.5
    patches = (
        Patch((0, y + 2.5), (30, 2.5), Texture("planks", (156, 124, 92), (98, 76, 54), (0.18, 1), 31)),
        Patch((0, y - 0.3), (EVERYWHERE, 0.32), Texture("plain", (122, 118, 114), seed=32)),
        Patch((0, y - 0.65), (1.15, 0.42), Texture("plain", (72, 74, 70), seed=33)),
        Patch((0, 5.2), (EVERYWHERE, 0.7), Texture("paving", (146, 142, 138), (104, 100, 98), (0.4, 0.4), 34)),
    )
    props = (
        Prop("planter", (-2.35, y - 0.6), 1.0, (126, 110, 96), 35),
        Prop("planter", (2.35, y - 0.6), 1.0, (126, 110, 96), 36),
        Prop("bench", (6.2, y - 0.9), 1.0, (0, 0, 0), 37),
        Prop("bollard", (-5.4, 7.2), 1.0, (70, 72, 78), 38),
        Prop("bollard", (5.4, 7.2), 1.0, (70, 72, 78), 39),
    )
    walls = tuple(shop_front(np.random.default_rng(8), y, 0.0, door))
    sky = ((150, 170, 190), (205, 214, 220))
    place = ScenePlace(Texture("paving", (172, 162, 150), (118, 110, 102), (0.9, 0.6), 40), patches, walls, props, sky)
    cast = _Cast(camera, seed=77)
    left, right = ((-11, 8.2), (-4.0, 8.5), (-0.7, 9.6)), ((11, 8.8), (4.0, 8.9), (0.8, 9.7))
    inside_left, inside_right = (
        ((-0.35, 11.6), (-0.5, 13.4), (-2.3, 14.6), (-4.6, 14.9)),
        ((0.35, 11.6), (0.5, 13.4), (2.3, 14.6), (4.6, 14.9)),
    )
    cast.walk(0.0, left + inside_right, speed=1.3)
    cast.walk(4.5, tuple(reversed(right + inside_left)), speed=1.3)
    cast.walk(7.5, ((-11, 6.6), (0, 6.9), (11, 6.5)), speed=1.4)
    cast.walk(8.6, right + inside_right, speed=1.25)
    cast.walk(13.5, tuple(reversed(left + inside_left)), speed=1.3)
    cast.walk(15.0, ((11, 7.4), (1, 7.3), (-11, 7.6)), speed=1.35)
    cast.walk(18.0, left + inside_left, speed=1.35)
    cast.walk(21.5, tuple(reversed(right + inside_right)), speed=1.25)
    window = ((-11, 8.0), (-7.0, 8.9), (-4.6, 9.5), (-1.5, 8.3), (3, 7.7), (11, 7.6))
    cast.walk(23.0, window, speed=1.3, stop=Stop(_distance_to(GroundRoute(window), (-4.6, 9.5)), 4.0))
    line = TrueLine("door", _on_screen(camera, (1.75, 10.5), (-1.75, 10.5)))
    zone = TrueZone("window", _on_screen(camera, (-6.6, 8.6), (-2.9, 8.6), (-2.9, 10.9), (-6.6, 10.9)))
    light = Light(sun=(0.5, 0.28), tint=(1.0, 0.99, 0.97), drift=0.04, clouds=0.25, shadow=0.9)
    return DemoClip("entrance", "Shop entrance", _scene("entrance", camera, place, cast, light, 28), (line,), (zone,))


_NEAR_LANE: Final[tuple[tuple[Kind, float, float], ...]] = (
    ("hatchback", 0.3, 7.5),
    ("van", 7.6, 7.0),
    ("saloon", 14.4, 8.0),
    ("estate", 20.0, 7.2),
)
_FAR_LANE: Final[tuple[tuple[Kind, float, float], ...]] = (
    ("saloon", 4.2, 7.5),
    ("bus", 11.2, 6.5),
    ("hatchback", 17.4, 8.0),
)
"""Vehicle, start in seconds, speed in metres per second."""


def street() -> DemoClip:
    """Two lanes seen from the side, with people on both pavements."""
    camera = GroundCamera(SIZE_WH, height_m=6.2, pitch_deg=24.5, horizontal_view_deg=66)
    lane, angle = 3.3, -5.0
    road = Road((0.0, 14.0), angle)
    patches = (
        Patch(
            road.origin,
            (EVERYWHERE, lane + 3.4),
            Texture("paving", (162, 156, 148), (112, 106, 100), (0.6, 0.4), 51),
            angle,
        ),
        Patch(road.origin, (EVERYWHERE, lane + 0.2), Texture("plain", (176, 174, 168), seed=52), angle),
        Patch(road.origin, (EVERYWHERE, lane), Texture("asphalt", (88, 88, 92), seed=53), angle),
        Patch(road.origin, (EVERYWHERE, 0.07), Texture("paint", PAINT, seed=54), angle, dash_m=(1.6, 4.0)),
    )
    props = (
        Prop("tree", road.at(-6.5, lane + 1.0), 1.1, (72, 104, 54), 55),
        Prop("tree", road.at(7.5, lane + 1.0), 1.05, (66, 100, 56), 56),
        Prop("lamp", road.at(2.6, lane + 0.6), 1.05, (56, 58, 62), 57),
        Prop("sign", road.at(-2.6, lane + 0.55), 1.0, (42, 84, 150), 58),
        Prop("planter", road.at(5.0, -lane - 1.9), 1.0, (118, 106, 96), 59),
    )
    walls = tuple(row_of_houses(np.random.default_rng(23), road.at, lane + 3.8, 34.0))
    sky = ((124, 160, 200), (204, 214, 222))
    place = ScenePlace(Texture("paving", (150, 146, 140), (104, 100, 96), (0.7, 0.5), 60), patches, walls, props, sky)
    cast = _Cast(camera, seed=15)
    near, far = (road.at(-60, -lane / 2), road.at(60, -lane / 2)), (road.at(60, lane / 2), road.at(-60, lane / 2))
    for kind, start, speed in _NEAR_LANE:
        cast.drive(start, near, kind, speed=speed)
    for kind, start, speed in _FAR_LANE:
        cast.drive(start, far, kind, speed=speed)
    walk = (road.at(-40, -lane - 1.1), road.at(40, -lane - 1.1))
    cast.walk(1.5, walk, speed=1.4)
    cast.walk_together(9.0, tuple(reversed(walk)), gap=-0.8)
    back = (road.at(-40, lane + 2.1), road.at(40, lane + 2.1))
    cast.walk(5.0, tuple(reversed(back)), speed=1.5)
    cast.walk(14.0, back, speed=1.55)
    lines = (
        TrueLine("road", _on_screen(camera, road.at(0.0, -lane - 0.1), road.at(0.0, lane + 0.3))),
        TrueLine("pavement", _on_screen(camera, road.at(-2.2, -lane - 3.4), road.at(-2.2, -lane - 0.3))),
    )
    zone = TrueZone(
        "road", _on_screen(camera, road.at(-5, -lane), road.at(5, -lane), road.at(6, lane), road.at(-6, lane))
    )
    light = Light(sun=(0.45, -0.3), tint=(1.0, 1.0, 1.0), drift=0.05, clouds=0.35)
    return DemoClip("street", "Station road", _scene("street", camera, place, cast, light, 24), lines, (zone,))


def crossing() -> DemoClip:
    """A road along the picture with a zebra crossing; drivers wait for people."""
    camera = GroundCamera(SIZE_WH, height_m=7.2, pitch_deg=29, horizontal_view_deg=62)
    lane, angle = 3.2, 76.0
    road = Road((0.4, 12.6), angle)
    white = Texture("paint", PAINT, seed=71)
    patches = (
        Patch(road.origin, (EVERYWHERE, lane + 0.2), Texture("plain", (176, 174, 168), seed=72), angle),
        Patch(road.origin, (EVERYWHERE, lane), Texture("asphalt", (84, 86, 90), seed=73), angle),
        Patch(road.at(24, 0), (20, 0.06), white, angle, dash_m=(1.6, 4.0)),
        Patch(road.at(-13, 0), (9, 0.06), white, angle, dash_m=(1.6, 4.0)),
        Patch(road.origin, (lane, 1.7), white, angle + 90, dash_m=(0.5, 1.0)),
        Patch(road.at(3.0, lane / 2), (0.2, lane / 2), white, angle),
        Patch(road.at(-3.0, -lane / 2), (0.2, lane / 2), white, angle),
        Patch(road.at(6, lane + 8.2), (14, 4.2), Texture("grass", (76, 106, 54), seed=74), angle),
    )
    props = (
        Prop("tree", road.at(5.5, lane + 5.4), 1.1, (74, 106, 54), 75),
        Prop("lamp", road.at(3.4, lane + 0.9), 1.05, (56, 58, 62), 76),
        Prop("sign", road.at(2.6, -lane - 0.6), 1.0, (42, 84, 150), 77),
        Prop("bollard", road.at(-2.4, lane + 0.6), 1.0, (64, 66, 72), 78),
        Prop("planter", road.at(-0.5, -lane - 4.6), 1.0, (120, 106, 94), 79),
        Prop("tree", road.at(9, -lane - 3.8), 1.0, (68, 100, 54), 80),
    )
    place = ScenePlace(
        Texture("paving", (164, 156, 146), (112, 106, 100), (0.7, 0.45), 81), patches, (), props, ((0, 0, 0), (0, 0, 0))
    )
    cast = _Cast(camera, seed=29)
    down, up = (road.at(70, lane / 2), road.at(-40, lane / 2)), (road.at(-40, -lane / 2), road.at(70, -lane / 2))
    zebra = (road.at(0, -16), road.at(0.2, 0), road.at(0, 16))
    wait = Stop(70 - 6.4, 3.4, 2.4)
    cast.drive(0.5, down, "hatchback", speed=7.5)
    cast.drive(5.5, up, "van", speed=7.0)
    cast.walk_together(8.5, zebra, speed=1.35, gap=-0.9)
    cast.walk(10.5, shifted(tuple(reversed(zebra)), 0.5), speed=1.45)
    cast.drive(12.0, down, "saloon", speed=7.0, stop=wait)
    cast.drive(24.5, up, "estate", speed=7.5)
    cast.walk(27.0, shifted(zebra, -0.4), speed=1.5)
    cast.drive(34.0, down, "hatchback", speed=7.5)
    cast.walk(14.0, (road.at(-25, lane + 1.6), road.at(30, lane + 1.6)), speed=1.4)
    cast.walk(20.0, (road.at(30, -lane - 1.6), road.at(-25, -lane - 1.6)), speed=1.45)
    lines = (
        TrueLine("zebra", _on_screen(camera, road.at(-2.4, 0), road.at(2.6, 0))),
        TrueLine("road", _on_screen(camera, road.at(-2.9, -lane), road.at(-2.9, lane))),
    )
    zone = TrueZone(
        "crossing",
        _on_screen(camera, road.at(-1.8, -lane), road.at(-1.8, lane), road.at(2.0, lane), road.at(2.0, -lane)),
    )
    light = Light(sun=(-0.5, 0.22), tint=(1.02, 1.0, 0.96), drift=0.05, clouds=0.3)
    return DemoClip("crossing", "Zebra crossing", _scene("crossing", camera, place, cast, light, 36), lines, (zone,))


CLIPS: Final[dict[str, Callable[[], DemoClip]]] = {
    "plaza": plaza,
    "entrance": entrance,
    "street": street,
    "crossing": crossing,
}
"""The demo cameras by name, in the order of rendering."""
