"""Measures the demo detector on unseen scenes.

An object counts if at least half of it is visible and its box is at least 16 pixels high. A detection is right if it
overlaps such an object of its class with IoU 0.5 or more; the highest score takes the best object, and each object is
taken once. Other objects may be found or missed: as in KITTI, a detection is ignored if at least half of its area lies
on one of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.boxes import areas, common_areas, intersection_over_union
from countline_demo.scenes.places import PLACES
from countline_demo.scenes.scene import CLASSES, Renderer, SceneFrame
from countline_demo.scenes.traffic import Crowd, random_scene
from countline_demo.training.dataset import TRAINING_SEED, objects_of
from countline_models.contract import open_session, run_contract

UNSEEN_SEEDS: Final = (1, 2, 3, 4, 5)
LEAST_VISIBLE: Final = 0.5
LEAST_HEIGHT_PX: Final = 16.0
RIGHT_IOU: Final = 0.5
EXCUSED_SHARE: Final = 0.5
CROWDS: Final = {
    "calm": Crowd(people=10, vehicles=5, together=(1, 1, 1, 1, 1, 2)),
    "groups": Crowd(people=10, vehicles=5),
    "busy": Crowd(people=24, vehicles=9),
}
"""Amounts of traffic by name. `calm` has three objects in a frame, like the demo cameras, and a third of the people
walk in pairs. In `groups` two thirds walk in pairs or threes, half a step apart, and hide each other. `busy` has twice
as many objects."""
PAD: Final = 114
BATCH: Final = 4

assert max(UNSEEN_SEEDS) < TRAINING_SEED


@dataclass
class DetectionTally:
    """Numbers of right and wrong detections."""

    right: int = 0
    false: int = 0
    missed: int = 0
    ignored: int = 0
    """Detections on an object that does not count."""

    @property
    def precision(self) -> float:
        """Share of the detections that are right."""
        return self.right / max(1, self.right + self.false)

    @property
    def recall(self) -> float:
        """Share of the objects that are found."""
        return self.right / max(1, self.right + self.missed)

    def add(self, other: "DetectionTally") -> None:
        """Add the numbers of another tally."""
        self.right += other.right
        self.false += other.false
        self.missed += other.missed
        self.ignored += other.ignored

    def to_json(self) -> dict[str, Any]:
        """Return the counts, precision and recall as JSON."""
        return {**asdict(self), "precision": round(self.precision, 4), "recall": round(self.recall, 4)}


@dataclass
class Report:
    """The result, in total and in parts."""

    threshold: float
    crowd: str
    frames: int = 0
    objects: int = 0
    """Objects that count, over all frames."""
    most_objects: int = 0
    """Most objects in one frame, including those that do not count."""
    total: DetectionTally = field(default_factory=DetectionTally)
    parts: dict[str, DetectionTally] = field(default_factory=dict)
    """The same figures for each class, view and seed."""

    def add(self, names: tuple[str, ...], tally: DetectionTally) -> None:
        """Add the numbers of one class in one frame to the total and to the parts called `names`."""
        self.total.add(tally)
        for name in names:
            self.parts.setdefault(name, DetectionTally()).add(tally)

    def to_json(self) -> dict[str, Any]:
        """All numbers, with the name of the crowd."""
        return {
            "threshold": self.threshold,
            "crowd": self.crowd,
            "frames": self.frames,
            "objects_per_frame": round(self.objects / max(1, self.frames), 2),
            "most_objects_in_a_frame": self.most_objects,
            "total": self.total.to_json(),
            "parts": {name: tally.to_json() for name, tally in sorted(self.parts.items())},
        }


def evaluate(
    model: Path,
    threshold: float,
    *,
    crowd: str,
    seeds: Iterable[int] = UNSEEN_SEEDS,
    views: Iterable[str] = tuple(PLACES),
    frames: int = 24,
) -> Report:
    """Run a contract model of 384 x 640 input on `frames` frames of every view for every seed.

    Args:
        model: ONNX file.
        threshold: lowest score that counts.
        crowd: a name in `CROWDS`.
        seeds: seeds of the scenes.
        views: names in `PLACES`.
        frames: frames of each scene, spread over its period.
    """
    session = open_session(model.read_bytes())
    report = Report(threshold, crowd)
    for seed in seeds:
        for view in views:
            for batch in _batches(Renderer(random_scene(view, seed, CROWDS[crowd])), frames):
                answers = run_contract(session, np.stack([padded(frame.pixels) for frame in batch]))
                for frame, detections in zip(batch, answers, strict=True):
                    _judge(report, frame, detections, (view, f"seed {seed}"))
    return report


def _batches(renderer: Renderer, frames: int) -> Iterator[list[SceneFrame]]:
    indices = np.linspace(0, renderer.scene.frames, frames, endpoint=False).astype(int).tolist()
    for start in range(0, frames, BATCH):
        yield [renderer.frame(index) for index in indices[start : start + BATCH]]


def padded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) at the top left of the next size whose sides are multiples of 32; the rest is 114."""
    height, width = (-(-side // 32) * 32 for side in pixels.shape[:2])
    frame = np.full((height, width, 3), PAD, dtype=np.uint8)
    frame[: pixels.shape[0], : pixels.shape[1]] = pixels
    return frame


def _judge(report: Report, frame: SceneFrame, detections: NDArray[np.float32], names: tuple[str, ...]) -> None:
    objects = objects_of(frame)
    report.frames += 1
    report.most_objects = max(report.most_objects, len(objects))
    report.objects += int(counts(objects).sum())
    found = detections[detections[:, 4] >= report.threshold]
    for class_id, name in enumerate(CLASSES):
        report.add((name, *names), tally(found[found[:, 5] == class_id], objects[objects[:, 5] == class_id]))


def counts(objects: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which objects (N, 6) count."""
    return np.asarray((objects[:, 4] >= LEAST_VISIBLE) & (objects[:, 3] - objects[:, 1] >= LEAST_HEIGHT_PX))


def tally(detections: NDArray[np.float32], objects: NDArray[np.float32]) -> DetectionTally:
    """Judge the detections (N, 6) of one class in one frame against its objects (M, 6)."""
    found = DetectionTally()
    wanted, others = objects[counts(objects)], objects[~counts(objects)]
    overlap = intersection_over_union(detections[:, None, :4], wanted[None, :, :4])
    on_others = common_areas(detections[:, None, :4], others[None, :, :4]).max(axis=1, initial=0.0)
    excused = on_others >= EXCUSED_SHARE * areas(detections[:, :4])
    free = np.ones(len(wanted), dtype=bool)
    for row in np.argsort(-detections[:, 4], kind="stable").tolist():
        candidates = np.where(free, overlap[row], 0.0)
        if candidates.max(initial=0.0) >= RIGHT_IOU:
            free[candidates.argmax()] = False
            found.right += 1
        elif excused[row]:
            found.ignored += 1
        else:
            found.false += 1
    found.missed = int(free.sum())
    return found
