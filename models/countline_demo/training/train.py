"""Trains the demo detector and writes it to the model repository: `python -m countline_demo.training.train`.

Needs PyTorch, which is installed in an environment of its own; runs on the CPU. The same seed, thread count and library
versions give the same network.
"""

import argparse
import copy
import logging
import math
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# PyTorch reads this when it is loaded. On a machine with other work, threads that spin while they wait for each other
# take six times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from countline_counting.geometry.boxes import intersection_over_union
from countline_demo.training.dataset import Example, load
from countline_demo.training.export import export
from countline_demo.training.loss import total_loss
from countline_demo.training.network import CLASSES, DemoDetector
from countline_demo.training.targets import LEARNED_VISIBLE, Targets, make_targets

log = logging.getLogger("train")

Batch = tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]
"""Pictures (B, 3, H, W) and the targets for `total_loss`."""
PAD: Final = 114
FRAME_HW: Final = (384, 640)
CROP: Final = 320
"""Side of the square cut-outs that are learned, in pixels; whole frames have too much empty ground."""
ZOOM: Final = (0.87, 1.4)
"""Range of scales of a cut-out; the smallest shows the whole height of a picture."""
ZOOMED: Final = 0.6
RECOLOURED: Final = 0.25
"""Shares of the cut-outs with another scale (`ZOOMED`), or with exchanged colours (`RECOLOURED`)."""
CROWDED_IOU: Final = 0.2
"""Objects that another one overlaps by this IoU are cut out three times as often."""
KEPT_SHARE: Final = 0.03
"""An object is dropped if a cut-out keeps a smaller share of it."""


@dataclass(frozen=True)
class Recipe:
    """All parameters that decide the result."""

    scenes: int = 800
    steps: int = 16000
    batch: int = 16
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.03
    warm_up_steps: int = 200
    average: float = 0.999
    """Decay of the running average of the weights, which is exported."""
    seed: int = 7
    threads: int = 1
    """One, because two wait for each other on a busy machine and gain little on an idle one."""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("triton-repo"), help="model repository to write to")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "countline-scenes",
        help="folder for rendered pictures",
    )
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--scenes", type=int, default=Recipe.scenes)
    parser.add_argument("--checkpoint", type=Path, help="file for the weights, written regularly during training")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    recipe = Recipe(steps=arguments.steps, scenes=arguments.scenes)
    started = time.monotonic()
    examples = load(arguments.cache, recipe.scenes, processes=os.cpu_count() or 1)
    log.info("%d pictures, %.0f s", len(examples), time.monotonic() - started)
    network = fit(examples, recipe, arguments.checkpoint)
    export(network, arguments.repository)
    log.info("trained and exported in %.0f s", time.monotonic() - started)


def fit(examples: list[Example], recipe: Recipe, checkpoint: Path | None = None) -> DemoDetector:
    """Train and return the network with averaged weights, which are also written to the checkpoint regularly."""
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    network = DemoDetector().to(memory_format=torch.channels_last)
    averaged: DemoDetector = copy.deepcopy(network)
    averaged.eval()
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    network.train()
    sums, since = np.zeros(3), time.monotonic()
    for step, (pictures, true) in enumerate(_ahead(_batches(examples, recipe))):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _pace(step, recipe)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = network(pictures)
        losses = total_loss(predicted, true)
        optimizer.zero_grad(set_to_none=True)
        losses[0].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        _average(averaged, network, min(recipe.average, (step + 1) / (step + 10)))
        sums += [float(loss.detach()) for loss in losses]
        if (step + 1) % 50 == 0:
            log.info(
                "step %d loss %.3f (centres %.3f, boxes %.3f) %.2f s/step",
                step + 1,
                *sums / 50,
                (time.monotonic() - since) / 50,
            )
            sums, since = np.zeros(3), time.monotonic()
        if checkpoint and (step + 1) % 250 == 0:
            torch.save(averaged.state_dict(), checkpoint)
    return averaged


def _average(averaged: DemoDetector, network: DemoDetector, keep: float) -> None:
    """Move the averaged weights and statistics one step towards those of the network."""
    latest = network.state_dict()
    with torch.no_grad():
        for name, value in averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(latest[name], 1 - keep)


def _pace(step: int, recipe: Recipe) -> float:
    """Share of the learning rate: linear warm-up, then cosine decay."""
    if step < recipe.warm_up_steps:
        return (step + 1) / recipe.warm_up_steps
    gone = (step - recipe.warm_up_steps) / max(1, recipe.steps - recipe.warm_up_steps)
    return 0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * gone))


