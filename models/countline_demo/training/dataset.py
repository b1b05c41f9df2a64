"""Training pictures, rendered once and kept as JPEG.

Seeds from `TRAINING_SEED` on are for training; lower seeds are for evaluation and tests.
"""

import io
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from countline_demo.scenes.places import PLACES
from countline_demo.scenes.scene import Renderer, Scene, SceneFrame
from countline_demo.scenes.traffic import Crowd, random_scene

TRAINING_SEED: Final = 1000
FRAMES_PER_SCENE: Final = 20
VERSION: Final = 5
"""Raised when the renderer draws differently, so that an old cache is not used."""


@dataclass(frozen=True)
class Example:
    """A picture and its true objects."""

    jpeg: bytes
    objects: NDArray[np.float32]
    """(N, 6): x1, y1, x2, y2 in pixels, visible share, class."""

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        return np.asarray(Image.open(io.BytesIO(self.jpeg)))


def objects_of(frame: SceneFrame) -> NDArray[np.float32]:
    """The true objects of a frame as rows x1, y1, x2, y2, visible share, class; (N, 6)."""
    rows = [(*found.box, found.visible, found.class_id) for found in frame.objects]
    return np.array(rows, dtype=np.float32).reshape(-1, 6)


def render_scene(name: str, seed: int, count: int = FRAMES_PER_SCENE) -> list[Example]:
    """Frames of one scene in random picture quality: the fullest ones of a random choice.

    The scene has more children and more groups than usual, because objects close together are the hard case.
    """
    rng = np.random.default_rng([seed, 77])
    crowd = Crowd(int(rng.integers(12, 44)), int(rng.integers(4, 14)), children=0.2, together=(1, 1, 2, 2, 3))
    renderer = Renderer(random_scene(name, seed, crowd))
    drawn = rng.permutation(renderer.scene.frames)[: count * 3 // 2].tolist()
    fullest = sorted(drawn, key=lambda index: -_under_way(renderer.scene, index))[:count]
    return [_shot(renderer.frame(index), rng) for index in fullest]


def _under_way(scene: Scene, index: int) -> int:
    t = float(index / scene.fps)
    return sum(actor.journey.elapsed_s(t, scene.period_s) is not None for actor in scene.actors)


def _shot(frame: SceneFrame, rng: np.random.Generator) -> Example:
    picture = Image.fromarray(frame.pixels)
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.9))))
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=int(rng.integers(55, 96)))
    return Example(packed.getvalue(), objects_of(frame))


def load(folder: Path, scenes: int, processes: int) -> list[Example]:
    """Training examples of a number of scenes, read from the folder; missing ones are rendered and kept there."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (names[number % len(names)], TRAINING_SEED + number) for number in range(scenes) for names in [sorted(PLACES)]
    ]
    missing = [job for job in jobs if not _file(folder, *job).exists()]
    with ProcessPoolExecutor(processes) as pool:
        for done, _ in enumerate(
            pool.map(_keep, [folder] * len(missing), *zip(*missing, strict=True)) if missing else (), start=1
        ):
            if done % 20 == 0:
                sys.stderr.write(f"rendered {done} of {len(missing)} scenes\n")
    return [example for job in jobs for example in _read(_file(folder, *job))]


def _file(folder: Path, name: str, seed: int) -> Path:
    return folder / f"v{VERSION}-{name}-{seed}.npz"


def _keep(folder: Path, name: str, seed: int) -> None:
    examples = render_scene(name, seed)
    target = _file(folder, name, seed)
    part = target.with_suffix(".part.npz")
    jpegs = np.frombuffer(b"".join(example.jpeg for example in examples), dtype=np.uint8)
    np.savez(
        part,
        jpegs=jpegs,
        jpeg_sizes=[len(example.jpeg) for example in examples],
        objects=np.concatenate([example.objects for example in examples]),
        object_counts=[len(example.objects) for example in examples],
    )
    part.rename(target)


def _read(path: Path) -> Iterator[Example]:
    with np.load(path) as kept:
        jpegs, sizes, objects, counts = (
            kept["jpegs"].tobytes(),
            kept["jpeg_sizes"],
            kept["objects"],
            kept["object_counts"],
        )
    byte = row = 0
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        yield Example(jpegs[byte : byte + size], objects[row : row + count])
        byte, row = byte + size, row + count
