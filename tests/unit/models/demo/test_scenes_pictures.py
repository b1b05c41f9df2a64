"""Pictures of scenes: the same from the same seed, without a seam, and with boxes that fit."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from countline_demo.scenes.backdrop import ScenePlace, Wall
from countline_demo.scenes.camera import GroundCamera
from countline_demo.scenes.clips import CLIPS
from countline_demo.scenes.people import random_person
from countline_demo.scenes.routes import GroundRoute, Journey
from countline_demo.scenes.scene import Actor, Light, Renderer, Scene
from countline_demo.scenes.textures import Texture
from countline_demo.scenes.traffic import Crowd, random_scene
from countline_demo.scenes.vehicles import random_vehicle

CAMERA = GroundCamera((640, 360), height_m=5.0, pitch_deg=24.0, horizontal_view_deg=62.0)
EMPTY = ScenePlace(Texture("plain", (140, 140, 140)), (), (), (), ((150, 150, 150), (150, 150, 150)))
NO_SHADOW = Light(sun=(0.4, 0.3), drift=0.0, shadow=0.0)


def scene_of(*actors: Actor, place: ScenePlace = EMPTY, light: Light = NO_SHADOW) -> Scene:
    return Scene("test", CAMERA, place, actors, light, Fraction(10), 200, noise=0.0, seed=1)


def walker(seed: int, y: float, heading: int = 1, look: str = "person") -> Actor:
    rng = np.random.default_rng(seed)
    path = GroundRoute(((-12.0 * heading, y), (0.0, y + 1.0), (12.0 * heading, y)))
    figure = random_person(rng) if look == "person" else random_vehicle(rng)
    return Actor(seed, figure, Journey(path, 0.0, 1.5 if look == "person" else 4.0))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    crowd = Crowd(people=4, vehicles=2)
    first, again = (Renderer(random_scene("street", 11, crowd)).frame(57) for _ in range(2))
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.objects == again.objects
    assert Renderer(random_scene("street", 12, crowd)).frame(57).pixels.tobytes() != first.pixels.tobytes()


@pytest.mark.parametrize("name", ["plaza", "crossing"])
def test_a_demo_clip_repeats_after_its_period_and_moves_on_smoothly_over_the_seam(name: str) -> None:
    renderer = Renderer(CLIPS[name]().scene)
    frames = renderer.scene.frames
    assert renderer.frame(0).pixels.tobytes() == renderer.frame(frames).pixels.tobytes()
    before, after = renderer.boxes(frames - 1), renderer.boxes(frames)
    both = before.keys() & after.keys()
    assert both, "somebody should be under way when the clip wraps"
    for actor in both:
        # At 10 frames/s a walker goes 0.15 m and its feet swing a little more; a car goes 0.8 m, some 60 px nearby.
        assert np.abs(np.subtract(before[actor], after[actor])).max() < 60


def test_noise_differs_from_frame_to_frame() -> None:
    renderer = Renderer(replace(scene_of(), noise=3.0))
    still = [renderer.frame(index).pixels.astype(int) for index in (3, 4)]
    assert 1.0 < np.std(still[0] - still[1]) < 8.0


@pytest.fixture(scope="module")
def empty_picture() -> NDArray[np.uint8]:
    """Without noise, clouds or figures, every picture of the scene is this one."""
    return Renderer(scene_of()).frame(0).pixels


@pytest.mark.parametrize("look", ["person", "vehicle"])
@pytest.mark.parametrize("seed", range(6))
def test_boxes_are_tight_around_the_drawn_figure(look: str, seed: int, empty_picture: NDArray[np.uint8]) -> None:
    scene = scene_of(walker(seed, 9.0 + seed, 1 if seed % 2 else -1, look))
    frame = Renderer(scene).frame(80 if look == "person" else 30)
    (found,) = frame.objects
    changed = np.abs(frame.pixels.astype(int) - empty_picture).max(axis=2) > 0
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    drawn = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.subtract(found.box, drawn)).max() <= 1.6
    assert found.visible > 0.98


def test_boxes_end_at_the_border_of_the_picture() -> None:
    renderer = Renderer(scene_of(walker(1, 7.0)))
    boxes = [box for index in range(200) for box in renderer.boxes(index).values()]
    assert any(box[0] == 0.0 for box in boxes)
    assert any(box[2] == 640.0 for box in boxes)
    assert all(0 <= box[0] < box[2] <= 640 and 0 <= box[1] < box[3] <= 360 for box in boxes)


def test_what_a_wall_hides_is_known_to_be_hidden_and_keeps_its_box() -> None:
    wall = Wall((-20, 8.0), (0.0, 8.0), 0, 3.0, Texture("brick", (150, 90, 70)), hides=True)
    renderer = Renderer(scene_of(walker(1, 11.0), place=replace(EMPTY, walls=(wall,))))
    seen = {index: renderer.frame(index).objects for index in (40, 100)}
    (behind,), (beside,) = seen[40], seen[100]
    assert behind.visible == 0.0
    assert behind.box[3] - behind.box[1] > 40
    assert beside.visible > 0.98


def test_a_nearer_figure_takes_from_what_is_seen_of_one_behind_it() -> None:
    renderer = Renderer(scene_of(walker(1, 9.0), walker(2, 9.6)))
    nearer, farther = sorted(renderer.frame(80).objects, key=lambda found: found.id)
    assert nearer.visible > 0.98
    assert farther.visible < 0.7


def test_feet_hardly_slide_while_they_are_on_the_ground() -> None:
    from countline_demo.scenes.people import ANKLE_L, Walker

    person = Walker(random_person(np.random.default_rng(5)))
    stride = person.person.stride_m
    stance = np.linspace(0.3, 0.75, 13) * stride
    ankles = np.array([person.points((float(s), 10.0, 0.0), float(s), 1.0)[ANKLE_L] for s in stance])
    slid = np.ptp(ankles[:, 0]) / np.ptp(stance)
    assert slid < 0.2, "the foot stays while the body goes on"


def test_every_view_makes_scenes_with_people_and_the_roads_with_vehicles() -> None:
    for name in CLIPS:
        scene = random_scene(name, 21, Crowd(people=6, vehicles=3))
        kinds = {actor.class_id for actor in scene.actors}
        assert kinds == ({0} if name in {"plaza", "entrance"} else {0, 1})