def _batches(examples: list[Example], recipe: Recipe) -> Iterator[Batch]:
    """`recipe.steps` batches; every picture is used once before any is used again."""
    rng = np.random.default_rng(recipe.seed)
    order: list[int] = []
    for _ in range(recipe.steps):
        while len(order) < recipe.batch:
            order += rng.permutation(len(examples)).tolist()
        cuts = [_cut(examples[order.pop(0)], rng) for _ in range(recipe.batch)]
        pictures = torch.from_numpy(np.stack([cut[0] for cut in cuts])).permute(0, 3, 1, 2).float()
        yield pictures, _stacked([cut[1] for cut in cuts])


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; the next one is made while the last one is learned."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _stacked(targets: list[Targets]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.from_numpy(np.stack([target.centres for target in targets])),
        torch.from_numpy(np.stack([target.counted for target in targets])),
        torch.from_numpy(np.stack([target.boxes for target in targets])),
        torch.from_numpy(np.stack([target.weights for target in targets])),
    )


def _cut(example: Example, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Targets]:
    """A random square of a picture, randomly scaled, mirrored and relit, with its targets."""
    frame = np.full((*FRAME_HW, 3), PAD, dtype=np.uint8)
    pixels = example.pixels()
    frame[: pixels.shape[0], : pixels.shape[1]] = pixels
    side = round(CROP / rng.uniform(*ZOOM)) if rng.random() < ZOOMED else CROP
    x, y = _where(example.objects, side, rng)
    cut, objects = frame[y : y + side, x : x + side], _moved(example.objects, x, y, side)
    if side != CROP:
        cut = np.asarray(Image.fromarray(cut).resize((CROP, CROP), Image.Resampling.BILINEAR))
        objects[:, :4] *= CROP / side
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
        objects[:, [0, 2]] = CROP - objects[:, [2, 0]]
    if rng.random() < RECOLOURED:
        cut = cut[:, :, rng.permutation(3)]
    return _relit(cut, rng), make_targets(objects, (CROP, CROP), CLASSES)


def _where(objects: NDArray[np.float32], side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Corner of a cut-out: usually around an object, preferably an overlapped one, else anywhere."""
    room_x, room_y = FRAME_HW[1] - side, FRAME_HW[0] - side
    if not len(objects) or rng.random() < 0.15:
        return int(rng.integers(room_x + 1)), int(rng.integers(room_y + 1))
    overlap = intersection_over_union(objects[:, None, :4], objects[None, :, :4])
    np.fill_diagonal(overlap, 0)
    hard = 1 + 2 * (overlap.max(axis=1) > CROWDED_IOU)
    box = objects[int(rng.choice(len(objects), p=hard / hard.sum())), :4]
    x, y = (float((box[i] + box[i + 2]) / 2) - rng.uniform(0.15, 0.85) * side for i in (0, 1))
    return int(np.clip(x, 0, room_x)), int(np.clip(y, 0, room_y))


def _moved(objects: NDArray[np.float32], x: int, y: int, side: int) -> NDArray[np.float32]:
    """Objects in the cut-out's coordinates, clipped at its border; the clipped part counts as hidden."""
    moved = objects.copy()
    moved[:, [0, 2]] = np.clip(objects[:, [0, 2]] - x, 0, side)
    moved[:, [1, 3]] = np.clip(objects[:, [1, 3]] - y, 0, side)
    area = (objects[:, 2] - objects[:, 0]) * (objects[:, 3] - objects[:, 1])
    kept = (moved[:, 2] - moved[:, 0]) * (moved[:, 3] - moved[:, 1]) / np.maximum(area, 1e-3)
    moved[:, 4] *= np.where(moved[:, 4] >= LEARNED_VISIBLE, np.maximum(kept, 0), 1)
    return np.asarray(moved[kept > KEPT_SHARE])


def _relit(cut: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random exposure, contrast and colour of light, by a table of 256 entries per channel."""
    gamma, gain, shift = rng.uniform(0.8, 1.25), rng.uniform(0.75, 1.25), rng.uniform(-14, 14)
    colour = rng.uniform(0.93, 1.07, 3)
    levels = 255 * (np.arange(256)[:, None] / 255) ** gamma * gain * colour + shift
    table = np.clip(levels, 0, 255).astype(np.uint8)
    return np.asarray(np.stack([table[:, channel][cut[:, :, channel]] for channel in range(3)], axis=-1))


if __name__ == "__main__":
    main()
